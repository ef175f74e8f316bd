"""The search for the planted bugs: each must be found, and the seed that finds it is recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import msgspec

from tests.simulation.mutants import MUTANTS
from tests.simulation.planting import Verdict, search
from tests.simulation.runner import run_seed

KILLERS = Path(__file__).parent / "killers.txt"
SEARCHED = 2_000
"""Seeds that are tried, before a mutant counts as survivor."""

_ONE_AT_A_TIME = Lock()

_HEAD = """\
# The seed that finds each planted bug, and the invariant that it breaks.
# python -m tests.simulation mutants --record
"""


class Killer(msgspec.Struct, frozen=True):
    """What finds a planted bug."""

    seed: int
    invariant: str
    mutant: str


def hunt(names: Iterable[str], seeds: int, jobs: int) -> Iterator[Verdict]:
    """Search for mutants, and yield what came of each, in their order."""
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(lambda name: _hunt_one(name, seeds), names)


def _hunt_one(name: str, seeds: int) -> Verdict:
    """Search for one mutant. A seed that fails without it proves nothing."""
    start, seconds = 0, 0.0
    while True:
        found = search(name, start, seeds - start)
        seconds += found.seconds
        if found.seed is None or _is_clean(found.seed):
            return msgspec.structs.replace(found, tried=start + found.tried, seconds=seconds)
        start = found.seed + 1


def _is_clean(seed: int) -> bool:
    with _ONE_AT_A_TIME:
        return run_seed(seed).failure is None


def line(verdict: Verdict) -> str:
    """Return one line of the table."""
    seed = "survived" if verdict.seed is None else f"seed {verdict.seed}"
    return (
        f"{seed:>10} {verdict.tried:6} tried {verdict.seconds:6.1f} s "
        f"{verdict.invariant:24} {verdict.mutant}"
    )


def names_like(part: str) -> list[str]:
    """Return the names of the mutants that contain `part`."""
    return [mutant.name for mutant in MUTANTS if part in mutant.name]


def record(verdicts: Iterable[Verdict]) -> None:
    """Write the killers down, beside those of mutants that were not searched for."""
    known = {killer.mutant: killer for killer in killers()}
    for found in verdicts:
        known.pop(found.mutant, None)
        if found.seed is not None:
            known[found.mutant] = Killer(found.seed, found.invariant, found.mutant)
    rows = [known[mutant.name] for mutant in MUTANTS if mutant.name in known]
    lines = [f"{killer.seed}\t{killer.invariant}\t{killer.mutant}\n" for killer in rows]
    KILLERS.write_text(_HEAD + "".join(lines))


def killers() -> list[Killer]:
    """Return what is recorded."""
    if not KILLERS.exists():
        return []
    rows = [row for row in KILLERS.read_text().splitlines() if row and row[0] != "#"]
    return [Killer(int(seed), *rest) for seed, *rest in (row.split("\t") for row in rows)]
