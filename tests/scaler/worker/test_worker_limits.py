"""How a worker stops tasks at their timeout and at their deadline."""

from __future__ import annotations

import pytest

from scaler.limits import CANCEL_SIGN_S, RECALL_AFTER_S
from scaler.protocol.tasks import RowStatus, TaskResult, TaskRow
from tests.scaler.worker.slot import CANCELED, GRACE_S, NOT_FOUND, Slot, confirm

UNWOUND = "it unwound after the interrupt"
NO_SIGN = "it was killed with its executor: it gave no sign of life"
TOO_LONG = "it was killed with its executor: it did not unwind within 1 s"
SLACK_S = 0.002


@pytest.fixture
def slot() -> Slot:
    return Slot()


def begin_with_timeout(slot: Slot, *others: int, timeout_s: float = 0.5) -> None:
    """Begin task 1 and let it run into its timeout."""
    slot.run(1, timeout_s=timeout_s)
    slot.executor.begin()
    if others:
        slot.run(*others)
    slot.kit.advance(timeout_s + SLACK_S)
    assert slot.executor.interrupts == [1]


def assert_rest(slot: Slot) -> None:
    """Nothing is left, and nothing happens any more."""
    told = len(slot.told)
    kills = [executor.kills for executor in slot.executors]
    slot.kit.advance(10.0)
    assert len(slot.told) == told
    assert [executor.kills for executor in slot.executors] == kills
    assert slot.is_at_rest()


def begun_row(slot: Slot) -> TaskRow:
    (row,) = (row for row in slot.rows() if row.status is RowStatus.TIMED_OUT)
    assert (row.worker, row.pid) == ("worker-1", 1001)
    return row


# --- timeout -------------------------------------------------------------------------------------


def test_a_task_is_interrupted_when_its_timeout_has_passed(slot):
    slot.run(1, timeout_s=0.5)
    slot.executor.begin()
    slot.kit.advance(0.499)
    assert slot.executor.interrupts == []
    slot.kit.advance(0.003)
    assert slot.executor.interrupts == [1]
    assert slot.timed_out() == []


def test_a_task_that_unwound_at_its_timeout_has_timed_out(slot):
    slot.kit.advance(3.0)
    begin_with_timeout(slot)
    slot.kit.advance(0.04)
    slot.executor.unwind()
    assert slot.timed_out() == [(1, "timeout", UNWOUND)]
    row = begun_row(slot)
    assert (row.started_s, row.ended_s) == pytest.approx((3.0, 3.54 + SLACK_S))
    assert slot.executor.kills == 0
    assert_rest(slot)


def test_a_task_that_gives_no_sign_of_life_at_its_timeout_is_killed(slot):
    begin_with_timeout(slot, 2)
    slot.kit.advance(CANCEL_SIGN_S)
    assert slot.executor.kills == 1
    assert slot.timed_out() == []
    slot.executors[0].exit()
    assert slot.timed_out() == [(1, "timeout", NO_SIGN)]
    row = begun_row(slot)
    assert (row.ordinal, row.started_s) == (1, 0.0)
    assert row.ended_s == slot.clock.now()
    assert slot.returned() == [2]
    assert_rest(slot)


def test_a_task_that_does_not_unwind_at_its_timeout_is_killed_after_the_grace(slot):
    begin_with_timeout(slot)
    slot.executor.answer_interrupt()
    slot.kit.advance(GRACE_S - 2 * SLACK_S)
    assert slot.executor.kills == 0
    slot.kit.advance(3 * SLACK_S)
    assert slot.executor.kills == 1
    slot.executors[0].exit()
    assert slot.timed_out() == [(1, "timeout", TOO_LONG)]
    assert_rest(slot)


def test_without_a_grace_a_task_is_killed_at_its_timeout():
    slot = Slot(grace_s=0)
    slot.run(1, timeout_s=0.5)
    slot.executor.begin()
    slot.kit.advance(0.5 + SLACK_S)
    assert (slot.executor.kills, slot.executor.interrupts) == (1, [])
    slot.executors[0].exit()
    assert slot.timed_out() == [(1, "timeout", "it was killed with its executor")]


@pytest.mark.parametrize("status", [RowStatus.SUCCEEDED, RowStatus.FAILED])
def test_a_result_that_is_faster_than_the_interrupt_is_passed_on(slot, status):
    begin_with_timeout(slot)
    row = slot.executor.complete(status)
    assert slot.told[-1] == TaskResult((row,))
    assert slot.timed_out() == []
    assert_rest(slot)


def test_a_result_on_the_way_when_the_timeout_passes_is_passed_on(slot):
    slot.run(1, timeout_s=0.5)
    slot.executor.begin()
    slot.executor.finish()
    slot.kit.advance(0.6)
    assert slot.executor.interrupts == []
    slot.executor.deliver()
    assert [row.status for row in slot.rows()] == [RowStatus.SUCCEEDED]
    assert_rest(slot)


def test_a_result_on_the_way_while_the_executor_is_killed_is_passed_on(slot):
    begin_with_timeout(slot)
    slot.kit.advance(CANCEL_SIGN_S)
    slot.executor.finish()
    slot.executors[0].exit()
    assert [row.status for row in slot.rows()] == [RowStatus.SUCCEEDED]
    assert_rest(slot)


def test_the_timeout_counts_from_the_start_of_the_run(slot):
    slot.run(1)
    slot.run(2, timeout_s=0.1, expected_us=10_000_000)
    slot.executor.claim()
    slot.executor.begin()
    slot.kit.advance(0.009)
    slot.executor.complete()
    slot.kit.advance(5.0)  # claimed late
    assert slot.executor.interrupts == []
    slot.executor.begin()
    slot.kit.advance(0.099)
    assert slot.executor.interrupts == []
    slot.kit.advance(RECALL_AFTER_S + SLACK_S)
    assert slot.executor.interrupts == [2]


def test_each_attempt_has_the_whole_timeout(slot):
    slot.run(1, timeout_s=0.5)
    slot.executor.begin()
    slot.kit.advance(0.4)
    slot.executor.complete(RowStatus.FAILED)
    slot.run(1, timeout_s=0.5, attempt=2)
    slot.executor.begin()
    slot.kit.advance(0.49)
    assert slot.executor.interrupts == []
    slot.kit.advance(0.02)
    assert slot.executor.interrupts == [2]


def test_nobody_looks_at_a_lone_task_before_its_timeout(slot):
    slot.run(1, timeout_s=60.0)
    slot.executor.begin()
    slot.kit.advance(1.0)
    (tick,) = slot.kit.timers.values()
    assert tick.due_s == pytest.approx(60.0)
    slot.executor.complete()
    assert slot.kit.timers == {}


def test_no_timer_is_left_when_the_last_task_has_ended(slot):
    slot.run(1, left_s=3_600.0, timeout_s=60.0)
    slot.executor.begin()
    slot.kit.advance(1.0)
    slot.executor.complete()
    assert slot.kit.timers == {}
    slot.run(2)
    slot.executor.begin()
    slot.kit.advance(0.1)
    slot.executor.complete()
    assert slot.kit.timers == {}


def test_what_waits_behind_a_task_with_a_timeout_is_given_back_as_ever(slot):
    slot.run(1, 2, timeout_s=60.0)
    slot.executor.begin()
    slot.kit.advance(0.05)
    assert slot.returned() == [2]


def test_the_innocent_task_that_runs_next_is_not_killed_for_a_timeout(slot):
    begin_with_timeout(slot)
    slot.run(2)
    slot.executor.finish()  # it ends, and its row is on the way
    slot.executor.begin()
    slot.kit.advance(GRACE_S + 0.1)
    assert slot.executor.kills == 0
    slot.executor.deliver()
    slot.executor.complete()
    assert [(row.task_id, row.status) for row in slot.rows()] == [
        (1, RowStatus.SUCCEEDED),
        (2, RowStatus.SUCCEEDED),
    ]
    assert_rest(slot)


def test_a_task_that_left_something_behind_times_out_when_that_is_gone(slot):
    begin_with_timeout(slot)
    row = slot.executor.unwind(unclean=True)
    assert slot.executor.kills == 1
    assert slot.timed_out() == []
    slot.kit.advance(0.5)
    slot.executors[0].exit()
    how = "it unwound after the interrupt; what it left behind was killed"
    assert slot.timed_out() == [(1, "timeout", how)]
    assert begun_row(slot).ended_s == row.ended_s
    assert_rest(slot)


# --- a timeout and a cancel ----------------------------------------------------------------------


@pytest.mark.parametrize("force", [True, False])
def test_a_cancel_that_comes_after_the_timeout_is_confirmed_and_no_row_is_told(slot, force):
    begin_with_timeout(slot)
    answer = slot.cancel(1, force=force)
    assert not answer.replied
    slot.executor.unwind()
    assert answer.reply == confirm(1, CANCELED)
    assert slot.executor.interrupts == [1], "one interrupt"
    assert slot.rows() == []
    assert_rest(slot)


def test_a_cancel_that_came_before_the_timeout_makes_it_moot(slot):
    slot.run(1, timeout_s=0.5)
    slot.executor.begin()
    slot.kit.advance(0.4)
    answer = slot.cancel(1, grace_s=5.0)
    slot.kit.advance(1.0)
    assert slot.executor.interrupts == [1, 1], "once more, since there was no sign of life"
    assert slot.executor.kills == 0, "the cancel's grace is longer"
    slot.executor.unwind()
    assert answer.reply == confirm(1, CANCELED)
    assert slot.rows() == []
    assert_rest(slot)


def test_a_cancel_without_force_leaves_the_timeout_as_it_is(slot):
    slot.run(1, timeout_s=0.5)
    slot.executor.begin()
    slot.cancel(1, force=False)
    slot.kit.advance(0.5 + SLACK_S)
    slot.executor.unwind()
    assert slot.timed_out() == [(1, "timeout", UNWOUND)]


def test_a_cancel_that_joins_a_timeout_gets_the_result_that_was_faster(slot):
    begin_with_timeout(slot)
    answer = slot.cancel(1)
    row = slot.executor.complete()
    assert answer.reply == TaskResult((row,))
    assert slot.rows() == [], "one answer, not two"
    assert_rest(slot)


def test_a_cancel_with_a_grace_of_zero_ends_the_grace_of_a_timeout(slot):
    begin_with_timeout(slot)
    answer = slot.cancel(1, grace_s=0)
    assert slot.executor.kills == 1
    slot.executors[0].exit()
    assert answer.reply == confirm(1, CANCELED)
    assert slot.rows() == []
    assert_rest(slot)


def test_a_cancel_that_joins_while_the_executor_is_killed_is_confirmed(slot):
    begin_with_timeout(slot)
    slot.kit.advance(CANCEL_SIGN_S)
    answer = slot.cancel(1)
    slot.executors[0].exit()
    assert answer.reply == confirm(1, CANCELED)
    assert slot.rows() == []
    assert_rest(slot)


def test_a_cancel_that_comes_after_the_row_finds_nothing(slot):
    begin_with_timeout(slot)
    slot.executor.unwind()
    assert slot.cancel(1).reply == confirm(1, NOT_FOUND)


# --- a timeout and a death -----------------------------------------------------------------------


@pytest.mark.parametrize("blameless", [False, True])
def test_a_task_whose_executor_dies_while_it_is_stopped_has_timed_out(slot, blameless):
    begin_with_timeout(slot)
    slot.executor.answer_interrupt()
    slot.executor.exit("killed by SIGSEGV", signal=11, blameless=blameless)
    how = "its executor ended meanwhile: killed by SIGSEGV"
    assert slot.timed_out() == [(1, "timeout", how)]
    assert len(slot.rows()) == 1
    assert_rest(slot)


def test_a_task_whose_executor_died_before_the_timeout_is_blamed_for_that_alone(slot):
    slot.run(1, timeout_s=0.5)
    slot.executor.begin()
    slot.kit.advance(0.499)
    slot.executor.exit("killed by SIGSEGV")
    slot.kit.advance(1.0)
    assert [row.status for row in slot.rows()] == [RowStatus.WORKER_DIED]
    assert slot.executor.interrupts == []
    assert_rest(slot)


@pytest.mark.parametrize("until_s", [0.0, CANCEL_SIGN_S])
def test_a_task_that_died_before_it_could_see_the_interrupt_is_one_of_the_dead(slot, until_s):
    slot.run(1, timeout_s=0.5)
    slot.executor.begin()
    slot.kit.advance(0.5 + SLACK_S)  # it has crashed, and the news is on the way
    slot.kit.advance(until_s)
    slot.executors[0].exit("killed by SIGSEGV", signal=11)
    assert [row.status for row in slot.rows()] == [RowStatus.WORKER_DIED]
    assert b"killed by SIGSEGV" in slot.rows()[0].payload
    assert_rest(slot)


def test_a_task_that_went_with_the_launcher_before_it_could_see_the_interrupt_is_lost(slot):
    begin_with_timeout(slot)
    slot.executor.exit("its launcher died", blameless=True)
    assert [row.status for row in slot.rows()] == [RowStatus.LOST]


def test_a_cancel_of_what_died_before_it_could_see_the_interrupt_is_confirmed(slot):
    begin_with_timeout(slot)
    answer = slot.cancel(1)
    slot.executor.exit("killed by SIGSEGV", signal=11)
    assert answer.reply == confirm(1, CANCELED)
    assert slot.rows() == []


def test_a_task_that_had_not_begun_when_its_executor_died_at_its_deadline_goes_back(slot):
    slot.run(1, left_s=0.5)
    slot.executor.claim()
    slot.kit.advance(0.501)
    slot.executor.exit("killed by SIGSEGV", signal=11)
    assert slot.rows() == []
    assert slot.returned() == [1]


# --- deadline ------------------------------------------------------------------------------------


def test_a_task_that_has_not_begun_at_its_deadline_is_taken_back_and_has_timed_out(slot):
    slot.run(1, expected_us=10_000_000)
    slot.executor.begin()
    slot.run(2, left_s=0.5)
    slot.kit.advance(0.499)
    assert slot.rows() == []
    slot.kit.advance(0.002)
    assert slot.timed_out() == [(2, "deadline", "")]
    (row,) = slot.rows()
    assert (row.worker, row.pid) == ("worker-1", 0)
    assert row.started_s == row.ended_s == pytest.approx(0.5)
    assert slot.executor.waiting == []
    slot.executor.complete()
    slot.run(3)
    assert slot.executor.frames[-1].dropped == (2,)
    slot.executor.complete()
    assert_rest(slot)


def test_a_task_that_runs_at_its_deadline_is_stopped(slot):
    slot.run(1, left_s=0.5)
    slot.executor.begin()
    slot.kit.advance(0.501)
    assert slot.executor.interrupts == [1]
    slot.executor.unwind()
    assert slot.timed_out() == [(1, "deadline", UNWOUND)]
    assert_rest(slot)


def test_the_limit_that_comes_first_is_the_one_that_is_told(slot):
    slot.run(1, left_s=0.5, timeout_s=0.3)
    slot.executor.begin()
    slot.kit.advance(0.6)
    assert slot.executor.interrupts == [1, 1], "once more, since there was no sign of life"
    slot.executor.exit()
    assert [limit for _, limit, _ in slot.timed_out()] == ["timeout"]
    slot.run(2, left_s=0.3, timeout_s=0.5)
    slot.executor.up()
    slot.executor.begin()
    slot.kit.advance(0.31)
    slot.executor.unwind()
    assert [limit for _, limit, _ in slot.timed_out()] == ["timeout", "deadline"]
    assert_rest(slot)


def test_a_task_that_was_claimed_and_has_not_begun_at_its_deadline_is_stopped_when_it_begins(slot):
    slot.run(1, left_s=0.5)
    slot.executor.claim()
    slot.kit.advance(0.501)
    assert slot.executor.interrupts == [1]
    slot.executor.begin()
    slot.executor.unwind()
    assert slot.timed_out() == [(1, "deadline", UNWOUND)]
    assert_rest(slot)


def test_a_deadline_that_has_passed_on_arrival_ends_the_task_at_once(slot):
    slot.run(1, left_s=-1.0)
    slot.kit.advance(0.0)
    assert slot.timed_out() == [(1, "deadline", "")]
    assert_rest(slot)


def test_deadlines_are_met_in_their_order(slot):
    slot.run(1, expected_us=10_000_000)
    slot.executor.begin()
    for task_id, left_s in ((2, 0.3), (3, 0.1), (4, 0.2), (5, 9.0)):
        slot.run(task_id, left_s=left_s)
    for so_far in ([3], [3, 4], [3, 4, 2]):
        slot.kit.advance(0.1 + SLACK_S)
        assert [task_id for task_id, _, _ in slot.timed_out()] == so_far


def test_many_deadlines_that_pass_together_are_told_in_one_message(slot):
    slot.run(*range(1, 101), left_s=0.5, expected_us=10_000_000)
    slot.executor.begin()
    slot.kit.clear()
    slot.kit.advance(0.6)
    (told,) = (message for message in slot.told if isinstance(message, TaskResult))
    assert [row.task_id for row in told.rows] == list(range(2, 101))


def test_a_task_that_was_given_back_before_its_deadline_is_no_longer_ours(slot):
    slot.run(1, 2, left_s=0.5)
    slot.executor.begin()
    slot.kit.advance(0.1)
    assert slot.returned() == [2]
    slot.executor.complete()
    slot.kit.advance(1.0)
    assert slot.timed_out() == []
    assert_rest(slot)


def test_a_task_that_was_cancelled_before_its_deadline_is_told_once(slot):
    slot.run(1, expected_us=10_000_000)
    slot.executor.begin()
    slot.run(2, left_s=0.5)
    assert slot.cancel(2).reply == confirm(2, CANCELED)
    slot.kit.advance(1.0)
    assert slot.timed_out() == []


def test_a_task_whose_deadline_passes_before_a_cancel_is_told_once(slot):
    slot.run(1, expected_us=10_000_000)
    slot.executor.begin()
    slot.run(2, left_s=0.5)
    slot.kit.advance(0.6)
    assert slot.cancel(2).reply == confirm(2, NOT_FOUND)
    assert slot.timed_out() == [(2, "deadline", "")]


def test_a_task_that_is_held_at_its_deadline_times_out_at_once(slot):
    slot.run(1)
    slot.executor.begin()
    slot.cancel(1, grace_s=0)
    slot.run(2, left_s=0.5)
    slot.run(3, left_s=2.0)
    slot.kit.advance(0.501)
    assert slot.timed_out() == [(2, "deadline", "")]
    slot.executors[0].exit()
    assert [task.task_id for task in slot.executor.frames[0].tasks] == [3]
    slot.executor.up()
    slot.executor.begin()
    slot.kit.advance(1.5)
    assert slot.executor.interrupts == [1], "the deadline counts on in the next executor"
    slot.executor.unwind()
    assert [task_id for task_id, _, _ in slot.timed_out()] == [2, 3]
    assert_rest(slot)


def test_what_dies_with_its_executor_after_the_deadline_is_not_stopped_twice(slot):
    slot.run(1)
    slot.run(2, left_s=0.5)
    slot.executor.begin()
    slot.executor.finish()
    slot.executor.begin()
    slot.kit.actor.kill()
    slot.kit.advance(0.6)
    assert slot.executor.interrupts == []
    slot.executors[0].exit()
    assert [row.status for row in slot.rows()] == [RowStatus.SUCCEEDED, RowStatus.WORKER_DIED]
    assert_rest(slot)


def test_a_task_before_its_executor_is_up_times_out_at_its_deadline():
    slot = Slot(up=False)
    slot.run(1, left_s=0.5)
    slot.kit.advance(0.501)
    assert slot.timed_out() == [(1, "deadline", "")]
    assert slot.executor.waiting == []


def test_a_deadline_that_passes_while_there_is_no_executor_is_met():
    slot = Slot(up=False)
    slot.launch_error = OSError("no descriptors left")
    slot.executor.exit()
    slot.run(1, left_s=0.005)
    slot.kit.advance(0.006)
    assert slot.timed_out() == [(1, "deadline", "")]
