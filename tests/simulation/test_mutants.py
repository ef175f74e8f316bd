"""Each planted bug is found, by the seed that is recorded for it; `make mutants` searches anew."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.simulation.hunting import Killer, hunt, killers, line, names_like, record
from tests.simulation.mutants import MUTANTS
from tests.simulation.planted.mutant import Mutant
from tests.simulation.planting import Verdict, edited, plant, search
from tests.simulation.runner import run_seed

pytestmark = pytest.mark.timeout(300)  # an interpreter for each bug, all in one fixture

NAMES = [mutant.name for mutant in MUTANTS]
KILLERS = killers()
SEEDS = sorted(dict.fromkeys(killer.seed for killer in KILLERS))


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Verdict]:
    """What the recorded seeds find; each in an interpreter of its own, some at a time."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda killer: search(killer.mutant, killer.seed, 1), KILLERS)
        return {verdict.mutant: verdict for verdict in found}


@pytest.mark.parametrize("killer", KILLERS, ids=[killer.mutant for killer in KILLERS])
def test_a_planted_bug_is_found(killer: Killer, verdicts: dict[str, Verdict]) -> None:
    verdict = verdicts[killer.mutant]
    assert verdict.seed == killer.seed, "search again: python -m tests.simulation mutants --record"
    assert verdict.invariant == killer.invariant


@pytest.mark.parametrize("seed", SEEDS)
def test_without_the_bug_its_seed_is_clean(seed: int) -> None:
    assert run_seed(seed).failure is None


def test_every_planted_bug_has_a_seed_that_finds_it() -> None:
    assert [killer.mutant for killer in KILLERS] == NAMES
    assert len(NAMES) >= 30


@pytest.mark.parametrize("mutant", MUTANTS, ids=NAMES)
def test_the_place_of_a_bug_is_there_once(mutant: Mutant) -> None:
    source = edited(mutant)
    assert mutant.wrong in source
    compile(source, mutant.file, "exec")


def test_bugs_have_names_of_their_own() -> None:
    assert len(dict.fromkeys(NAMES)) == len(NAMES)


def test_a_place_that_is_gone_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 times in"):
        edited(Mutant("bug", "scaler/limits.py", "what nobody writes", ""))


def test_a_bug_is_planted_before_its_module_is_imported() -> None:
    with pytest.raises(RuntimeError, match="fresh interpreter"):
        plant(MUTANTS[0])


def test_what_is_found_is_recorded_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.simulation.hunting.KILLERS", tmp_path / "killers.txt")
    record([Verdict(NAMES[1], 5, 6, "rest"), Verdict(NAMES[0], 3, 4, "lost")])
    assert killers() == [Killer(3, "lost", NAMES[0]), Killer(5, "rest", NAMES[1])]
    record([Verdict(NAMES[0], None, 100)])
    assert killers() == [Killer(5, "rest", NAMES[1])], "a survivor has no killer"


def test_a_hunt_says_what_survived() -> None:
    (verdict,) = hunt(names_like(NAMES[0]), 0, 1)
    assert verdict.seed is None
    assert "survived" in line(verdict)
