"""The whole system in virtual time: fresh seeds, and those that once failed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from itertools import count
from pathlib import Path

import pytest

from scaler.protocol.tasks import DEFAULT_POLICY
from tests.simulation import __main__ as command
from tests.simulation import shrinking
from tests.simulation.drawing import draw_script
from tests.simulation.fresh import printed_by
from tests.simulation.large import has_spilling
from tests.simulation.marks import SOMETIMES
from tests.simulation.plans import Cancel, Options, Script, Submit, TaskPlan
from tests.simulation.runner import Failure, Outcome, run_many, run_script, run_seed
from tests.simulation.shrinking import pieces, shrink, smallest

SEEDS = Path(__file__).parent / "seeds.txt"
ROOT = Path(__file__).parents[2]
FRESH = 100
SHRINK_TRIES = 100
DIGEST = "from tests.simulation.runner import run_seed; print(*[run_seed(n).digest for n in {}])"


def recorded() -> list[tuple[int, str]]:
    """Return the seeds that once failed, with their causes."""
    lines = [line for line in SEEDS.read_text().splitlines() if line and line[0] != "#"]
    return [(int(seed), cause) for seed, _, cause in (line.partition(" ") for line in lines)]


@pytest.fixture(scope="module")
def first_seed() -> int:
    """Another one each time."""
    return int.from_bytes(os.urandom(4), "big")


@pytest.mark.parametrize("part", range(10))
def test_fresh_seeds_are_clean(first_seed: int, part: int) -> None:
    start, count = first_seed + part * FRESH // 10, FRESH // 10
    print(f"python -m tests.simulation run --start {start} --seeds {count}")
    outcomes = run_many(range(start, start + count), 1)
    failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
    assert not failures, said_of(failures)


def said_of(failures: list[Failure]) -> str:
    """Return what failed, and the shortest of it as a smaller script that fails in the same way."""
    shortest = min(failures, key=lambda failure: failure.events)
    title = f"seed {shortest.seed}, made smaller ({SHRINK_TRIES} tries):"
    return "\n".join([*map(str, failures), title, *pieces(smallest(shortest, SHRINK_TRIES))])


@pytest.mark.parametrize(("seed", "cause"), recorded())
def test_a_seed_that_once_failed_is_clean(seed: int, cause: str) -> None:
    assert cause, "seeds.txt says of each seed what was wrong"
    assert run_seed(seed).failure is None


def test_a_seed_is_the_same_run_whatever_the_hashes_of_strings_are() -> None:
    seeds = (3, 7, next(filter(has_spilling, count())))
    found = [printed_by(DIGEST.format(seeds), hash_seed).split() for hash_seed in ("1", "2")]
    assert found[0] == found[1] == [run_seed(seed).digest for seed in seeds]


@pytest.mark.parametrize(("option", "kind"), [("--objects", "objects"), ("--spilling", "spilling")])
def test_a_run_may_have_seeds_of_one_kind_only(monkeypatch, option: str, kind: str) -> None:
    ran: list[int] = []

    def note(seeds: Sequence[int], jobs: int) -> Iterator[Outcome]:
        ran.extend(seeds)
        return run_many(seeds[:1], 1)

    monkeypatch.setattr(command, "run_many", note)
    monkeypatch.setattr(sys, "argv", ["run", "run", "--seeds", "20", "--start", "0", option])
    assert command.main() == 0
    kinds = [draw_script(seed).options.kinds for seed in range(ran[-1] + 1)]
    assert ran == [seed for seed, some in enumerate(kinds) if kind in some]
    assert len(ran) == 20


def test_a_seed_draws_the_same_script_again() -> None:
    assert draw_script(5) == draw_script(5) != draw_script(6)


def test_a_script_that_fails_is_made_small() -> None:
    script = next(script for script in map(draw_script, range(50)) if forced(script))
    wanted = forced(script)[0]
    small = shrink(script, lambda smaller: wanted in [op.at_s for op in cancels_of(smaller)])
    assert [op.at_s for op in small.ops] == [wanted]
    assert small.faults == ()


def test_a_seed_that_fails_is_told_with_its_smaller_script(monkeypatch: pytest.MonkeyPatch) -> None:
    seed = next(seed for seed in range(50) if forced(draw_script(seed)))
    monkeypatch.setattr(shrinking, "breaks", lambda seed, invariant: forced)
    failure = Failure(seed, "cancel", "wrong", time_s=1.0, events=1, digest="", options="")
    told = said_of([failure])
    assert f"replay: python -m tests.simulation replay {seed}: wrong\nseed {seed}, made" in told
    assert told.count('"type":"Cancel"') == 1


@pytest.mark.parametrize(("jobs", "last"), [(1, 199), (2, 249), (9, 249)])
def test_a_process_that_dies_is_told_with_the_seeds_that_it_may_have_had(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], jobs: int, last: int
) -> None:
    def one_then_death(seeds: range, jobs: int) -> Iterator[Outcome]:
        yield Outcome(seeds[0], 1, 1, "", {}, None)
        raise BrokenProcessPool

    monkeypatch.setattr(command, "run_many", one_then_death)
    arguments = ["run", "run", "--start", "99", "--seeds", "151", "--jobs", str(jobs)]
    monkeypatch.setattr(sys, "argv", arguments)
    assert command.main() == 1
    told = capsys.readouterr().out
    assert f"seq 100 {last} | xargs -n 1 python -m tests.simulation replay\n" in told


def test_a_task_that_kills_who_receives_it_ends_and_the_others_do_too() -> None:
    killer = TaskPlan(client=0, run_s=0.001, kills_receiver=True)
    tasks = (*[TaskPlan(client=0, run_s=0.001)] * 6, killer, *[TaskPlan(client=0, run_s=0.001)] * 6)
    everything = Submit(at_s=0.0, client=0, tasks=tuple(range(len(tasks))))
    outcome = run_script(Script(options=Options(), tasks=tasks, ops=(everything,)), 0)
    assert outcome.failure is None
    assert outcome.marks["a value"] == len(tasks) - 1 == 12
    assert outcome.marks["a future raised WorkerDiedError"] == 1
    assert outcome.marks["a task killed who received it"] == DEFAULT_POLICY.max_attempts


def cancels_of(script: Script) -> list[Cancel]:
    return [op for op in script.ops if isinstance(op, Cancel)]


def forced(script: Script) -> list[float]:
    return [op.at_s for op in cancels_of(script) if op.force]


def test_what_must_happen_sometimes_is_named_once() -> None:
    assert len(dict.fromkeys(SOMETIMES)) == len(SOMETIMES)
