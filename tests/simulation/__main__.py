"""`python -m tests.simulation run | replay | shrink | mutants | explore`."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from itertools import count, islice
from typing import Any

import msgspec

from tests.simulation.drawing import draw_script
from tests.simulation.exploring import (
    SECONDS,
    STATES,
    Covered,
    explore_many,
    like,
    missing_rows,
)
from tests.simulation.hunting import SEARCHED, hunt, line, names_like, record
from tests.simulation.large import has_objects, has_spilling
from tests.simulation.marks import missing, table
from tests.simulation.runner import CHUNK, Failure, Outcome, Totals, judge, run_many
from tests.simulation.shrinking import pieces, smallest
from tests.simulation.world import World

_PROGRESS_S = 10.0
_FAILURES_MAX = 20
_TRIES_AFTER_RUN = 200
_CHUNKS_AHEAD = 2
"""So many chunks per process may be done before the oldest that is not: they take about as long."""


def main() -> int:
    """Do what the command line says; return the exit code."""
    arguments = _parser().parse_args()
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    command: str = arguments.command
    if command == "run":
        return _run(arguments)
    if command == "replay":
        return _replay(arguments.seed, keep_trace=arguments.trace)
    if command == "mutants":
        return _mutants(arguments)
    if command == "explore":
        return _explore(arguments)
    return _shrink(arguments.seed, arguments.tries)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run many seeds")
    run.add_argument("--seeds", type=int, default=1_000)
    run.add_argument("--start", type=int, default=None, help="first seed; drawn if not given")
    having = run.add_mutually_exclusive_group()
    having.add_argument("--objects", **_only(has_objects), help="those with large values only")
    having.add_argument("--spilling", **_only(has_spilling), help="those that spill only")
    run.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    replay = commands.add_parser("replay", help="run one seed, and tell what happened")
    replay.add_argument("seed", type=int)
    replay.add_argument("--trace", action="store_true", help="print every event")
    shrinks = commands.add_parser("shrink", help="find a small script that still fails")
    shrinks.add_argument("seed", type=int)
    shrinks.add_argument("--tries", type=int, default=2_000)
    hunts = commands.add_parser("mutants", help="search for the planted bugs")
    hunts.add_argument("--seeds", type=int, default=SEARCHED)
    hunts.add_argument("--only", default="", help="those with this in their names")
    hunts.add_argument("--record", action="store_true", help="write killers.txt")
    hunts.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    explores = commands.add_parser("explore", help="try all orders in small systems")
    explores.add_argument("--only", default="", help="that scenario, or those with this in it")
    explores.add_argument("--states", type=int, default=STATES, help="at most, for each")
    explores.add_argument("--seconds", type=float, default=SECONDS, help="at most, for all")
    explores.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    return parser


def _only(having: Callable[[int], bool]) -> dict[str, Any]:
    return {"action": "store_const", "dest": "having", "const": having}


def _run(arguments: argparse.Namespace) -> int:
    start: int | None = arguments.start
    if start is None:
        start = int.from_bytes(os.urandom(4), "big")
    jobs: int = arguments.jobs
    seeds = [*islice(filter(arguments.having, count(start)), arguments.seeds)]
    print(f"{len(seeds)} seeds from {seeds[0]} to {seeds[-1]}, {jobs} processes")
    totals = Totals()
    died = False
    try:
        _run_all(totals, seeds, jobs)
    except BrokenProcessPool:
        died = True
        _say_who_died(seeds[totals.seeds :], jobs)
        if not totals.seeds:
            return 1
    print(table(totals.marks, totals.seeds))
    print(totals.line())
    never = missing(totals.marks, totals.seeds)
    if never:
        print(f"too rare, in {totals.seeds} seeds: {', '.join(never)}")
    if totals.failures:
        first = min(totals.failures, key=lambda failure: failure.events)
        print(f"\nthe shortest of these, made smaller ({_TRIES_AFTER_RUN} tries):")
        _show_small(first, _TRIES_AFTER_RUN)
    return 1 if totals.failures or never or died else 0


def _run_all(totals: Totals, seeds: Sequence[int], jobs: int) -> None:
    said_s = time.monotonic()
    for outcome in run_many(seeds, jobs):
        totals.add(outcome)
        if outcome.failure is not None:
            print(outcome.failure, flush=True)
            if len(totals.failures) >= _FAILURES_MAX:
                print(f"stopped after {_FAILURES_MAX} failures")
                break
        if time.monotonic() - said_s > _PROGRESS_S:
            said_s = time.monotonic()
            print(totals.line(), flush=True)


def _say_who_died(unfinished: Sequence[int], jobs: int) -> None:
    """Say which seeds may have ended a process: those of the chunks that were under way."""
    first, last = unfinished[0], unfinished[: _CHUNKS_AHEAD * jobs * CHUNK][-1]
    print(f"a process died: it had one of the seeds {first} to {last}. One by one, until it dies:")
    print(f"  seq {first} {last} | xargs -n 1 python -m tests.simulation replay", flush=True)


def _replay(seed: int, *, keep_trace: bool) -> int:
    script = draw_script(seed)
    print(msgspec.json.encode(script.options).decode())
    world = World(script, seed, keep_trace=keep_trace)
    outcome = judge(world, seed)
    if keep_trace:
        print("\n".join(world.sim.trace()))
    return _report(outcome, outcome.failure)


def _report(outcome: Outcome, failure: Failure | None) -> int:
    print(f"{outcome.tasks} tasks, {outcome.events} events, digest {outcome.digest}")
    print(failure or f"seed {outcome.seed} is clean")
    return 0 if failure is None else 1


def _shrink(seed: int, tries: int) -> int:
    script = draw_script(seed)
    outcome = judge(World(script, seed), seed)
    if outcome.failure is None:
        return _report(outcome, None)
    trace = _show_small(outcome.failure, tries)
    print("\n".join(trace))
    return 1


def _show_small(failure: Failure, tries: int) -> list[str]:
    """Print the smallest script found that fails as a seed does; return its trace."""
    seed = failure.seed
    small = smallest(failure, tries)
    world = World(small, seed, keep_trace=True)
    outcome = judge(world, seed)
    print("\n".join(pieces(small)))
    _report(outcome, outcome.failure)
    return world.sim.trace()


def _mutants(arguments: argparse.Namespace) -> int:
    verdicts = []
    for verdict in hunt(names_like(arguments.only), arguments.seeds, arguments.jobs):
        verdicts.append(verdict)
        print(line(verdict), flush=True)
    if arguments.record:
        record(verdicts)
    survived = [verdict.mutant for verdict in verdicts if verdict.seed is None]
    print(f"{len(verdicts)} planted bugs, {len(survived)} survived")
    return 1 if survived else 0


def _explore(arguments: argparse.Namespace) -> int:
    scenarios = like(arguments.only)
    bounds = f"--states {arguments.states} --seconds {arguments.seconds:g}"
    covered: list[Covered] = []
    try:
        for one in explore_many(scenarios, arguments.jobs, arguments.states, arguments.seconds):
            covered.append(one)
            print(one, flush=True)
            if one.result is None:
                command = f'python -m tests.simulation explore --only "{one.scenario}" {bounds}'
                print(f"again: {command}", flush=True)
    except BrokenProcessPool:
        names = [one.scenario for one in covered]
        left = [scenario.name for scenario in scenarios if scenario.name not in names]
        print(f"a process died; not finished: {'; '.join(left)}")
    _sum_up(covered)
    clean = [one for one in covered if one.result is not None]
    return 0 if len(clean) == len(scenarios) else 1


def _sum_up(covered: Sequence[Covered]) -> None:
    results = [one.result for one in covered if one.result is not None]
    states = sum(result.states for result in results)
    transitions = sum(result.transitions for result in results)
    complete = sum(result.complete for result in results)
    failed = [one.scenario for one in covered if one.result is None]
    bounded = [one.scenario for one in covered if one.result and not one.result.complete]
    print(
        f"{len(covered)} scenarios, {complete} of them complete, "
        f"{len(failed)} failed: {states:,} states, {transitions:,} transitions"
    )
    print(
        f"rows of the table of states not gone through: {', '.join(missing_rows(covered)) or '-'}"
    )
    print(f"stopped at a bound: {'; '.join(bounded) or '-'}")
    print(f"failed: {'; '.join(failed) or '-'}")


if __name__ == "__main__":
    sys.exit(main())
