"""Small systems, in all orders: the smallest here, all of them by `make explore`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest

from actors.testkit import Exploration
from tests.simulation import __main__ as command
from tests.simulation.exploring import (
    SCENARIOS,
    Covered,
    Scenario,
    explore_one,
    like,
    missing_rows,
)
from tests.simulation.fresh import printed_by
from tests.simulation.mutants import MUTANTS

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


def explored_with(name: str, scenario: str, hash_seed: str) -> str:
    """Explore in an interpreter that has this bug planted; return what failed."""
    code = PLANTED.replace("MUTANT", repr(BY_NAME[name])).replace("SCENARIO", repr(scenario))
    return printed_by(code, hash_seed)


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
    told = explored_with(name, scenario, hash_seed="1")
    assert found in told
    assert "call Cancel" in told
    assert told == explored_with(name, scenario, hash_seed="2"), "it is found again"


def test_a_bound_of_states_ends_the_search() -> None:
    covered = explore_one(like("cancel")[0], max_states=20)
    assert covered.result is not None
    assert covered.result.states == 20
    assert not covered.result.complete
    assert "QUEUED CANCEL_REQUESTED" in missing_rows([covered])


def test_scenarios_have_names_of_their_own() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    assert len(dict.fromkeys(names)) == len(names)


def test_a_whole_name_is_that_scenario_and_a_part_of_one_is_all_that_have_it() -> None:
    assert [scenario.name for scenario in like("cancel")] == ["cancel"]
    assert len(like("cancel w")) > 1
    assert like("no such") == []
    assert like("") == list(SCENARIOS)


def run_command(
    monkeypatch: pytest.MonkeyPatch, covered: list[Covered], *, dies: bool = False
) -> int:
    """Explore three scenarios, of which this comes."""

    def found(*arguments: Any) -> Iterator[Covered]:
        yield from covered
        if dies:
            raise BrokenProcessPool

    names = ["recall", "retry", "close"]
    monkeypatch.setattr(command, "like", lambda part: [like(name)[0] for name in names])
    monkeypatch.setattr(command, "explore_many", found)
    monkeypatch.setattr(sys, "argv", ["explore", "explore", "--states", "70", "--seconds", "8"])
    return command.main()


def test_the_command_names_what_met_a_bound_and_what_failed_with_the_way_to_do_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, part = Exploration(states=3, complete=True), Exploration(states=4)
    covered = [Covered("recall", part), Covered("retry", None, "wrong"), Covered("close", whole)]
    assert run_command(monkeypatch, covered) == 1
    told = capsys.readouterr().out
    assert "3 scenarios, 1 of them complete, 1 failed: 7 states" in told
    assert 'python -m tests.simulation explore --only "retry" --states 70 --seconds 8\n' in told
    assert told.endswith("stopped at a bound: recall\nfailed: retry\n")


def test_a_bound_is_no_failure_of_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    covered = [Covered(name, Exploration()) for name in ("recall", "retry", "close")]
    assert run_command(monkeypatch, covered) == 0
    assert "stopped at a bound: recall; retry; close\nfailed: -\n" in capsys.readouterr().out


def test_a_process_that_dies_is_a_failure_of_the_command_that_names_what_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    covered = [Covered("recall", Exploration(complete=True))]
    assert run_command(monkeypatch, covered, dies=True) == 1
    assert "a process died; not finished: retry; close\n" in capsys.readouterr().out
