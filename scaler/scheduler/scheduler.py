"""`Scheduler`: the actor that owns every task's state.

It sends each worker about `limits.PREFETCH_US` of expected work, by what each function took so far,
and takes back what a worker returns. Every message is handled in time that does not depend on how
many tasks or workers there are.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from actors import Actor, ActorRef, Terminated, handles
from scaler.errors import IllegalTransition
from scaler.protocol.tasks import (
    CLIENT_SHIFT,
    AwaitWorker,
    ClientConnect,
    ClientConnected,
    ClientDisconnect,
    GetStatus,
    RowStatus,
    SchedulerStatus,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskOutput,
    TaskResult,
    TaskReturned,
    TaskRow,
    TaskRun,
    TaskStarted,
    TaskSubmit,
    WorkerConnect,
    WorkerStatus,
)
from scaler.scheduler.cancels import Cancels
from scaler.scheduler.records import (
    ClientEntry,
    FunctionTable,
    TaskQueue,
    TaskRecord,
    WorkerEntry,
)
from scaler.scheduler.transitions import FINAL_STATES, TaskEvent, TaskState, next_state

if TYPE_CHECKING:
    from actors import DeferredReply

_ROW_EVENTS = {
    RowStatus.SUCCEEDED: TaskEvent.SUCCEEDED,
    RowStatus.FAILED: TaskEvent.FAILED,
    RowStatus.INTERRUPTED: TaskEvent.CANCEL_CONFIRMED,
    RowStatus.WORKER_DIED: TaskEvent.DIED,
    RowStatus.INTERNAL: TaskEvent.FAILED,
}


class Scheduler(Actor):
    """Queues tasks, hands them to workers, answers cancels, passes results on."""

    def __init__(self) -> None:
        """Make a scheduler without workers and clients; both connect by message."""
        self.records: dict[int, TaskRecord] = {}
        self.queue = TaskQueue()
        self.functions = FunctionTable()
        self.clients: dict[int, ClientEntry] = {}
        self.workers: dict[ActorRef, WorkerEntry] = {}
        self.open_workers: deque[WorkerEntry] = deque()
        self.cancels = Cancels(self)
        self._awaiting: list[DeferredReply] = []
        self._told: dict[int, ClientEntry] = {}

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
        records, push = self.records, self.queue.push
        for task in message.tasks:
            record = TaskRecord(task, entries[task.function_id], client)
            records[task.task_id] = record
            push(record)
        client.open += len(message.tasks)

    @handles(TaskCancel)
    def on_cancel(self, message: TaskCancel) -> None:
        """Answer at once what is queued or unknown; ask the worker for the rest."""
        reply = self.context.defer_reply()
        record = self.records.get(message.task_id)
        if record is None:
            unknown = TaskCancelConfirmType.CancelNotFound
            reply.send(TaskCancelConfirm(message.task_id, unknown))
            return
        self.cancels.request(record, reply, message.force, message.grace_s)

    @handles(ClientDisconnect)
    def on_client_disconnect(self, message: ClientDisconnect) -> None:
        """Cancel all that the client has here; answer when nothing of it is left."""
        client = self.clients.get(message.client)
        if client is None:
            self.context.reply(message)
            return
        self._dismiss(client, self.context.defer_reply(), message.grace_s)

    def _dismiss(self, client: ClientEntry, reply: DeferredReply | None, grace_s: float) -> None:
        """Cancel a client's tasks, newest first: no queued one starts in place of another."""
        leaving = client.leaving is not None
        client.leaving = client.leaving or []
        if reply is not None:
            client.leaving.append(reply)
        if not leaving:
            own = [record for record in self.records.values() if record.client is client]
            for record in reversed(own):
                self.cancels.request(record, None, True, grace_s)
        self._farewell(client)

    def _farewell(self, client: ClientEntry) -> None:
        """Forget a leaving client once none of its tasks is left."""
        if client.leaving is None or client.open:
            return
        self.clients.pop(client.number, None)
        self.context.unwatch(client.ref)
        for reply in client.leaving:
            reply.send(ClientDisconnect(client.number, 0.0))

    # --- workers ----------------------------------------------------------------------------

    @handles(WorkerConnect)
    def on_worker_connect(self, message: WorkerConnect) -> None:
        """A worker takes tasks from now on."""
        ref = self.context.sender
        if ref is not None and ref not in self.workers:
            worker = WorkerEntry(message.worker, ref, message.credit)
            self.workers[ref] = worker
            self.context.watch(ref)
            self._list(worker)
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
                self.end_attempt(worker, record, row)

    def end_attempt(self, worker: WorkerEntry, record: TaskRecord, row: TaskRow) -> None:
        """One attempt ended with `row`: its task is over."""
        if row.status is RowStatus.SUCCEEDED:
            record.entry.observe(row.ended_s - row.started_s)
        worker.blocked = False
        waiting = record.cancels
        if not self.apply(record, _ROW_EVENTS[row.status]):
            return
        if record.state is TaskState.CANCELED:
            self.cancels.confirm(record, waiting, TaskCancelConfirmType.Canceled)
        elif waiting is not None:
            for reply in waiting:
                reply.send(TaskResult((row,)))
        else:
            self._pass_on(record.client, row)

    @handles(TaskReturned)
    def on_returned(self, message: TaskReturned) -> None:
        """Tasks that have not begun come back; they have waited longest."""
        worker = self._sending_worker()
        if worker is None:
            return
        for task_id in reversed(message.task_ids):
            record = worker.outstanding.get(task_id)
            if record is not None:
                self._take_back(record)
        worker.blocked = bool(worker.outstanding)

    def _take_back(self, record: TaskRecord) -> None:
        waiting = record.cancels
        if not self.apply(record, TaskEvent.RETURNED):
            return
        if record.state is TaskState.QUEUED:
            self.queue.push_front(record)
        else:
            self.cancels.confirm(record, waiting, TaskCancelConfirmType.Canceled)

    @handles(TaskStarted)
    def on_started(self, message: TaskStarted) -> None:
        """Tell the clients what has been running for a while."""
        for task_id in message.task_ids:
            record = self.records.get(task_id)
            if record is not None:
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
            for record in list(worker.outstanding.values()):
                self._fail(record, RowStatus.WORKER_DIED, f"worker {worker.name} {message.cause}")
            worker.credit = 0
        for client in list(self.clients.values()):
            if client.ref == message.ref:
                self._dismiss(client, None, 0.0)

    # --- one task ---------------------------------------------------------------------------

    def apply(self, record: TaskRecord, event: TaskEvent) -> bool:
        """Move a task along the table and keep the books; False if the table forbids it."""
        before, worker = record.state, record.worker
        try:
            after = next_state(before, event)
        except IllegalTransition as error:
            self._fail(record, RowStatus.INTERNAL, f"{error}; {record.story}")
            return False
        record.state = after
        task_id = record.task.task_id
        if worker is not None and after not in (TaskState.RUNNING, TaskState.CANCELING):
            self._release(worker, record)
        if after in FINAL_STATES:
            del self.records[task_id]
            record.client.open -= 1
            if before is TaskState.QUEUED:
                self.queue.discard(self.records)
            if record.client.leaving is not None:
                self._farewell(record.client)
        if after is not TaskState.CANCELING:
            record.cancels = None
            record.force = False
        return True

    def _release(self, worker: WorkerEntry, record: TaskRecord) -> None:
        """The worker no longer answers for the task."""
        del worker.outstanding[record.task.task_id]
        worker.load_us -= record.expected_us
        record.worker = None
        record.expected_us = 0
        if not worker.outstanding:
            worker.blocked = False
        self._list(worker)

    def _fail(self, record: TaskRecord, status: RowStatus, text: str) -> None:
        """End a task by a fault that is not its own."""
        waiting = record.cancels or []
        if record.worker is not None:
            self._release(record.worker, record)
        if self.records.pop(record.task.task_id, None) is not None:
            record.client.open -= 1
            if record.state is TaskState.QUEUED:
                self.queue.discard(self.records)
        record.state = TaskState.FAILED
        record.cancels = None
        now_s = self.context.now()
        row = TaskRow(
            ordinal=0,
            task_id=record.task.task_id,
            status=status,
            payload=text.encode(),
            started_s=now_s,
            ended_s=now_s,
            cpu_s=0.0,
            rss_bytes=0,
            worker="",
            pid=0,
            attempt=record.task.attempt,
        )
        for reply in waiting:
            reply.send(TaskResult((row,)))
        if not waiting:
            self._pass_on(record.client, row)
        self._farewell(record.client)

    def _pass_on(self, client: ClientEntry, row: TaskRow) -> None:
        """Keep a row for the client until the end of this run."""
        if client.leaving is None:
            client.rows.append(row)
            self._told[client.number] = client

    # --- dispatch ---------------------------------------------------------------------------

    def end_of_turn(self) -> None:
        """Send results to clients and tasks to workers, many in one message."""
        for client in self._told.values():
            rows, client.rows = client.rows, []
            self.context.tell(client.ref, TaskResult(tuple(rows)))
        self._told.clear()
        if self.queue.length and self.open_workers:
            self._dispatch()

    def _dispatch(self) -> None:
        """Give the workers with room one task each, round and round; idle ones come first."""
        touched: dict[int, WorkerEntry] = {}
        queue, records, workers = self.queue, self.records, self.open_workers
        while queue.length and workers:
            worker = workers.popleft()
            if not worker.has_room:
                worker.listed = False
                continue
            record = queue.pop(records)
            record.state = next_state(record.state, TaskEvent.DISPATCHED)
            record.worker = worker
            record.expected_us = record.entry.expected_us
            worker.load_us += record.expected_us
            worker.outstanding[record.task.task_id] = record
            if not worker.batch:
                touched[id(worker)] = worker
            worker.batch.append(record)
            workers.append(worker)
        for worker in touched.values():
            self._send(worker)

    def _send(self, worker: WorkerEntry) -> None:
        batch, worker.batch = worker.batch, []
        functions = {record.task.function_id: record.entry.function for record in batch}
        self.context.tell(
            worker.ref,
            TaskRun(
                functions=tuple(functions.values()),
                tasks=tuple([record.task for record in batch]),
                expected_us=tuple([record.expected_us for record in batch]),
            ),
        )

    def _list(self, worker: WorkerEntry) -> None:
        """Enter a worker among those with room, an idle one first."""
        if not worker.listed and worker.has_room:
            worker.listed = True
            if worker.outstanding:
                self.open_workers.append(worker)
            else:
                self.open_workers.appendleft(worker)

    def _sending_worker(self) -> WorkerEntry | None:
        sender = self.context.sender
        return None if sender is None else self.workers.get(sender)

    # --- observation ------------------------------------------------------------------------

    @handles(GetStatus)
    def on_get_status(self, message: GetStatus) -> None:
        """Tell what is here."""
        self.context.reply(self.status())

    def status(self) -> SchedulerStatus:
        """Count what is here."""
        states = [record.state for record in self.records.values()]
        return SchedulerStatus(
            queued=states.count(TaskState.QUEUED),
            running=states.count(TaskState.RUNNING),
            canceling=states.count(TaskState.CANCELING),
            workers=tuple(
                WorkerStatus(worker.name, len(worker.outstanding), worker.load_us)
                for worker in self.workers.values()
            ),
            clients=len(self.clients),
        )
