"""What a scheduler knows: tasks, functions, clients, workers, and the queue."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Mapping

import msgspec

from actors import ActorRef, DeferredReply
from scaler.limits import EXPECTED_US, FUNCTIONS_KNOWN, PREFETCH_US
from scaler.protocol.tasks import (
    Function,
    RowStatus,
    SchedulerStatus,
    Task,
    TaskRow,
    TaskRun,
    WorkerStatus,
)
from scaler.scheduler.transitions import TaskState

_QUEUE_SLACK = 1_000
_EWMA_SHIFT = 2
_QUEUED = TaskState.QUEUED


class FunctionEntry:
    """A function and how long it usually runs."""

    __slots__ = ("_chunks", "expected_us", "function")

    def __init__(self, function: Function) -> None:
        self.function = function
        self.expected_us = EXPECTED_US
        self._chunks: FunctionEntry | None = None

    @property
    def of_chunks(self) -> FunctionEntry:
        """The entry of the same function for chunks: they run for longer than a single call."""
        if self._chunks is None:
            self._chunks = FunctionEntry(self.function)
        return self._chunks

    def observe(self, run_s: float) -> None:
        """Move the expectation a quarter of the way towards one run."""
        self.expected_us += (int(run_s * 1e6) - self.expected_us) >> _EWMA_SHIFT


class FunctionTable:
    """Functions by id, the oldest forgotten first; records keep their own entry alive."""

    def __init__(self) -> None:
        self._entries: dict[bytes, FunctionEntry] = {}

    def enter(self, function: Function) -> FunctionEntry:
        """Return the entry of `function`, made now if it is new."""
        entry = self._entries.get(function.function_id)
        if entry is None:
            if len(self._entries) >= FUNCTIONS_KNOWN:
                del self._entries[next(iter(self._entries))]
            entry = self._entries[function.function_id] = FunctionEntry(function)
        return entry


class ClientEntry:
    """One client: where its results go, and how many tasks it has here."""

    __slots__ = ("leaving", "number", "open", "ref", "rows")

    def __init__(self, number: int, ref: ActorRef) -> None:
        self.number = number
        self.ref = ref
        self.open = 0
        self.rows: list[TaskRow] = []
        self.leaving: list[DeferredReply] | None = None
        """Who waits for its last task to end; `None` while it is here."""


class WorkerEntry:
    """One worker: what was sent to it and not answered."""

    __slots__ = (
        "batch",
        "blocked",
        "credit",
        "idle",
        "listed",
        "load_us",
        "name",
        "outstanding",
        "ref",
    )

    def __init__(self, name: str, ref: ActorRef, credit: int) -> None:
        self.name = name
        self.ref = ref
        self.credit = credit
        self.outstanding: dict[int, TaskRecord] = {}
        self.load_us = 0
        self.blocked = False
        """A long task runs there: nothing is sent ahead until its next row."""
        self.listed = False
        """Whether it is in the list of busy workers with room."""
        self.idle = False
        """Whether it is in the list of idle workers."""
        self.batch: list[TaskRecord] = []

    @property
    def has_room(self) -> bool:
        """Whether it may get another task."""
        return (
            not self.blocked and self.load_us < PREFETCH_US and len(self.outstanding) < self.credit
        )


class TaskPast(msgspec.Struct, gc=False):
    """What a task went through, kept for those that have a policy or a bad attempt behind them."""

    submitted_s: float
    deadline_s: float = math.inf
    """On the scheduler's clock."""
    ran_s: float = 0.0
    """Run time of the attempts that ended."""
    postponed_s: float = 0.0
    """Time that it waited between retries."""
    wait_s: float = 0.0
    """Until its next attempt, from the end of the last."""
    failures: int = 0
    """Attempts that raised and were followed by another."""
    losses: list[str] = []
    """How each attempt was lost that was."""
    blameless: int = 0
    """How many of these by nobody's fault."""


class TaskRecord(msgspec.Struct, gc=False):
    """One task that has not ended. Its references are cut when it ends, so no cycle stays."""

    task: Task
    entry: FunctionEntry
    client: ClientEntry
    state: TaskState = TaskState.QUEUED
    worker: WorkerEntry | None = None
    expected_us: int = 0
    """What it counts in its worker's load."""
    force: bool = False
    """The strongest cancel that was passed on."""
    cancels: list[DeferredReply] | None = None
    """Who waits for the answer to a cancel."""
    past: TaskPast | None = None

    @property
    def story(self) -> str:
        """The task in one line, for errors."""
        where = "" if self.worker is None else f" on worker {self.worker.name}"
        return (
            f"task {self.task.task_id} ({self.entry.function.name}), "
            f"attempt {self.task.attempt}, {self.state.name}{where}"
        )


class TaskQueue:
    """Task ids in order. What left is skipped when it comes up; the dead never outnumber us."""

    def __init__(self) -> None:
        self._ids: deque[int] = deque()
        self.length = 0

    def push(self, record: TaskRecord) -> None:
        """Add a new task at the end."""
        self._ids.append(record.task.task_id)
        self.length += 1

    def push_front(self, record: TaskRecord) -> None:
        """Add a returned task at the front: it has waited longest."""
        self._ids.appendleft(record.task.task_id)
        self.length += 1

    def discard(self, records: dict[int, TaskRecord]) -> None:
        """One of the queued tasks was struck from `records`."""
        self.length -= 1
        if len(self._ids) > 2 * self.length + _QUEUE_SLACK:
            self._ids = deque(
                task_id
                for task_id in self._ids
                if task_id in records and records[task_id].state is TaskState.QUEUED
            )

    def first(self, records: dict[int, TaskRecord]) -> TaskRecord:
        """Return the task that `pop` would take."""
        record = self.pop(records)
        self.push_front(record)
        return record

    def pop(self, records: dict[int, TaskRecord]) -> TaskRecord:
        """Take the first task that is still queued. There must be one."""
        while True:
            record = records.get(self._ids.popleft())
            if record is not None and record.state is _QUEUED:
                self.length -= 1
                return record


def run_message(batch: list[TaskRecord], now_s: float) -> TaskRun:
    """Return the message that sends these tasks to their worker."""
    first = batch[0]
    if len(batch) == 1 and first.past is None:  # among many workers, most get one at a time
        return TaskRun((first.entry.function,), (first.task,), (first.expected_us,))
    functions = {record.task.function_id: record.entry.function for record in batch}
    return TaskRun(
        functions=tuple(functions.values()),
        tasks=tuple([record.task for record in batch]),
        expected_us=tuple([record.expected_us for record in batch]),
        left_s=tuple(
            [
                (record.task.task_id, past.deadline_s - now_s)
                for record in batch
                if (past := record.past) is not None and past.deadline_s < math.inf
            ]
        ),
    )


def fault_row(task: Task, status: RowStatus, text: str, now_s: float) -> TaskRow:
    """Return the row of a task that ended by no act of its own, and of no executor."""
    return TaskRow(
        ordinal=0,
        task_id=task.task_id,
        status=status,
        payload=text.encode(),
        started_s=now_s,
        ended_s=now_s,
        cpu_s=0.0,
        rss_bytes=0,
        worker="",
        pid=0,
        attempt=task.attempt,
    )


def status_of(
    records: Mapping[int, TaskRecord], workers: Collection[WorkerEntry], clients: int
) -> SchedulerStatus:
    """Count what a scheduler holds."""
    states = [record.state for record in records.values()]
    return SchedulerStatus(
        waiting=states.count(TaskState.WAITING),
        queued=states.count(TaskState.QUEUED),
        running=states.count(TaskState.RUNNING),
        canceling=states.count(TaskState.CANCELING),
        workers=tuple(
            WorkerStatus(worker.name, len(worker.outstanding), worker.load_us, worker.credit)
            for worker in workers
        ),
        clients=clients,
    )
