"""What is measured, beside whom, and what is to be reached."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Better(Enum):
    """Which way a figure improves."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True)
class Beside:
    """A bound on the ratio of our figure to another one of the same round."""

    side: str
    bound: float
    case: str = ""
    """Another case than our own, if it is named."""


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    Attributes:
        name: as the sides know it.
        title: for people.
        unit: of its figure.
        better: which way it improves.
        bounds: ratios to reach.
        at_most: a bound on our own figure, if there is one.
        others: sides that are measured beside, with no bound.
        never: sides that cannot do it at all.
        rounds: how often all sides are run in turn.
    """

    name: str
    title: str
    unit: str
    better: Better
    bounds: tuple[Beside, ...] = ()
    at_most: float | None = None
    others: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    rounds: int = 5

    def sides(self) -> list[str]:
        """Return every other side of this case."""
        return [*dict.fromkeys([bound.side for bound in self.bounds] + list(self.others))]


OURS = "ours"
OPTIONAL = ("ray", "dask", "opengris")
"""Sides that are only measured when asked for: they are large."""

_FUTURES = ("ppe-fork", "ppe-spawn", "loky", "mpire")

CASES = (
    Case(
        "submit-gather",
        "submit 5,000 no-ops, then all results",
        "tasks/s",
        Better.HIGHER,
        (Beside("mpire", 6), Beside("ppe-fork", 10)),
        others=("ppe-spawn", "loky", *OPTIONAL),
    ),
    Case(
        "map",
        "map a tiny function over 10,000 ints",
        "items/s",
        Better.HIGHER,
        (Beside("mpire", 20),),
        others=("ppe-fork", "ppe-spawn", "loky", *OPTIONAL),
    ),
    Case(
        "latency",
        "one submit to its result, p50",
        "µs",
        Better.LOWER,
        (Beside("ppe-fork", 0.85),),
        others=("ppe-spawn", "loky", "mpire", *OPTIONAL),
        rounds=9,
    ),
    Case(
        "argument",
        "a 64 MB numpy array as argument, p50",
        "MB/s",
        Better.HIGHER,
        (Beside("ray", 3),),
        others=("ppe-fork", "loky", "dask"),
    ),
    Case(
        "result",
        "a 64 MB numpy array as result, p50",
        "MB/s",
        Better.HIGHER,
        (Beside("ray", 1.5),),
        others=("ppe-fork", "loky", "dask"),
    ),
    Case(
        "shared",
        "a 64 MB array stored once, read by 50 tasks",
        "GB/s",
        Better.HIGHER,
        (Beside("ray", 3),),
        others=("dask",),
        never=_FUTURES,
    ),
    Case(
        "middling",
        "1,000 tasks with the same array of 100 KB",
        "tasks/s",
        Better.HIGHER,
        (Beside("ppe-fork", 4),),
        others=("loky", "ray", "dask"),
    ),
    Case(
        "own-arrays",
        "1,000 tasks, each with an array of 100 KB of its own",
        "tasks/s",
        Better.HIGHER,
        (Beside("ppe-fork", 4),),
        others=("loky", "ray", "dask"),
    ),
    Case(
        "cancel-running",
        "cancel time.sleep(60) until its slot ran a new task, p50",
        "ms",
        Better.LOWER,
        at_most=5,
        others=("ray", "opengris"),
        never=(*_FUTURES, "dask"),
    ),
    Case(
        "cancel-running-c",
        "the same with sum(range(10**12)), default grace, p50",
        "ms",
        Better.LOWER,
        at_most=80,
        never=(*_FUTURES, *OPTIONAL),
    ),
    Case(
        "cancel-queued",
        "cancel 1,000 queued tasks in one call, each",
        "µs",
        Better.LOWER,
        at_most=5,
        others=("ray",),
        never=("dask", "opengris"),
    ),
    Case(
        "cancel-queued-one",
        "one confirmed cancel of a queued task, p50",
        "µs",
        Better.LOWER,
        (Beside(OURS, 0.6, "latency"),),
    ),
    Case(
        "cold-start",
        "import, cluster up, first result",
        "s",
        Better.LOWER,
        (Beside("loky", 0.8), Beside("dask", 0.2)),
        others=("ppe-fork", "ppe-spawn", "mpire", "ray", "opengris"),
    ),
    Case(
        "idle-memory",
        "unique memory of the idle cluster, all processes",
        "MB",
        Better.LOWER,
        (Beside("dask", 0.35),),
        others=(*_FUTURES, "ray", "opengris"),
        rounds=3,
    ),
    Case(
        "tell-thread",
        "tell an actor from a thread",
        "per s",
        Better.HIGHER,
        (Beside("pykka", 4),),
    ),
    Case(
        "tell-actor",
        "tell, actor to actor",
        "per s",
        Better.HIGHER,
        (Beside("pykka", 8),),
    ),
    Case(
        "ask-thread",
        "ask an actor from a thread, one at a time",
        "per s",
        Better.HIGHER,
        (Beside("pykka", 1),),
    ),
    Case(
        "ask-actor",
        "ask, actor to actor, one at a time",
        "per s",
        Better.HIGHER,
        (Beside("xoscar", 20),),
        others=("pykka",),
    ),
    Case(
        "process-call",
        "from an actor (or a loop): ask one in another process, p50",
        "µs",
        Better.LOWER,
        (Beside("xoscar", 0.4),),
        others=("ray", "dask"),
    ),
    Case(
        "process-call-thread",
        "the same from a thread",
        "µs",
        Better.LOWER,
    ),
    Case(
        "process-pipelined",
        "from an actor (or a loop): many asks open at once",
        "per s",
        Better.HIGHER,
        (Beside("xoscar", 20),),
        others=("ray", "dask"),
    ),
    Case(
        "process-pipelined-thread",
        "the same from a thread",
        "per s",
        Better.HIGHER,
    ),
    Case(
        "create-thread",
        "create an actor in a thread and get its first answer, p50",
        "ms",
        Better.LOWER,
        (Beside("pykka", 1),),
    ),
    Case(
        "create-process",
        "create an actor in a process of its own and get its first answer, p50",
        "ms",
        Better.LOWER,
        at_most=5,
        others=("ray", "dask"),
    ),
)
