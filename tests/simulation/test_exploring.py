"""Small systems, in all orders: the smallest here, all of them by `make explore`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.simulation.exploring import SCENARIOS, Scenario, explore_one, like, missing_rows
from tests.simulation.mutants import MUTANTS
from tests.simulation.planting import ROOT

SHORT = [scenario for scenario in SCENARIOS if scenario.short]
PLANTED = """
from tests.simulation.planted.mutant import Mutant
from tests.simulation.planting import plant
plant(MUTANT)
from tests.simulation.exploring import explore_one, like
print(explore_one(like(SCENARIO)[0]).failure)
"""


@pytest.mark.parametrize("scenario", SHORT, ids=[scenario.name for scenario in SHORT])
def test_a_small_system_ends_well_in_all_orders(scenario: Scenario) -> None:
    covered = explore_one(scenario)
    assert covered.failure == ""
    assert covered.result is not None
    assert covered.result.complete
    assert covered.result.ends >= 1
    assert covered.result.states > 100


BY_NAME = {mutant.name: mutant for mutant in MUTANTS}


@pytest.mark.parametrize(
    ("name", "scenario", "found"),
    [
        (
            "the worker confirms a cancel before the task has unwound",
            "cancel",
            "Canceled was confirmed, but it",
        ),
        (
            "a result that crosses a cancel does not answer it",
            "cancel",
            "replies owed",
        ),
    ],
)
def test_a_planted_bug_is_found_with_the_way_to_it(name: str, scenario: str, found: str) -> None:
    code = PLANTED.replace("MUTANT", repr(BY_NAME[name])).replace("SCENARIO", repr(scenario))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert found in done.stdout
    assert "call Cancel" in done.stdout


def test_a_bound_of_states_ends_the_search() -> None:
    covered = explore_one(like("cancel")[0], max_states=20)
    assert covered.result is not None
    assert covered.result.states == 20
    assert not covered.result.complete
    assert "QUEUED CANCEL_REQUESTED" in missing_rows([covered])


def test_scenarios_have_names_of_their_own() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    assert len(dict.fromkeys(names)) == len(names)
