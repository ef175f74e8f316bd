"""What a seed draws: the options of each chapter, and the calls that its users make."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from random import Random
from typing import Any

from scaler import Retry, limits
from tests.chaos import tasks
from tests.chaos.facts import Expect

NEVER = 1_000_000
"""More crashes or failures than a task has attempts."""

LONG_S = 30.0
"""Longer than anybody waits: only a cancel or a limit ends such a task early."""


@dataclass(frozen=True)
class Options:
    """How one chapter is run. The rates are per second; 0: such a thing does not happen."""

    workers: int
    users: int
    kill_executor: float
    kill_launcher: float
    freeze_executor: float
    freeze_launcher: float
    starve: float
    kill_program: float
    crash_share: float
    """Part of the tasks that take their executor down."""
    cancel_share: float
    """Part of the tasks that somebody cancels."""
    recycle: int | None
    """`max_tasks_per_executor`."""

    @staticmethod
    def draw(rng: Random, workers: int | None) -> Options:
        """Draw them; every third chapter is a calm one: too many faults hide bugs."""
        calm = 0.1 if rng.random() < 0.33 else 1.0
        return Options(
            workers=workers or rng.choice((1, 2, 2, 3, 4)),
            users=rng.randint(2, 6),
            kill_executor=calm * rng.choice((0.0, 1.0, 4.0, 10.0)),
            kill_launcher=calm * rng.choice((0.0, 0.1, 0.3)),
            freeze_executor=calm * rng.choice((0.0, 0.5, 2.0)),
            freeze_launcher=calm * rng.choice((0.0, 0.1, 0.4)),
            starve=calm * rng.choice((0.0, 0.05, 0.1)),
            kill_program=calm * rng.choice((0.0, 0.0, 0.2)),
            crash_share=calm * rng.choice((0.0, 0.01, 0.03)),
            cancel_share=rng.choice((0.0, 0.05, 0.25)),
            recycle=rng.choice((None, None, 1, 20)),
        )

    def __str__(self) -> str:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        shown = {name: value for name, value in values.items() if value}
        return ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in shown.items())


@dataclass
class Call:
    """One call to make, and what is to come of it."""

    kind: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    """After the directory of the stamps and the task's index."""
    value: Callable[[int], Any] | None = tasks.answer
    """The value of the task with this index."""
    expects: Expect = Expect.VALUE
    policy: dict[str, Any] = field(default_factory=dict)
    """For `client.options`."""
    own_failures: int = 0
    own_crashes: int = 0
    lines: int = 0
    hunted: int = 0
    """How many of its attempts are to be hunted down."""


def _duration_s(rng: Random) -> float:
    longest_s = rng.choices((0.0, 0.002, 0.02, 0.5), (30, 50, 19, 1))[0]
    return rng.uniform(0.0, longest_s)


def _timed(kind: str, function: Callable[..., Any]) -> Callable[[Random], Call]:
    return lambda rng: Call(kind, function, (_duration_s(rng),))


def _c_code(rng: Random) -> Call:
    return Call("C code", tasks.c_code, (rng.choice((10_000, 100_000, 3_000_000)),))


def _prints(rng: Random) -> Call:
    lines = rng.randint(1, 5)
    return Call("prints", tasks.prints, (lines,), lines=lines)


def _digest(rng: Random) -> Call:
    data = rng.randbytes(rng.choice((1_000, 100_000, 2_000_000)))
    digest = zlib.crc32(data)
    return Call("payload", tasks.digest, (data,), value=lambda _: digest)


def _produce(rng: Random) -> Call:
    size = rng.choice((1_000, 100_000, 2_000_000))
    return Call(
        "big result", tasks.produce, (size,), value=lambda index: tasks.data_of(index, size)
    )


def _fail(rng: Random) -> Call:
    return Call("raises", tasks.fail, (NEVER,), expects=Expect.OWN_ERROR, own_failures=0)


def _no_value(rng: Random) -> Call:
    return Call("no value", tasks.no_value, (), expects=Expect.NOT_PICKLED)


def _hunted(rng: Random) -> Call:
    return Call("hunted", tasks.nap, (0.25,), hunted=rng.randint(1, 4))


def _flaky(rng: Random) -> Call:
    failures = rng.randint(1, 3)
    wait_s = rng.choice((0.0, 0.01, 0.1))
    policy = {"retries": Retry(failures, when=tasks.OwnError, backoff=wait_s)}
    return Call("flaky", tasks.fail, (failures,), policy=policy, own_failures=failures)


def _once(rng: Random) -> Call:
    return Call("at most once", tasks.nap, (_duration_s(rng),), policy={"max_attempts": 1})


def _overrun(rng: Random) -> Call:
    function = rng.choice((tasks.nap, tasks.loop, tasks.swallow, tasks.with_thread))
    limit = rng.choice(("timeout", "deadline"))
    policy = {limit: rng.uniform(0.02, 0.3)}
    return Call(f"over its {limit}", function, (LONG_S,), expects=Expect.TIMEOUT, policy=policy)


def _in_time(rng: Random) -> Call:
    policy = {"timeout": LONG_S, "deadline": 4 * LONG_S}
    return Call("in time", tasks.loop, (_duration_s(rng),), policy=policy)


def _crash(rng: Random) -> Call:
    how = rng.choice(sorted(tasks.CRASHES))
    if rng.random() < 0.5:
        return Call("poison", tasks.crash, (NEVER, how), expects=Expect.DEATH, own_crashes=NEVER)
    times = rng.randint(1, 2)
    return Call("crashes", tasks.crash, (times, how), own_crashes=times)


USUAL: list[tuple[float, Callable[[Random], Call]]] = [
    (30, _timed("nap", tasks.nap)),
    (30, _timed("loop", tasks.loop)),
    (8, _c_code),
    (4, _prints),
    (4, _digest),
    (4, _produce),
    (3, _fail),
    (1, _no_value),
    (2, _timed("with a process", tasks.with_process)),
    (2, _timed("with a thread", tasks.with_thread)),
    (0.5, _timed("with a daemon", tasks.with_daemon)),
    (2, _timed("swallows", tasks.swallow)),
    (0.5, _hunted),
    (3, _flaky),
    (2, _once),
    (1, _overrun),
    (3, _in_time),
]


def draw_call(rng: Random, options: Options) -> Call:
    """Draw one call."""
    if rng.random() < options.crash_share:
        return _crash(rng)
    weights, makers = zip(*USUAL, strict=True)
    return rng.choices(makers, weights)[0](rng)


def max_attempts(call: Call) -> int:
    """Return how many attempts of a task may be lost with their executors."""
    return call.policy.get("max_attempts", limits.MAX_ATTEMPTS)
