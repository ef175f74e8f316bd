"""Runs seeds, one after the other or on several processes, and says what they found."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from statistics import median
from types import SimpleNamespace
from unittest.mock import patch

import msgspec

from actors.testkit.simulation import InvariantError, SimulationError
from scaler.executor import objects as executor_objects
from tests.simulation import leases
from tests.simulation.drawing import draw_script
from tests.simulation.plans import Script
from tests.simulation.world import World

CHUNK = 50
"""Seeds that a process takes at once."""

CHUNKS = 20
"""So often, before new processes take over: worlds that ended badly cannot all be freed."""


class Failure(msgspec.Struct, frozen=True):
    """What was wrong with one seed."""

    seed: int
    invariant: str
    detail: str
    time_s: float
    events: int
    digest: str
    options: str

    def __str__(self) -> str:
        return (
            f"FAILED seed={self.seed} invariant={self.invariant!r} at {self.time_s:.6f} s "
            f"digest={self.digest} options={self.options} "
            f"replay: python -m tests.simulation replay {self.seed}: {self.detail}"
        )


class Outcome(msgspec.Struct, frozen=True):
    """What one seed came to."""

    seed: int
    tasks: int
    events: int
    digest: str
    marks: dict[str, int]
    failure: Failure | None


def run_seed(seed: int) -> Outcome:
    """Run what a seed draws."""
    return run_script(draw_script(seed), seed)


def run_script(script: Script, seed: int, *, keep_trace: bool = False) -> Outcome:
    """Run a script; what is not drawn in it (delays) is drawn from `seed`."""
    return judge(World(script, seed, keep_trace=keep_trace), seed)


def judge(world: World, seed: int) -> Outcome:
    """Run a world to its end."""
    failure = None
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # they say what failed: here that is often meant to
    try:
        with no_collections():
            world.run()
    except SimulationError as error:
        failure = failure_of(world, seed, error)
    finally:
        logging.disable(before)
        leases.let_go(world)
    script, sim = world.script, world.sim
    digest = failure.digest if failure is not None else sim.digest()
    return Outcome(seed, len(script.tasks), sim.events, digest, dict(world.truth.marks), failure)


@contextmanager
def no_collections() -> Iterator[None]:
    """Keep the garbage collector from freeing objects when it likes, so that a seed is one run.

    `rest` has it look for what only cycles hold. The one that executors call for is left out, too:
    it would take most of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        with patch.object(executor_objects, "gc", SimpleNamespace(collect=lambda *_: 0)):
            yield
    finally:
        if was_enabled:
            gc.enable()


def failure_of(world: World, seed: int, error: SimulationError) -> Failure:
    """Return what failed, by the oracle's word if an actor only passed it on."""
    cause = world.truth.failed or error
    return Failure(
        seed=seed,
        invariant=cause.invariant if isinstance(cause, InvariantError) else type(cause).__name__,
        detail=cause.detail if isinstance(cause, InvariantError) else str(cause),
        time_s=world.sim.now(),
        events=world.sim.events,
        digest=world.sim.digest(),
        options=msgspec.json.encode(world.script.options).decode(),
    )


class Totals:
    """What many seeds came to."""

    def __init__(self) -> None:
        self.seeds = 0
        self.events: list[int] = []
        self.tasks: list[int] = []
        self.marks: Counter[str] = Counter()
        """In how many seeds each thing happened."""
        self.failures: list[Failure] = []
        self._began_s = time.monotonic()

    def add(self, outcome: Outcome) -> None:
        """Count one seed in."""
        self.seeds += 1
        self.events.append(outcome.events)
        self.tasks.append(outcome.tasks)
        self.marks.update(outcome.marks.keys())
        if outcome.failure is not None:
            self.failures.append(outcome.failure)

    @property
    def seeds_per_hour(self) -> float:
        """So far, on all processes together."""
        return 3600 * self.seeds / max(time.monotonic() - self._began_s, 1e-9)

    def line(self) -> str:
        """Return where we are."""
        return (
            f"{self.seeds:,} seeds, {len(self.failures)} failed; median {median(self.tasks):.0f} "
            f"tasks, {median(self.events):,.0f} events; {sum(self.events):,} events; "
            f"{self.seeds_per_hour:,.0f} seeds/h"
        )


def run_many(seeds: Iterable[int], jobs: int) -> Iterator[Outcome]:
    """Run seeds, and yield what each came to, in their order."""
    if jobs <= 1:
        for chunk in _chunks(seeds):
            yield from _run_chunk(chunk)
        return
    spawn, chunks = multiprocessing.get_context("spawn"), _chunks(seeds)
    while some := [*islice(chunks, CHUNKS * jobs)]:
        with ProcessPoolExecutor(jobs, spawn) as pool:  # a process that dies is an error there
            try:
                for outcomes in pool.map(_run_chunk, some):
                    yield from outcomes
            finally:
                pool.shutdown(cancel_futures=True)


def _chunks(seeds: Iterable[int]) -> Iterator[list[int]]:
    chunk: list[int] = []
    for seed in seeds:
        chunk.append(seed)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _run_chunk(seeds: list[int]) -> list[Outcome]:
    """Run some seeds; what they leave behind is collected once for all of them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return [run_seed(seed) for seed in seeds]
    finally:
        if was_enabled:
            gc.enable()
        gc.collect()
