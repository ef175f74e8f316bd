"""What one seed does, as data: drawn before anything runs, so that parts can be left out."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from actors.testkit.simulation import Delays
from scaler.limits import CANCEL_TIMEOUT_S
from scaler.protocol.tasks import DEFAULT_POLICY, TaskPolicy


class Plan(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Base of all that is drawn. Printed as JSON."""


class Style(IntEnum):
    """What a task does when it is interrupted."""

    UNWINDS = 0
    UNWINDS_SLOWLY = 1
    """Its `finally` takes `unwind_s`."""
    IN_C = 2
    """The main thread is in C code until the task would end: no sign of life."""
    IN_C_AT_FIRST = 3
    """The same for `unwind_s`; then it is Python, and unwinds."""
    RETURNS = 4
    """It swallows the interrupt, and returns its value after `unwind_s`."""
    RAISES = 5
    """It swallows the interrupt, and raises something else after `unwind_s`."""
    HANGS = 6
    """It swallows the interrupt, and never ends."""
    LEAVES = 7
    """It unwinds, and leaves a thread or a process behind."""
    DIES = 8
    """Its `finally` crashes the process."""


class Ending(IntEnum):
    """How one run of a task ends when nobody stops it."""

    VALUE = 0
    RAISE = 1
    RAISE_FINALLY = 2
    """The policy's predicate wants no retry of this one."""
    BAD_ARGUMENTS = 3
    """They cannot be opened in the executor."""
    BAD_VALUE = 4
    """It cannot be pickled."""
    BAD_VALUE_HERE = 5
    """It cannot be opened by the caller."""
    BAD_ERROR = 6
    """The exception cannot be pickled."""
    BAD_ERROR_HERE = 7
    """The exception cannot be opened by the caller."""
    EXIT = 8
    """The executor ends with an exit code."""
    CRASH = 9
    """A signal ends it."""
    NEVER = 10
    """It does not end by itself."""
    NO_ROOM = 11
    """There is no room for its value. Not drawn: it comes of itself."""


FAILS = (
    Ending.RAISE,
    Ending.RAISE_FINALLY,
    Ending.BAD_ARGUMENTS,
    Ending.BAD_VALUE,
    Ending.BAD_ERROR,
    Ending.BAD_ERROR_HERE,
    Ending.NO_ROOM,
)
"""Endings with an exception."""

FINAL = (
    Ending.RAISE_FINALLY,
    Ending.BAD_ARGUMENTS,
    Ending.BAD_VALUE,
    Ending.BAD_VALUE_HERE,
    Ending.NO_ROOM,
)
"""Those that no retry follows: the predicate says so, or they are not the task's own."""

HIDDEN = (
    Ending.BAD_ARGUMENTS,
    Ending.BAD_VALUE,
    Ending.BAD_VALUE_HERE,
    Ending.BAD_ERROR,
    Ending.BAD_ERROR_HERE,
)
"""Those that the caller sees as a `SerializationError`."""


class TaskPlan(Plan, frozen=True, kw_only=True):
    """One task: what it does, whatever is done to it."""

    client: int
    run_s: float
    function: int = 0
    style: Style = Style.UNWINDS
    unwind_s: float = 0.0
    endings: tuple[Ending, ...] = (Ending.VALUE,)
    """Of its runs, one after the other; the last one holds for all that follow."""
    kills_receiver: bool = False
    """Who receives it dies, before it has begun: it is too large."""
    needs: tuple[int, ...] = ()
    """Tasks of the same client whose results are its arguments, by their places; those that were
    not submitted when it is, are none."""
    stuck_s: float = 0.0
    """Its process hangs in the kernel: once told to die, it needs so long."""
    prints: int = 0
    items: int = 0
    """Above 0: it is a chunk of so many."""
    payload_bytes: int = 10
    argument_bytes: tuple[int, ...] = ()
    """Its large arguments."""
    result_bytes: int = 0
    """It returns something as large; 0: nothing large."""
    passes: bool = False
    """It returns those of its arguments that are mapped, in place of that."""
    keeps: int = 0
    """It leaves its arguments behind, and they go at the end of the so manieth task after it in
    its executor; -1: never."""
    rss_bytes: int = 0
    """Its executor's memory grows to this."""
    leaks: bool = False
    """And stays so."""
    policy: TaskPolicy = DEFAULT_POLICY
    watched: bool = True
    """Somebody waits for its future."""
    lets_go: bool = False
    """And drops it when it was read."""

    def ending(self, run: int) -> Ending:
        """How its run number `run` (from 1) ends."""
        return self.endings[min(run, len(self.endings)) - 1]


class Act(Plan, frozen=True, kw_only=True):
    """Something that happens at a time given in virtual seconds."""

    at_s: float


class Submit(Act, frozen=True, kw_only=True):
    """A burst. Tasks are named by their place in the script."""

    client: int
    tasks: tuple[int, ...]


class Cancel(Act, frozen=True, kw_only=True):
    """A user cancels, in one call."""

    client: int
    tasks: tuple[int, ...]
    force: bool = True
    timeout_s: float = CANCEL_TIMEOUT_S
    grace_s: float | None = None
    unconfirmed: bool = False
    """From a callback of an event loop."""


class Drop(Act, frozen=True, kw_only=True):
    """A user lets futures go."""

    client: int
    tasks: tuple[int, ...]


class Read(Act, frozen=True, kw_only=True):
    """A user looks at results that are there."""

    client: int
    tasks: tuple[int, ...]


class Close(Act, frozen=True, kw_only=True):
    """A user closes the client, or (`in_callback`) does so in the next callback that is called."""

    client: int
    in_callback: bool = False


class Leave(Act, frozen=True, kw_only=True):
    """A client ends without a word: its actor, or its node."""

    client: int


class Look(Act, frozen=True, kw_only=True):
    """Somebody asks the scheduler for its status."""


class KillExecutor(Act, frozen=True, kw_only=True):
    """From outside: the kernel, an operator."""

    worker: int


class FreezeExecutor(Act, frozen=True, kw_only=True):
    """It gets no processor for a while."""

    worker: int
    for_s: float


class FailStarts(Act, frozen=True, kw_only=True):
    """The next executors of a worker end before they are up."""

    worker: int
    times: int


class FailLaunches(Act, frozen=True, kw_only=True):
    """The next executors of a worker cannot even be launched."""

    worker: int
    times: int


class KillLauncher(Act, frozen=True, kw_only=True):
    """All executors of a host go, by nobody's fault."""

    host: int


class PauseNode(Act, frozen=True, kw_only=True):
    """A node's thread stands still."""

    node: int
    for_s: float


class JumpClock(Act, frozen=True, kw_only=True):
    """A node's clock jumps ahead, as after a suspend."""

    node: int
    by_s: float


class CrashNode(Act, frozen=True, kw_only=True):
    """A node ends, with all that lives there: the cluster is broken."""

    node: int


Op = Submit | Cancel | Drop | Read | Close | Leave | Look
Fault = (
    KillExecutor
    | FreezeExecutor
    | FailStarts
    | FailLaunches
    | KillLauncher
    | PauseNode
    | JumpClock
    | CrashNode
)


class Options(Plan, frozen=True, kw_only=True):
    """The size of a world and how rough it is. Printed first."""

    workers: int = 2
    clients: int = 1
    hosts: int = 0
    """0: all is on one node, as in a notebook. Else the workers share so many nodes, and the
    scheduler and each client have one each."""
    delays: Delays = Delays()
    start_s: float = 0.05
    """Typical time until an executor is up."""
    kill_s: float = 0.0005
    """Typical time from the wish to kill to the end."""
    stall: float = 0.0
    """Part of the executors' steps before which they lose the processor."""
    cancel_finished: bool = True
    credit_tasks: int = 1_000
    cancel_grace_s: float = 1.0
    max_tasks_per_executor: int = 0
    max_memory_per_executor: int = 0
    object_store_bytes: int = 0
    """How much memory objects may take; 0: any amount."""
    disk_full_share: float = 0.0
    """Of the objects that are to be spilled."""
    disk_damaged_share: float = 0.0
    """Of those that were spilled."""
    kinds: tuple[str, ...] = ()
    """The faults and the odd users that this seed has."""


class Script(Plan, frozen=True, kw_only=True):
    """All that a seed does."""

    options: Options
    tasks: tuple[TaskPlan, ...]
    ops: tuple[Op, ...]
    faults: tuple[Fault, ...] = ()

    @property
    def heal_s(self) -> float:
        """When the last thing has been done: from then on, all must come to an end."""
        return max((act.at_s for act in (*self.ops, *self.faults)), default=0.0)
