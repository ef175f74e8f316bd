"""`Scheduler`: the actor that owns every task's state.

It sends each worker about `limits.PREFETCH_US` of expected work, by what each function took so far,
and takes back what a worker returns. Every message is handled in time that does not depend on how
many tasks or workers there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors import Actor, ActorRef, Terminated, handles
from scaler.protocol.tasks import (
    CLIENT_SHIFT,
    AwaitInputs,
    AwaitWorker,
    ClientConnect,
    ClientConnected,
    ClientDisconnect,
    GetStatus,
    InputGiven,
    InputsUnknown,
    RowStatus,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskDrop,
    TaskDropped,
    TaskOutput,
    TaskResult,
    TaskReturned,
    TaskStarted,
    TaskSubmit,
    WorkerConnect,
)
from scaler.scheduler.attempts import Attempts, DeadlineDue, RetryDue
from scaler.scheduler.cancels import Cancels
from scaler.scheduler.deliveries import Deliveries
from scaler.scheduler.departures import Departures
from scaler.scheduler.inputs import Inputs
from scaler.scheduler.placement import Placement
from scaler.scheduler.records import (
    ClientEntry,
    FunctionTable,
    TaskRecord,
    WorkerEntry,
    fault_row,
    run_message,
    status_of,
)
from scaler.scheduler.transitions import TRANSITIONS, TaskEvent, TaskState

if TYPE_CHECKING:
    from actors import DeferredReply

# A member of an enumeration costs 70 ns to look up by its class (CPython 3.11).
_QUEUED = TaskState.QUEUED
_RUNNING = TaskState.RUNNING
_CANCELING = TaskState.CANCELING


class Scheduler(Actor):
    """Queues tasks, hands them to workers, answers cancels, passes results on."""

    def __init__(self) -> None:
        """Make a scheduler without workers and clients; both connect by message."""
        self.records: dict[int, TaskRecord] = {}
        self.placement = Placement(self.records)
        self.functions = FunctionTable()
        self.clients: dict[int, ClientEntry] = {}
        self.workers: dict[ActorRef, WorkerEntry] = {}
        self.attempts = Attempts(self)
        self.inputs = Inputs(self)
        self.cancels = Cancels(self)
        self.departures = Departures(self)
        self.deliveries = Deliveries(self)
        self._awaiting: list[DeferredReply] = []

    def on_stop(self) -> None:
        """Cut records and workers apart: the garbage collector does not see records."""
        for worker in self.workers.values():
            worker.outstanding.clear()
        self.records.clear()

    # --- clients ----------------------------------------------------------------------------

    @handles(ClientConnect)
    def on_client_connect(self, message: ClientConnect) -> None:
        """Let a client in, unless its number is taken."""
        sender = self.context.sender
        accepted = message.client not in self.clients and sender is not None
        if accepted and sender is not None:
            self.clients[message.client] = ClientEntry(message.client, sender)
            self.context.watch(sender)
        self.context.reply(ClientConnected(accepted))

    @handles(TaskSubmit)
    def on_submit(self, message: TaskSubmit) -> None:
        """Queue new tasks."""
        client = self.clients.get(message.tasks[0].task_id >> CLIENT_SHIFT)
        if client is None or client.leaving is not None:
            return  # a client that left: nobody waits for these
        entries = {
            function.function_id: self.functions.enter(function) for function in message.functions
        }
        records, enqueue = self.records, self.placement.enqueue
        for task in message.tasks:
            entry = entries[task.function_id]
            record = TaskRecord(task, entry.of_chunks if task.chunked else entry, client)
            records[task.task_id] = record
            if not (task.needs and self.inputs.begin(record)):
                enqueue(record)
            if task.policy is not None:
                self.attempts.begin(record, task.policy)
        client.open += len(message.tasks)

    @handles(AwaitInputs)
    def on_await_inputs(self, message: AwaitInputs) -> None:
        """Say which results that new tasks need have gone to their client already."""
        self.deliveries.tell()  # they may be among these, and come first
        self.context.reply(InputsUnknown(self.inputs.unknown(message.task_ids)))

    @handles(InputGiven)
    def on_input_given(self, message: InputGiven) -> None:
        """Take such a result."""
        self.inputs.given(message)

    @handles(TaskCancel)
    def on_cancel(self, message: TaskCancel) -> None:
        """Answer at once what is queued or unknown; ask the worker for the rest."""
        reply = self.context.defer_reply()
        record = self.records.get(message.task_id)
        if record is None:
            self.deliveries.tell()  # its result may be among them, and comes first
            unknown = TaskCancelConfirmType.CancelNotFound
            reply.send(TaskCancelConfirm(message.task_id, unknown))
            return
        self.cancels.request(record, reply, message.force, message.grace_s)

    @handles(TaskDrop)
    def on_drop(self, message: TaskDrop) -> None:
        """Drop what is queued of many; what is not is cancelled one by one."""
        self.context.reply(TaskDropped(self.cancels.drop(message.task_ids)))

    @handles(ClientDisconnect)
    def on_client_disconnect(self, message: ClientDisconnect) -> None:
        """Cancel all that the client has here; answer when nothing of it is left."""
        client = self.clients.get(message.client)
        if client is None:
            self.context.reply(message)
            return
        self.departures.dismiss(client, self.context.defer_reply(), message.grace_s)

    # --- workers ----------------------------------------------------------------------------

    @handles(WorkerConnect)
    def on_worker_connect(self, message: WorkerConnect) -> None:
        """A worker takes tasks from now on, or another number of them."""
        ref = self.context.sender
        if ref is None:
            return
        worker = self.workers.get(ref)
        if worker is None:
            worker = self.workers[ref] = WorkerEntry(message.worker, ref, message.credit)
            self.context.watch(ref)
        worker.credit = message.credit
        self.placement.admit(worker)
        for reply in self._awaiting:
            reply.send(None)
        self._awaiting.clear()

    @handles(AwaitWorker)
    def on_await_worker(self, message: AwaitWorker) -> None:
        """Answer as soon as there is a worker."""
        if not self.workers:
            self._awaiting.append(self.context.defer_reply())

    @handles(TaskResult)
    def on_result(self, message: TaskResult) -> None:
        """Attempts ended. A row of a worker that does not hold the task is dropped."""
        worker = self._sending_worker()
        if worker is None:
            return
        for row in message.rows:
            record = worker.outstanding.get(row.task_id)
            if record is not None:
                self.attempts.end(worker, record, row)

    @handles(TaskReturned)
    def on_returned(self, message: TaskReturned) -> None:
        """Tasks that have not begun come back; they have waited longest."""
        worker = self._sending_worker()
        if worker is None:
            return
        for task_id in reversed(message.task_ids):
            record = worker.outstanding.get(task_id)
            if record is None:
                continue
            waiting = record.cancels
            if not self.apply(record, TaskEvent.RETURNED):
                continue
            if record.state is TaskState.QUEUED:
                self.attempts.put_back(record)
            else:
                self.cancels.confirm(record, waiting, TaskCancelConfirmType.Canceled)
        worker.blocked = bool(worker.outstanding)

    @handles(RetryDue)
    def on_retry_due(self, message: RetryDue) -> None:
        """Try a task again."""
        self.attempts.retry_due(message.task_id)

    @handles(DeadlineDue)
    def on_deadline_due(self, message: DeadlineDue) -> None:
        """End a task that is late and waits here."""
        self.attempts.deadline_due(message.task_id)

    @handles(TaskStarted)
    def on_started(self, message: TaskStarted) -> None:
        """Tell the clients what has been running for a while."""
        for task_id in message.task_ids:
            record = self.records.get(task_id)
            if record is not None and record.client.leaving is None:
                self.context.tell(record.client.ref, TaskStarted((task_id,)))

    @handles(TaskOutput)
    def on_output(self, message: TaskOutput) -> None:
        """Pass on what a task printed."""
        record = self.records.get(message.task_id)
        if record is not None and record.client.leaving is None:
            self.context.tell(record.client.ref, message)

    @handles(Terminated)
    def on_terminated(self, message: Terminated) -> None:
        """A worker is gone: its tasks have no one who answers for them. Or a client is."""
        worker = self.workers.pop(message.ref, None)
        if worker is not None:
            worker.credit = 0  # no more tasks
            cause = f"on {worker.name}, which has ended: {message.cause or message.reason.value}"
            for record in reversed(list(worker.outstanding.values())):
                self.attempts.lose(worker, record, cause)
        for client in list(self.clients.values()):
            if client.ref == message.ref:
                self.departures.dismiss(client, None, 0.0)

    # --- one task ---------------------------------------------------------------------------

    def apply(self, record: TaskRecord, event: TaskEvent) -> bool:
        """Move a task along the table and keep the books; False if the table forbids it."""
        before = record.state
        after = TRANSITIONS.get((before, event))
        if after is None:
            self._fail(record, f"{event.name} cannot happen in {before.name}; {record.story}")
            return False
        record.state = after
        if not _RUNNING <= after <= _CANCELING:
            if record.worker is not None:
                self.placement.release(record.worker, record)
            if after > _CANCELING:
                self._strike(record, before)
        if record.cancels is not None and after is not _CANCELING:
            record.cancels = None
            record.force = False
        return True

    def _strike(self, record: TaskRecord, before: TaskState) -> None:
        """Forget a task that has ended."""
        del self.records[record.task.task_id]
        if before is _QUEUED:
            self.placement.discard()
        if self.inputs.wanted:
            self.inputs.struck(record)
        client = record.client
        client.open -= 1
        if record.past is not None:
            self.attempts.forget(record)
        if client.leaving is not None:
            self.departures.farewell(client)

    def _fail(self, record: TaskRecord, text: str) -> None:
        """End a task by a bug of ours, whatever its state."""
        waiting, before = record.cancels, record.state
        if record.worker is not None:
            self.placement.release(record.worker, record)
        record.state = TaskState.FAILED
        record.cancels = None
        if record.task.task_id in self.records:
            self._strike(record, before)
        row = fault_row(record.task, RowStatus.INTERNAL, text, self.context.now())
        self.deliveries.deliver(record, waiting, row)

    def end_of_turn(self) -> None:
        """Send results to clients and tasks to workers, many in one message."""
        self.deliveries.tell()
        if self.placement.queued:
            now_s = self.context.now()
            for worker in self.placement.assign():
                batch, worker.batch = worker.batch, []
                self.context.tell(worker.ref, run_message(batch, now_s))

    def _sending_worker(self) -> WorkerEntry | None:
        sender = self.context.sender
        return None if sender is None else self.workers.get(sender)

    @handles(GetStatus)
    def on_get_status(self, message: GetStatus) -> None:
        """Tell what is here."""
        self.context.reply(status_of(self.records, self.workers.values(), len(self.clients)))
