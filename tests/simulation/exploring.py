"""All orders in which things may happen to a small system: a few tasks, two workers, one user.

Where a seed draws one order of many, here every one is tried: which message arrives next, when an
executor takes its next step, when a user cancels, when a process is killed. The oracle is that of
the seeds.

What is left out: how long things take. A message, a step of an executor, a user's act may come at
any moment, so that everything that delays could bring about is there. Timers come in their own
order; each either at any moment, too, or (`any_timers` False) when nothing else is left to happen.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from actors import LocalMessage
from actors.messages import Envelope
from actors.testkit import CounterexampleError, Exploration, Simulation, explore
from scaler.protocol.tasks import DEFAULT_POLICY, TaskPolicy
from scaler.scheduler.records import TaskRecord
from scaler.scheduler.transitions import TRANSITIONS, TaskEvent
from tests.simulation import rest
from tests.simulation.drawing import CALM
from tests.simulation.host import SimHost
from tests.simulation.plans import (
    Cancel,
    Close,
    Ending,
    Fault,
    KillExecutor,
    KillLauncher,
    Op,
    Options,
    Script,
    Style,
    Submit,
    TaskPlan,
)
from tests.simulation.states import state_of_world, timeless
from tests.simulation.verdicts import check_at_end
from tests.simulation.world import World, may_fail

STATES: Final = 200_000
SECONDS: Final = 600.0
SOON_S: Final = 10.0
"""Graces, backoffs and the like are shorter; the time until an ask is given up is longer."""


class Scenario(NamedTuple):
    """A small system, and what happens to it."""

    name: str
    tasks: tuple[TaskPlan, ...]
    acts: tuple[Op | Fault, ...] = ()
    """In any order, at any time."""
    workers: int = 2
    ready: int = 9
    """How many of the workers are there when the tasks are submitted; the others come later."""
    first: int = 9
    """How many of the tasks are submitted before anything else."""
    timers: bool = False
    """Those due within `SOON_S` may also come before all else."""
    endless: bool = False
    """Its first task never ends; it is the only one."""
    short: bool = False
    """It takes a few seconds."""
    long: bool = False
    """It takes minutes, and comes after the others: these are tried whole in any case."""


def task(
    *endings: Ending,
    style: Style = Style.UNWINDS,
    policy: TaskPolicy = DEFAULT_POLICY,
    needs: tuple[int, ...] = (),
) -> TaskPlan:
    """Return a task of the only client."""
    endings = endings or (Ending.VALUE,)
    return TaskPlan(client=0, run_s=0.0, style=style, endings=endings, policy=policy, needs=needs)


def cancel(*places: int, force: bool = True, grace_s: float | None = None) -> Cancel:
    """Return a call of `cancel` for the tasks at these places."""
    return Cancel(at_s=0.0, client=0, tasks=places, force=force, grace_s=grace_s)


def kill(worker: int) -> KillExecutor:
    """Return the end of an executor, from outside."""
    return KillExecutor(at_s=0.0, worker=worker)


LAUNCHER: Final = KillLauncher(at_s=0.0, host=0)
LATER: Final = Submit(at_s=0.0, client=0, tasks=(1,))
CLOSE: Final = Close(at_s=0.0, client=0)
ONCE: Final = TaskPolicy(max_attempts=1)
TWICE: Final = TaskPolicy(max_attempts=2)
AGAIN: Final = TaskPolicy(retries=1, backoff_s=0.01)
LIMITED: Final = TaskPolicy(timeout_s=0.005)
LATE: Final = TaskPolicy(retries=1, backoff_s=0.01, deadline_s=0.02)
FAILS_ONCE: Final = (Ending.RAISE, Ending.VALUE)

SCENARIOS: Final = (
    # --- cancel ---------------------------------------------------------------------------------
    Scenario("cancel", (task(),), (cancel(0),), workers=1, short=True),
    Scenario("cancel softly", (task(),), (cancel(0, force=False),), workers=1, short=True),
    Scenario(
        "cancel softly and with force",
        (task(),),
        (cancel(0, force=False), cancel(0)),
        workers=1,
    ),
    Scenario("cancel one of two", (task(), task()), (cancel(0),)),
    Scenario("cancel both in one call", (task(), task()), (cancel(0, 1),), long=True),
    Scenario("cancel what waits behind another", (task(), task()), (cancel(1),), workers=1),
    Scenario(
        "cancel at once, another behind it", (task(), task()), (cancel(0, grace_s=0.0),), workers=1
    ),
    Scenario(
        "cancel what swallows the interrupt",
        (task(Ending.NEVER, style=Style.HANGS),),
        (cancel(0),),
        workers=1,
        timers=True,
    ),
    Scenario(
        "cancel what returns all the same",
        (task(style=Style.RETURNS),),
        (cancel(0),),
        workers=1,
        timers=True,
    ),
    Scenario(
        "cancel what sits in C code, another behind it",
        (task(style=Style.IN_C), task()),
        (cancel(0),),
        workers=1,
        timers=True,
        long=True,
    ),
    Scenario(
        "cancel what leaves something behind",
        (task(style=Style.LEAVES), task()),
        (cancel(0),),
        workers=1,
    ),
    Scenario("cancel while the executor dies", (task(),), (cancel(0), kill(0)), workers=1),
    Scenario(
        "cancel one of two while an executor dies",
        (task(), task()),
        (cancel(0), kill(0)),
        long=True,
    ),
    Scenario(
        "cancel softly while an executor dies, another is idle",
        (task(policy=TWICE),),
        (cancel(0, force=False), kill(0)),
    ),
    Scenario(
        "cancel softly and with force while an executor dies, another is idle",
        (task(policy=TWICE),),
        (cancel(0, force=False), cancel(0), kill(0)),
    ),
    Scenario("close", (task(), task()), (CLOSE,), workers=1),
    # --- loss -----------------------------------------------------------------------------------
    Scenario("an executor dies", (task(policy=TWICE), task()), (kill(0),)),
    Scenario("an executor dies, a task behind", (task(), task(policy=ONCE)), (kill(0),), workers=1),
    Scenario("an executor dies twice", (task(policy=TWICE),), (kill(0), kill(0)), workers=1),
    Scenario("the launcher dies", (task(policy=ONCE), task()), (LAUNCHER,), long=True),
    Scenario(
        "a task kills its executors",
        (task(Ending.EXIT, policy=TWICE), task()),
        workers=1,
        short=True,
    ),
    # --- recall ---------------------------------------------------------------------------------
    Scenario("recall", (task(), task()), ready=1, timers=True),
    Scenario(
        "recall from behind what never ends",
        (task(Ending.NEVER), task()),
        ready=1,
        timers=True,
        endless=True,
        short=True,
    ),
    Scenario("recall and cancel", (task(), task()), (cancel(1),), ready=1, timers=True, long=True),
    Scenario("recall and death", (task(), task()), (kill(0),), ready=1, timers=True, long=True),
    # --- results as arguments -------------------------------------------------------------------
    Scenario("a task needs another", (task(), task(needs=(0,))), workers=1),
    Scenario("what is needed is cancelled", (task(), task(needs=(0,))), (cancel(0),), workers=1),
    Scenario("what waits is cancelled", (task(), task(needs=(0,))), (cancel(1),), workers=1),
    Scenario(
        "what is needed may have ended",
        (task(), task(needs=(0,))),
        (LATER,),
        workers=1,
        first=1,
    ),
    # --- retry ----------------------------------------------------------------------------------
    Scenario("retry", (task(*FAILS_ONCE, policy=AGAIN),), workers=1, timers=True, short=True),
    Scenario(
        "retry, another behind it",
        (task(*FAILS_ONCE, policy=AGAIN), task()),
        workers=1,
        timers=True,
    ),
    Scenario("retry, two workers", (task(*FAILS_ONCE, policy=AGAIN), task()), timers=True),
    Scenario(
        "retry and cancel",
        (task(*FAILS_ONCE, policy=AGAIN),),
        (cancel(0),),
        workers=1,
        timers=True,
    ),
    Scenario(
        "retry and death",
        (task(*FAILS_ONCE, policy=AGAIN),),
        (kill(0),),
        workers=1,
        timers=True,
    ),
    Scenario("retry and deadline", (task(*FAILS_ONCE, policy=LATE),), workers=1, timers=True),
    Scenario(
        "timeout and cancel",
        (task(Ending.NEVER, policy=LIMITED),),
        (cancel(0),),
        workers=1,
        timers=True,
    ),
    Scenario(
        "timeout and death",
        (task(Ending.NEVER, policy=LIMITED),),
        (kill(0),),
        workers=1,
        timers=True,
    ),
)


class Covered(msgspec.Struct, frozen=True):
    """What came of one scenario."""

    scenario: str
    result: Exploration | None
    """`None`: it failed."""
    failure: str = ""
    rows: tuple[str, ...] = ()
    """Rows of the scheduler's table of states that were gone through."""

    def __str__(self) -> str:
        return f"{self.scenario}: {self.result or self.failure}"


class SmallHost(SimHost):
    """A host on which the worker's thread handles at once what it has read."""

    def pass_on(self, own: Any, event: LocalMessage) -> None:
        """Tell a worker of its executor, within the turn."""
        own.arrive(Envelope(event, own))


class SmallWorld(World):
    """A world in which it does not count how long things take."""

    host_type = SmallHost

    def __init__(self, scenario: Scenario, rows: dict[str, None], sim: Simulation) -> None:
        """Bring the scenario to the moment at which all its tasks have been submitted."""
        self._scenario = scenario
        options = Options(workers=scenario.workers, clients=1, delays=CALM, start_s=0.0)
        super().__init__(Script(options=options, tasks=scenario.tasks, ops=()), 0, sim=sim)
        scheduler = self.main.actor(self.scheduler)
        ready = min(scenario.ready, scenario.workers)
        while len(scheduler.workers) < ready or not scheduler.clients:
            sim.step()
        scheduler.apply = partial(_note_row, rows, scheduler.apply)
        self._forget_tasks = scheduler.on_stop
        count = min(scenario.first, len(scenario.tasks))
        self._do(Submit(at_s=0.0, client=0, tasks=tuple(range(count))))
        for act in scenario.acts:
            sim.plan(0.0, type(act).__name__, partial(self._do, act))

    @property
    def slack_s(self) -> float:
        """Anything may take any time."""
        return math.inf

    def discard(self) -> None:
        """It is not needed any more: cut what the garbage collector does not see."""
        self._forget_tasks()
        for client in self.clients:
            client.submissions.waiting.clear()

    def check_end(self) -> None:
        """Nothing is left to happen: all has ended well, and nothing is left behind."""
        if self._scenario.endless:
            waiting = [future for future in self.clients[0].futures.values() if not future.done()]
            if len(waiting) > 1:
                self.truth.fail("recall", f"{waiting[1]!r} waits for what never ends")
            return
        for client in self.clients:
            check_at_end(client)
        rest.check_idle(self)


def _note_row(
    rows: dict[str, None],
    apply: Callable[[TaskRecord, TaskEvent], bool],
    record: TaskRecord,
    event: TaskEvent,
) -> bool:
    rows[f"{record.state.name} {event.name}"] = None
    return apply(record, event)


def explore_one(
    scenario: Scenario, max_states: int = STATES, max_seconds: float = SECONDS
) -> Covered:
    """Try all orders of one scenario."""
    rows: dict[str, None] = {}
    logging.disable(logging.CRITICAL)  # they say what failed: here that is meant to
    try:
        found = explore(
            partial(SmallWorld, scenario, rows),
            check_end=SmallWorld.check_end,
            fingerprint=state_of_world,
            describe=timeless,
            max_states=max_states,
            max_seconds=max_seconds,
            any_timers=SOON_S if scenario.timers else False,
            expect_failures=may_fail,
            discard=SmallWorld.discard,
        )
    except CounterexampleError as error:
        return Covered(scenario.name, None, str(error), tuple(rows))
    finally:
        logging.disable(logging.NOTSET)
    return Covered(scenario.name, found, "", tuple(rows))


def explore_many(
    scenarios: Sequence[Scenario], jobs: int, max_states: int, max_seconds: float
) -> Iterator[Covered]:
    """Explore scenarios on several processes, long ones last; yield what came of each.

    Args:
        scenarios: what to try.
        jobs: how many processes.
        max_states: bound for each scenario.
        max_seconds: bound for all together.
    """
    end_s = time.monotonic() + max_seconds
    ordered = sorted(scenarios, key=lambda scenario: scenario.long)
    tried = [(scenario, max_states, end_s) for scenario in ordered]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, spawn) as pool:  # a process that dies is an error there
        for found in as_completed([pool.submit(_explore_until, one) for one in tried]):
            yield found.result()


def _explore_until(tried: tuple[Scenario, int, float]) -> Covered:
    scenario, max_states, end_s = tried
    return explore_one(scenario, max_states, max(1.0, end_s - time.monotonic()))


def like(part: str) -> list[Scenario]:
    """Return the scenario of this name; if there is none, those with `part` in their names."""
    exactly = [scenario for scenario in SCENARIOS if part == scenario.name]
    return exactly or [scenario for scenario in SCENARIOS if part in scenario.name]


def missing_rows(covered: Sequence[Covered]) -> list[str]:
    """Return the rows of the scheduler's table that no scenario went through."""
    seen = dict.fromkeys(row for one in covered for row in one.rows)
    names = [f"{state.name} {event.name}" for state, event in TRANSITIONS]
    # A task is handed to its worker without a call.
    return [name for name in names if name not in seen and name != "QUEUED DISPATCHED"]
