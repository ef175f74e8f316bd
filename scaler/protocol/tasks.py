"""Messages about tasks. Many tasks ride in one message; bodies are opaque bytes.

A task id is `client number << 32 | n`, so it names its client, and it sorts by time within one.
Functions and payloads are opened by the executor and by the caller alone.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final

from actors import Message
from scaler.limits import MAX_ATTEMPTS
from scaler.protocol.objects import Body, Pieces

CLIENT_SHIFT = 32
"""A task id shifted right by this is the number of its client."""


class RowStatus(IntEnum):
    """How one attempt of a task ended."""

    SUCCEEDED = 0
    """`payload` is the pickled value."""
    FAILED = 1
    """`payload` is the encoded exception (`scaler.serialization.exceptions`)."""
    INTERRUPTED = 2
    """It unwound after an interrupt: the answer is `Canceled`. `payload` is empty."""
    WORKER_DIED = 3
    """Its executor died while it ran. `payload` is the cause as UTF-8 text."""
    INTERNAL = 4
    """A bug of ours. `payload` is what happened, as UTF-8 text."""
    TIMED_OUT = 5
    """It was stopped at its timeout or deadline. `payload` says how, as UTF-8 text."""
    LOST = 6
    """Its executor went while it ran, by nobody's fault. `payload` is the cause as UTF-8 text."""
    INPUT_FAILED = 7
    """A task failed whose result it needs. `payload` says which (`scaler.protocol.inputs`)."""


class Function(Message, frozen=True, gc=False, array_like=True):
    """A function as bytes. Equal content has an equal id."""

    function_id: bytes
    """16 bytes, a digest of `blob`."""
    blob: bytes
    name: str
    """For people: `module.qualname`."""


class TaskPolicy(Message, frozen=True, gc=False, array_like=True):
    """How often a task may be tried, for how long, and what it may do with its arguments."""

    retries: int = 0
    """Further attempts after an exception of its own."""
    retry_when: bytes = b""
    """Pickled predicate of the exception, for the executor; empty: each exception will do."""
    backoff_s: float = 0.0
    """Wait before the first retry; twice as long before each further one."""
    backoff_max_s: float = 60.0
    """Longest wait, before jitter."""
    jitter: float = 0.0
    """The part of each wait, 0 to 1, that is left to chance: a wait is cut by up to so much."""
    max_attempts: int = MAX_ATTEMPTS
    """Attempts that may be lost with their executors before the task fails."""
    timeout_s: float | None = None
    """How long one attempt may run."""
    deadline_s: float | None = None
    """How long after it was submitted the task must have ended."""
    map_deadline_s: float | None = None
    """For people: the deadline of the map it is a part of, of which `deadline_s` was left."""
    copy: bool = False
    """It gets copies that it may write to, where else buffers are mapped read-only."""


DEFAULT_POLICY: Final = TaskPolicy()
"""What holds for a task without a policy of its own."""


class Task(Message, frozen=True, gc=False, array_like=True):
    """One call, or (`chunked`) one function applied to many argument tuples."""

    task_id: int
    function_id: bytes
    payload: bytes
    """Pickled `(args, kwargs)`; if chunked, a pickled list of argument tuples."""
    chunked: bool = False
    attempt: int = 1
    """Which start of the task this is, from 1."""
    policy: TaskPolicy | None = None
    """`None` stands for `DEFAULT_POLICY`."""
    needs: tuple[int, ...] = ()
    """Tasks whose results stand among the arguments. It waits for them."""
    inputs: tuple[Body | None, ...] = ()
    """These results, in this order; `None`, or nothing at all: they are still to come."""
    objects: Pieces = ()
    """What of the arguments is in shared memory, see `Body`."""


class Remains(Message, frozen=True):
    """What is kept of a message that nobody handled: the values that were in it go."""

    kind: str
    """The message's class."""
    task_ids: tuple[int, ...]


class TaskSubmit(Message, frozen=True):
    """Client to scheduler. `functions` holds every function that `tasks` name."""

    functions: tuple[Function, ...]
    tasks: tuple[Task, ...]

    def remains(self) -> Remains:
        """Keep no arguments."""
        return Remains("TaskSubmit", tuple([task.task_id for task in self.tasks]))


class TaskRun(Message, frozen=True):
    """Scheduler to worker, columns of one length. `functions` as in `TaskSubmit`."""

    functions: tuple[Function, ...]
    tasks: tuple[Task, ...]
    expected_us: tuple[int, ...]
    """How long each is expected to run, microseconds."""
    left_s: tuple[tuple[int, float], ...] = ()
    """Task id and seconds left until its deadline, for those that have one."""

    def remains(self) -> Remains:
        """Keep no arguments."""
        return Remains("TaskRun", tuple([task.task_id for task in self.tasks]))


class TaskRow(Message, frozen=True, gc=False, array_like=True):
    """How an attempt ended, made by the executor and passed on as it is."""

    ordinal: int
    """The n-th task sent to that executor; between worker and executor the only key."""
    task_id: int
    status: RowStatus
    payload: bytes
    started_s: float
    """Monotonic clock of the host, before the arguments were unpickled."""
    ended_s: float
    """The same, after the result was pickled."""
    cpu_s: float
    """User and system time of the executor during the attempt."""
    rss_bytes: int
    """Peak resident memory of the executor so far."""
    worker: str
    pid: int
    attempt: int
    unclean: bool = False
    """It left threads, processes or a half-done import behind: the executor must be replaced."""
    final: bool = False
    """It must not be tried again: `FAILED` by an exception for which its policy wants no retry, or
    `WORKER_DIED`, and the process is still there."""
    objects: Pieces = ()
    """What of the value is in shared memory, see `Body`."""


class TaskResult(Message, frozen=True):
    """Worker to scheduler to client: attempts that ended."""

    rows: tuple[TaskRow, ...]

    def remains(self) -> Remains:
        """Keep no results."""
        return Remains("TaskResult", tuple([row.task_id for row in self.rows]))


class TaskReturned(Message, frozen=True):
    """Worker to scheduler: these have not begun and never will here; place them again."""

    task_ids: tuple[int, ...]


class TaskStarted(Message, frozen=True):
    """Worker to scheduler to client: these have been running for a while."""

    task_ids: tuple[int, ...]


class TaskOutput(Message, frozen=True, gc=False, array_like=True):
    """What a task printed, whole lines; arrives before the task's row."""

    task_id: int
    stream: str
    """`stdout` or `stderr`."""
    text: str


class AwaitInputs(Message, frozen=True):
    """Asked client to scheduler, after it submitted tasks with `needs`: which of these needs did
    the scheduler not know any more? The reply is an `InputsUnknown`.
    """

    task_ids: tuple[int, ...]


class InputsUnknown(Message, frozen=True):
    """These had ended before, and what they came to was told: give me `InputGiven` for each."""

    pairs: tuple[tuple[int, int], ...]
    """The task that waits, and the one whose result it needs."""


class InputGiven(Message, frozen=True):
    """Client to scheduler: what a task has come to whose result another one needs."""

    task_id: int
    """The task that waits."""
    needed: int
    name: str
    """Of the function of `needed`, for people."""
    row: TaskRow | None
    """`None`: it was cancelled."""

    def remains(self) -> Remains:
        """Keep no result."""
        return Remains("InputGiven", (self.task_id, self.needed))


class TaskCancel(Message, frozen=True):
    """Asked client to scheduler to worker: stop this task and confirm it.

    The reply is a `TaskCancelConfirm`, or the `TaskResult` that was faster.
    """

    task_id: int
    force: bool = True
    """Interrupt it even if it runs."""
    grace_s: float | None = None
    """Seconds between interrupt and kill; `None`: the cluster's default, in two stages."""


class TaskDrop(Message, frozen=True):
    """Asked client to scheduler, before it cancels many one by one: drop what is queued.

    The reply is a `TaskDropped`; the others are not touched.
    """

    task_ids: tuple[int, ...]


class TaskDropped(Message, frozen=True):
    """These were queued. They never started and never will: each is cancelled."""

    task_ids: tuple[int, ...]


class TaskCancelConfirmType(Enum):
    """What became of a cancel."""

    Canceled = "canceled"
    """It never started, has unwound, or its process has been reaped."""
    CancelNotFound = "not found"
    """Nobody knows the task (any more)."""
    CancelFailed = "failed"
    """It goes on running, and its result will come."""


class TaskCancelConfirm(Message, frozen=True):
    """The answer to a `TaskCancel`."""

    task_id: int
    type: TaskCancelConfirmType


class ClientConnect(Message, frozen=True):
    """Asked of the scheduler by a client before its first task. Reply: `ClientConnected`."""

    client: int


class ClientConnected(Message, frozen=True):
    """The scheduler accepts the client (`accepted`), or its number is taken."""

    accepted: bool


class ClientDisconnect(Message, frozen=True):
    """Asked: cancel all tasks of this client, newest first; reply (the same) when none is left."""

    client: int
    grace_s: float


class AwaitWorker(Message, frozen=True):
    """Asked of the scheduler. The reply comes when there is a worker."""


class GetStatus(Message, frozen=True):
    """Asked of the scheduler. Reply: `SchedulerStatus`."""


class WorkerStatus(Message, frozen=True):
    """One worker as the scheduler sees it."""

    worker: str
    outstanding: int
    """Tasks sent and not answered."""
    load_us: int
    """Their expected run time together, microseconds."""
    credit: int
    """Tasks that may be sent to it; 0: it is out of use."""


class SchedulerStatus(Message, frozen=True):
    """What a scheduler holds at one moment."""

    waiting: int
    """Between two attempts."""
    queued: int
    running: int
    """Sent to a worker."""
    canceling: int
    workers: tuple[WorkerStatus, ...]
    clients: int


class WorkerConnect(Message, frozen=True):
    """Worker to scheduler: I take tasks now. Told again when the number changes."""

    worker: str
    credit: int
    """Tasks that may be outstanding here, an absolute number; 0: none for now."""
