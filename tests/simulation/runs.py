"""What there is to be known of tasks and of their runs: as they really were."""

from __future__ import annotations

import math
from enum import Enum

from scaler.protocol.objects import Spilled
from tests.simulation.plans import Ending, TaskPlan


class How(Enum):
    """How a run ended."""

    VALUE = "returned"
    RAISED = "raised"
    INTERRUPTED = "unwound"
    DIED = "ended its process"
    CRASHED = "process was killed by something else"
    KILLED = "killed by its worker"
    TOO_LARGE = "killed over the memory limit"
    LOST = "process went with its launcher"


class Run:
    """One start of a task."""

    __slots__ = (
        "attempt",
        "began_s",
        "ended_s",
        "ending",
        "homes",
        "how",
        "interrupted",
        "left_behind",
        "names",
        "number",
        "objects",
        "payload",
        "plan",
        "stuck_s",
        "task_id",
        "worker",
    )

    def __init__(
        self, plan: TaskPlan, task_id: int, number: int, attempt: int, worker: str, now_s: float
    ) -> None:
        self.plan = plan
        self.attempt = attempt
        self.task_id = task_id
        self.number = number
        """From 1 for each task."""
        self.worker = worker
        self.began_s = now_s
        self.ended_s = math.inf
        self.ending: Ending = plan.ending(number)
        self.how: How | None = None
        self.interrupted = False
        self.payload = b""
        """What it returned, pickled."""
        self.homes: dict[int, Spilled | None] = {}
        """The objects among its arguments, and where on disk they are read."""
        self.names: tuple[bytes, ...] = ()
        """What is in the objects that it returned."""
        self.objects: dict[int, int] = {}
        """Their sizes, by where they are."""
        self.stuck_s = math.inf
        """Since when its process should be dead, and hangs in the kernel: it runs no code."""
        self.left_behind = False
        """It has unwound, but a thread or a process of it still runs."""

    @property
    def is_stuck(self) -> bool:
        """Whether its process hangs in the kernel, or did, after it should have been dead."""
        return self.stuck_s < math.inf

    def __repr__(self) -> str:
        how = "runs" if self.how is None else self.how.value
        return f"run {self.number} on {self.worker} from {self.began_s:.6f}: {how}"


def is_stuck(run: Run) -> bool:
    """Whether its process hangs in the kernel, or did, after it should have been dead."""
    return run.is_stuck


class TaskTruth:
    """One task, as it really was."""

    __slots__ = (
        "at_once",
        "forced_s",
        "is_asked_to_stop",
        "names",
        "needs",
        "no_more_since",
        "place",
        "plan",
        "resolved_s",
        "returns",
        "runs",
        "submitted_s",
        "task_id",
        "vain",
    )

    def __init__(
        self,
        plan: TaskPlan,
        place: int,
        task_id: int,
        now_s: float,
        needs: tuple[int, ...],
        names: tuple[bytes, ...],
    ) -> None:
        self.plan = plan
        self.names = names
        """What is in its large arguments."""
        self.needs = needs
        """Tasks whose results are its arguments."""
        self.place = place
        """In the script."""
        self.task_id = task_id
        self.submitted_s = now_s
        self.runs: list[Run] = []
        self.resolved_s = math.inf
        """When who waits for its future was told."""
        self.returns = 0
        """How often it came back without having begun."""
        self.vain: dict[int, None] = {}
        """Attempts that killed who only received it."""
        self.forced_s = math.inf
        """When it was first wanted that it be stopped, even if it runs."""
        self.at_once = False
        """The same, and without any grace."""
        self.is_asked_to_stop = False
        """The same, perhaps only if it does not run."""
        self.no_more_since = ""
        """Why it must not run any more: what was promised."""

    @property
    def running(self) -> Run | None:
        """Its run that has not ended."""
        return self.runs[-1] if self.runs and self.runs[-1].how is None else None

    @property
    def result(self) -> bytes | None:
        """What its last run returned, pickled; `None`: nothing."""
        if not self.runs or self.runs[-1].how is not How.VALUE:
            return None
        return self.runs[-1].payload

    def count(self, *hows: How) -> int:
        """How many of its runs ended so."""
        return sum(run.how in hows for run in self.runs)

    def __repr__(self) -> str:
        return f"task {self.task_id} ({self.plan}): {self.runs}"
