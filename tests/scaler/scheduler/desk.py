"""A scheduler in a harness, with the inboxes of its clients and workers."""

from __future__ import annotations

from actors import ActorRef
from actors.testkit import ActorHarness, Asked, InboxRef, PendingReply
from scaler.protocol.objects import Body, Pieces
from scaler.protocol.tasks import (
    CLIENT_SHIFT,
    ClientConnect,
    ClientConnected,
    ClientDisconnect,
    Function,
    GetStatus,
    RowStatus,
    SchedulerStatus,
    Task,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskDrop,
    TaskDropped,
    TaskPolicy,
    TaskResult,
    TaskReturned,
    TaskRow,
    TaskRun,
    TaskSubmit,
    WorkerConnect,
)
from scaler.scheduler.scheduler import Scheduler

CANCELED = TaskCancelConfirmType.Canceled
NOT_FOUND = TaskCancelConfirmType.CancelNotFound
FAILED = TaskCancelConfirmType.CancelFailed


def task_id(number: int, client: int = 1) -> int:
    """Return the id of a client's n-th task."""
    return client << CLIENT_SHIFT | number


def confirm(number: int, kind: TaskCancelConfirmType) -> TaskCancelConfirm:
    """Return the confirm of a task of client 1."""
    return TaskCancelConfirm(task_id(number), kind)


def row(
    number: int,
    status: RowStatus = RowStatus.SUCCEEDED,
    *,
    client: int = 1,
    run_s: float = 0.001,
    payload: bytes = b"value",
    attempt: int = 1,
    final: bool = False,
) -> TaskRow:
    """Return the row of a task's end."""
    return TaskRow(
        ordinal=number,
        task_id=task_id(number, client),
        status=status,
        payload=payload,
        started_s=10.0,
        ended_s=10.0 + run_s,
        cpu_s=0.0,
        rss_bytes=0,
        worker="worker",
        pid=1,
        attempt=attempt,
        final=final,
    )


class Desk:
    """The scheduler under test. Tasks are called by their number within their client."""

    def __init__(self) -> None:
        self.kit = ActorHarness(Scheduler)
        self.clients: dict[int, InboxRef] = {}

    def connect(self, number: int = 1) -> InboxRef:
        """Connect a client."""
        client = self.clients[number] = InboxRef(f"client-{number}")
        accepted = self.kit.ask(ClientConnect(number), sender=client)
        assert accepted.reply == ClientConnected(True)
        return client

    def add_worker(self, name: str = "worker-1", credit: int = 2_000) -> InboxRef:
        """Connect a worker."""
        worker = InboxRef(name)
        self.kit.tell(WorkerConnect(name, credit), sender=worker)
        return worker

    def submit(
        self,
        *numbers: int,
        client: int = 1,
        function_id: bytes = b"f",
        chunked: bool = False,
        policy: TaskPolicy | None = None,
        needs: tuple[int, ...] = (),
        inputs: tuple[Body | None, ...] = (),
        objects: Pieces = (),
    ) -> None:
        """Submit tasks, all in one message; `inputs` are those of `needs` that come with them."""
        needed = tuple(task_id(number, client) for number in needs)
        function = Function(function_id, b"blob", "module.f")
        tasks = tuple(
            Task(
                *(task_id(number, client), function_id, b"", chunked, 1, policy),
                *(needed, inputs, objects),
            )
            for number in numbers
        )
        self.kit.tell(TaskSubmit((function,), tasks), sender=self.clients[client])

    def cancel(
        self, number: int, *, force: bool = True, grace_s: float | None = None, client: int = 1
    ) -> PendingReply:
        """Ask for a cancel, as a client's future manager does."""
        message = TaskCancel(task_id(number, client), force, grace_s)
        return self.kit.ask(message, sender=self.clients[client], timeout_s=1_000.0)

    def drop(self, *numbers: int) -> list[int]:
        """Ask client 1's scheduler to drop what is queued; return the numbers that were."""
        reply = self.kit.ask(TaskDrop(tuple(map(task_id, numbers)))).reply
        assert isinstance(reply, TaskDropped)
        return [number & 0xFFFFFFFF for number in reply.task_ids]

    def leave(self, number: int = 1, grace_s: float = 0.2) -> PendingReply:
        """Disconnect a client."""
        return self.kit.ask(ClientDisconnect(number, grace_s), sender=self.clients[number])

    def end(self, worker: ActorRef, *rows: TaskRow) -> None:
        """Have a worker tell that attempts ended."""
        self.kit.tell(TaskResult(rows), sender=worker)

    def give_back(self, worker: ActorRef, *numbers: int) -> None:
        """Have a worker return tasks that have not begun."""
        self.kit.tell(TaskReturned(tuple(map(task_id, numbers))), sender=worker)

    def asked(self, number: int) -> Asked:
        """Take the oldest cancel that was passed on to a worker; it must be of this task."""
        asked = self.kit.take_asked(TaskCancel)
        assert asked.message.task_id == task_id(number)
        return asked

    def sent_to(self, worker: ActorRef) -> list[int]:
        """Return the numbers of the tasks sent to a worker so far."""
        runs = [m for m in self.kit.messages_to(worker) if isinstance(m, TaskRun)]
        return [task.task_id & 0xFFFFFFFF for run in runs for task in run.tasks]

    def runs_of(self, number: int, worker: ActorRef) -> list[TaskRun]:
        """Return the messages that sent a task to a worker so far."""
        runs = [m for m in self.kit.messages_to(worker) if isinstance(m, TaskRun)]
        wanted = task_id(number)
        return [run for run in runs if any(task.task_id == wanted for task in run.tasks)]

    def results_to(self, client: ActorRef) -> list[TaskRow]:
        """Return the rows told to a client so far."""
        results = [m for m in self.kit.messages_to(client) if isinstance(m, TaskResult)]
        return [row for result in results for row in result.rows]

    def confirms_to(self, client: ActorRef) -> list[TaskCancelConfirm]:
        """Return the confirms told (not replied) to a client so far."""
        return [m for m in self.kit.messages_to(client) if isinstance(m, TaskCancelConfirm)]

    def status(self) -> SchedulerStatus:
        """Ask for the status."""
        status = self.kit.ask(GetStatus()).reply
        assert isinstance(status, SchedulerStatus)
        return status

    def is_at_rest(self) -> bool:
        """Whether no task is left, here or in any book."""
        status = self.status()
        scheduler = self.kit.actor
        counts = [
            *(status.waiting, status.queued, status.running, status.canceling),
            *(scheduler.placement.queued, len(self.kit.timers)),
        ]
        loads = [
            number for worker in status.workers for number in (worker.outstanding, worker.load_us)
        ]
        open_tasks = [client.open for client in scheduler.clients.values()]
        books = (scheduler.records, scheduler.inputs.wanted, scheduler.inputs.there)
        return not any(counts + loads + open_tasks) and not any(books)
