"""The judge of the chaos finds each kind of broken promise, and accuses nobody who kept it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from scaler import TaskTimeoutError, WorkerDiedError
from tests.chaos.facts import Expect, Facts, Target, Ticket
from tests.chaos.judge import Judge
from tests.chaos.stamps import Stamps
from tests.chaos.tasks import OwnError, answer

INDEX = 3
PID = os.getpid()


class Case:
    """One task, and what is known about it."""

    def __init__(self, directory: Path) -> None:
        self.facts = Facts(10)
        self.stamps = Stamps(str(directory), 10)
        self.ticket = Ticket(INDEX, "nap", Expect.VALUE, value=answer(INDEX))
        self.facts.add(self.ticket)

    def begin(self) -> None:
        """The task begins in this process."""
        self.stamps.begin(INDEX)

    def kill(self, target: Target = Target.EXECUTOR, pid: int = PID) -> None:
        """The nemesis kills this process, or a launcher."""
        self.facts.begin_blow(target, pid).after_ns = time.monotonic_ns()

    def resolve(self, result: object = None, error: BaseException | None = None) -> None:
        """The future resolves, and is read."""
        ticket = self.ticket
        ticket.resolutions += 1
        ticket.resolved_ns = time.monotonic_ns()
        ticket.answered = True
        ticket.result, ticket.error = result, error

    def cancel(self, outcome: str = "CANCELED") -> None:
        """A cancel returns with success."""
        self.ticket.cancelled_ns = time.monotonic_ns()
        self.ticket.outcome = outcome
        self.resolve(error=CancelledError())

    def complaint(self) -> str:
        """Return what the judge says; there must be one complaint at most."""
        complaints = list(Judge(self.facts, self.stamps).complaints())
        assert len(complaints) <= 1, complaints
        return "".join(complaints)


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    made = Case(tmp_path)
    yield made
    made.stamps.close()


def died(*pids: int) -> WorkerDiedError:
    causes = [f"attempt {n}: the executor (worker w, pid {pid}) died" for n, pid in enumerate(pids)]
    return WorkerDiedError("\n".join(causes))


def test_a_task_that_ran_once_and_returned_its_value_is_fine(case):
    case.begin()
    case.resolve(answer(INDEX))
    assert case.complaint() == ""


def test_a_wrong_value_is_found(case):
    case.begin()
    case.resolve(answer(INDEX + 1))
    assert "instead of" in case.complaint()


def test_a_future_without_an_answer_is_found(case):
    case.begin()
    assert "has no answer" in case.complaint()


def test_a_future_that_resolves_twice_is_found(case):
    case.resolve(answer(INDEX))
    case.resolve(answer(INDEX))
    assert "2 times" in case.complaint()


def test_a_task_that_runs_again_for_no_reason_is_found(case):
    case.begin()
    case.begin()
    case.resolve(answer(INDEX))
    assert "nothing had happened" in case.complaint()


def test_a_kill_before_the_task_began_is_no_reason_to_run_it_again(case):
    case.kill()
    case.begin()
    case.begin()
    case.resolve(answer(INDEX))
    assert "nothing had happened" in case.complaint()


def test_a_kill_of_another_process_is_no_reason_either(case):
    case.begin()
    case.kill(pid=PID + 1)
    case.begin()
    case.resolve(answer(INDEX))
    assert "nothing had happened" in case.complaint()


@pytest.mark.parametrize("target", Target)
def test_a_task_whose_executor_or_launcher_was_killed_runs_again(case, target):
    case.begin()
    case.kill(target)
    case.begin()
    case.resolve(answer(INDEX))
    assert case.complaint() == ""


def test_a_task_that_was_lost_three_times_must_not_run_a_fourth_time(case):
    for _ in range(3):
        case.begin()
        case.kill()
    case.begin()
    case.resolve(answer(INDEX))
    assert "3 are allowed" in case.complaint()


def test_losses_with_the_launcher_do_not_count(case):
    for _ in range(5):
        case.begin()
        case.kill(Target.LAUNCHER)
    case.begin()
    case.resolve(answer(INDEX))
    assert case.complaint() == ""


def test_a_death_with_three_true_causes_is_fine(case):
    for _ in range(3):
        case.begin()
        case.kill()
    case.resolve(error=died(PID, PID, PID))
    assert case.complaint() == ""


def test_a_death_with_too_few_causes_is_found(case):
    for _ in range(2):
        case.begin()
        case.kill()
    case.resolve(error=died(PID, PID))
    assert "after 2 deaths, not 3" in case.complaint()


def test_an_innocent_that_is_blamed_is_found(case):
    for _ in range(3):
        case.begin()
        case.kill()
    case.resolve(error=died(PID, PID, PID, PID + 1))
    assert "nobody killed" in case.complaint()


def test_a_task_that_acts_after_its_cancel_was_confirmed_is_found(case):
    case.begin()
    case.cancel()
    case.stamps.stamp(INDEX)
    assert "after its cancel" in case.complaint()


def test_a_task_that_begins_after_its_cancel_was_confirmed_is_found(case):
    case.cancel()
    case.begin()
    assert "after its cancel" in case.complaint()


def test_a_cancel_that_nobody_answered_is_found(case):
    case.cancel("TIMEOUT")
    assert "TIMEOUT" in case.complaint()


def test_a_cancelled_future_with_a_value_is_found(case):
    case.begin()
    case.cancel()
    case.ticket.result, case.ticket.error = answer(INDEX), None
    assert "was cancelled, and answers" in case.complaint()


def test_a_timeout_that_came_too_early_is_found(case):
    case.ticket.expects, case.ticket.limit_s = Expect.TIMEOUT, 60.0
    case.begin()
    case.resolve(error=TaskTimeoutError("too long"))
    assert "its limit is 60.0 s" in case.complaint()


def test_a_task_that_acts_after_its_timeout_is_found(case):
    case.ticket.expects, case.ticket.limit_s = Expect.TIMEOUT, 0.0
    case.begin()
    case.resolve(error=TaskTimeoutError("too long"))
    case.stamps.stamp(INDEX)
    assert "after it had timed out" in case.complaint()


def test_an_exception_that_is_not_the_tasks_own_is_found(case):
    case.ticket.expects = Expect.OWN_ERROR
    case.begin()
    case.resolve(error=OwnError(INDEX + 1))
    assert "OwnError" in case.complaint()


def test_lines_that_did_not_arrive_are_found(case):
    case.ticket.lines = 2
    case.facts.wrote(INDEX)
    case.begin()
    case.resolve(answer(INDEX))
    assert "1 arrived" in case.complaint()


def test_a_flaky_task_runs_as_often_as_it_may_be_retried(case):
    case.ticket.own_failures = 2
    for _ in range(3):
        case.begin()
    case.resolve(answer(INDEX))
    assert case.complaint() == ""
    case.begin()
    assert "nothing had happened" in case.complaint()
