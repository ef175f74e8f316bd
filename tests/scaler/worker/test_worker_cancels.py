"""How a worker stops tasks, step by step."""

from __future__ import annotations

import pytest

from scaler.limits import (
    CANCEL_SIGN_S,
)
from scaler.protocol.tasks import (
    RowStatus,
    TaskResult,
)
from tests.scaler.worker.slot import CANCELED, FAILED, GRACE_S, NOT_FOUND, Slot, confirm


@pytest.fixture
def slot() -> Slot:
    return Slot()


# --- cancel: what has not begun ------------------------------------------------------------------


@pytest.mark.parametrize("force", [True, False])
def test_a_task_that_has_not_begun_is_taken_back(slot, force):
    slot.run(1, 2)
    slot.executor.begin()
    assert slot.cancel(2, force=force).reply == confirm(2, CANCELED)
    assert slot.executor.waiting == []
    assert slot.executor.interrupts == []
    slot.run(3)
    assert slot.executor.frames[-1].dropped == (2,)


def test_a_task_taken_back_from_an_executor_that_is_not_up_never_runs():
    slot = Slot(up=False)
    slot.run(1)
    assert slot.cancel(1).reply == confirm(1, CANCELED)
    assert slot.executor.waiting == []


def test_many_are_taken_back_at_once(slot):
    slot.run(*range(1, 1_001))
    slot.executor.begin()
    with slot.kit.turn():
        answers = [slot.cancel(task_id) for task_id in range(1_000, 1, -1)]
    assert all(answer.reply.type is CANCELED for answer in answers)
    assert list(slot.kit.actor.ledger.sent) == [1]


def test_a_task_that_nobody_knows_is_not_found(slot):
    assert slot.cancel(5).reply == confirm(5, NOT_FOUND)


def test_a_task_whose_row_has_been_passed_on_is_not_found(slot):
    slot.run(1)
    slot.executor.complete()
    assert slot.cancel(1).reply == confirm(1, NOT_FOUND)


def test_two_cancels_of_a_waiting_task_in_one_run_are_both_confirmed(slot):
    slot.run(1, 2)
    slot.executor.begin()
    with slot.kit.turn():
        answers = [slot.cancel(2), slot.cancel(2, force=False)]
    assert [answer.reply for answer in answers] == [confirm(2, CANCELED)] * 2


def test_a_cancel_that_came_with_the_task_takes_it_back(slot):
    with slot.kit.turn():
        slot.run(1)
        answer = slot.cancel(1)
    assert answer.reply == confirm(1, CANCELED)


# --- cancel: what runs ---------------------------------------------------------------------------


def test_without_force_a_running_task_goes_on(slot):
    slot.run(1)
    slot.executor.begin()
    assert slot.cancel(1, force=False).reply == confirm(1, FAILED)
    assert slot.executor.interrupts == []
    slot.executor.complete()
    assert [row.status for row in slot.rows()] == [RowStatus.SUCCEEDED]


def test_with_force_a_running_task_is_interrupted_and_confirmed_when_it_has_unwound(slot):
    slot.run(1)
    slot.executor.begin()
    answer = slot.cancel(1)
    assert slot.executor.interrupts == [1]
    assert not answer.replied
    slot.executor.unwind()
    assert answer.reply == confirm(1, CANCELED)
    assert slot.rows() == [], "one answer, not two"
    slot.kit.advance(5.0)
    assert slot.executor.kills == 0
    assert slot.is_at_rest()


@pytest.mark.parametrize("status", [RowStatus.SUCCEEDED, RowStatus.FAILED])
def test_a_result_that_was_faster_is_the_answer(slot, status):
    slot.run(1)
    slot.executor.begin()
    answer = slot.cancel(1)
    row = slot.executor.complete(status)
    assert answer.reply == TaskResult((row,))
    assert slot.rows() == []
    slot.kit.advance(5.0)
    assert slot.executor.kills == 0
    assert slot.is_at_rest()


def test_a_task_that_gives_no_sign_of_life_is_killed_soon(slot):
    slot.run(1)
    slot.executor.begin()
    answer = slot.cancel(1)
    slot.kit.advance(CANCEL_SIGN_S * 0.9)
    assert slot.executor.kills == 0
    slot.kit.advance(CANCEL_SIGN_S * 0.2)
    assert slot.executor.kills == 1
    assert not answer.replied, "not before it was reaped"
    slot.executor.exit()
    assert answer.reply == confirm(1, CANCELED)
    assert slot.rows() == []


@pytest.mark.parametrize("grace_s", [None, 3.0])
def test_an_interrupt_that_was_lost_is_sent_once_more(slot, grace_s):
    slot.run(1)
    slot.executor.begin()
    answer = slot.cancel(1, grace_s=grace_s)
    assert slot.executor.interrupts == [1]
    slot.kit.advance(CANCEL_SIGN_S * 0.9)
    assert slot.executor.interrupts == [1, 1]
    slot.executor.unwind()
    assert answer.reply == confirm(1, CANCELED)
    slot.kit.advance(5.0)
    assert (slot.executor.interrupts, slot.executor.kills) == ([1, 1], 0)
    assert slot.is_at_rest()


def test_a_task_that_gave_a_sign_of_life_is_interrupted_once(slot):
    slot.run(1)
    slot.executor.begin()
    slot.cancel(1)
    slot.executor.answer_interrupt()
    slot.kit.advance(GRACE_S * 0.9)
    assert slot.executor.interrupts == [1]


def test_a_task_that_gave_a_sign_of_life_has_the_whole_grace(slot):
    slot.run(1)
    slot.executor.begin()
    answer = slot.cancel(1)
    slot.executor.answer_interrupt()
    slot.kit.advance(GRACE_S * 0.99)
    assert slot.executor.kills == 0
    slot.kit.advance(GRACE_S * 0.02)
    assert slot.executor.kills == 1
    slot.executor.exit()
    assert answer.reply == confirm(1, CANCELED)


def test_an_explicit_grace_is_waited_for_in_full_without_a_sign_of_life(slot):
    slot.run(1)
    slot.executor.begin()
    slot.cancel(1, grace_s=3.0)
    slot.kit.advance(2.99)
    assert slot.executor.kills == 0
    slot.kit.advance(0.02)
    assert slot.executor.kills == 1


def test_a_grace_of_zero_kills_at_once_and_sends_no_interrupt(slot):
    slot.run(1)
    slot.executor.begin()
    answer = slot.cancel(1, grace_s=0)
    assert (slot.executor.kills, slot.executor.interrupts) == (1, [])
    slot.executor.exit()
    assert answer.reply == confirm(1, CANCELED)


def test_a_task_that_was_claimed_and_has_not_begun_is_interrupted_when_it_begins(slot):
    slot.run(1)
    slot.executor.claim()
    answer = slot.cancel(1)
    assert slot.executor.interrupts == [1]
    slot.executor.begin()
    slot.executor.unwind()
    assert answer.reply == confirm(1, CANCELED)


def test_a_result_on_the_way_while_the_executor_is_killed_is_the_answer(slot):
    slot.run(1)
    slot.executor.begin()
    answer = slot.cancel(1, grace_s=0)
    slot.executor.finish()
    slot.executor.exit()
    assert isinstance(answer.reply, TaskResult)
    assert len(slot.executors) == 2


# --- cancel: several callers ---------------------------------------------------------------------


def test_a_second_cancel_of_an_interrupted_task_gets_the_same_answer(slot):
    slot.run(1)
    slot.executor.begin()
    answers = [slot.cancel(1), slot.cancel(1, force=False), slot.cancel(1)]
    assert slot.executor.interrupts == [1], "one interrupt"
    slot.executor.unwind()
    assert [answer.reply for answer in answers] == [confirm(1, CANCELED)] * 3


def test_all_who_joined_get_the_result_that_was_faster(slot):
    slot.run(1)
    slot.executor.begin()
    answers = [slot.cancel(1), slot.cancel(1)]
    row = slot.executor.complete()
    assert [answer.reply for answer in answers] == [TaskResult((row,))] * 2


def test_a_cancel_with_force_after_one_without_interrupts(slot):
    slot.run(1)
    slot.executor.begin()
    with slot.kit.turn():
        gentle, strong = slot.cancel(1, force=False), slot.cancel(1)
    assert gentle.reply == confirm(1, FAILED)
    slot.executor.unwind()
    assert strong.reply == confirm(1, CANCELED)


def test_a_second_cancel_with_a_shorter_grace_brings_the_kill_sooner(slot):
    slot.run(1)
    slot.executor.begin()
    slot.cancel(1, grace_s=10.0)
    slot.kit.advance(1.0)
    slot.cancel(1, grace_s=0.2)
    slot.kit.advance(0.19)
    assert slot.executor.kills == 0
    slot.kit.advance(0.02)
    assert slot.executor.kills == 1


def test_a_second_cancel_with_a_longer_grace_does_not_put_the_kill_off(slot):
    slot.run(1)
    slot.executor.begin()
    slot.cancel(1, grace_s=0.2)
    slot.cancel(1, grace_s=10.0)
    slot.kit.advance(0.21)
    assert slot.executor.kills == 1


def test_a_second_cancel_with_a_grace_of_zero_kills_at_once(slot):
    slot.run(1)
    slot.executor.begin()
    slot.cancel(1, grace_s=10.0)
    slot.cancel(1, grace_s=0)
    assert slot.executor.kills == 1


def test_a_second_cancel_without_force_cannot_shorten_the_grace(slot):
    slot.run(1)
    slot.executor.begin()
    slot.cancel(1, grace_s=10.0)
    slot.cancel(1, force=False, grace_s=0)
    assert slot.executor.kills == 0


# --- only the culprit is killed ------------------------------------------------------------------


def test_what_waits_behind_a_culprit_is_given_back_before_the_kill(slot):
    slot.run(1, 2, 3)
    slot.executor.begin()
    slot.cancel(1, grace_s=0)
    assert slot.returned() == [2, 3]
    slot.executor.exit()
    assert slot.rows() == []
    assert slot.returned() == [2, 3]
    slot.kit.advance(1.0)
    assert slot.is_at_rest()


def test_the_innocent_task_that_runs_next_is_not_killed(slot):
    slot.run(1, 2, 3)
    slot.executor.begin()
    answer = slot.cancel(1)
    slot.executor.finish()  # it ends, and its row is on the way
    slot.executor.begin()
    slot.kit.advance(GRACE_S + 0.1)
    assert slot.executor.kills == 0
    (row,) = slot.executor.deliver()
    assert answer.reply == TaskResult((row,))
    slot.kit.advance(1.0)
    assert slot.executor.kills == 0
    assert slot.executor.complete().task_id == 2


def test_an_innocent_task_that_was_claimed_but_does_not_run_yet_is_not_killed(slot):
    slot.run(1, 2)
    slot.executor.begin()
    answer = slot.cancel(1, grace_s=0.5)
    slot.executor.finish()
    slot.executor.claim()
    slot.kit.advance(0.52)
    assert slot.executor.kills == 0
    slot.executor.deliver()
    assert answer.replied
    slot.kit.advance(1.0)
    assert slot.executor.kills == 0


def test_the_sign_of_life_is_looked_for_again_when_another_task_may_run(slot):
    slot.run(1, 2)
    slot.executor.begin()
    slot.executor.finish()
    slot.executor.claim()
    answer = slot.cancel(2)
    slot.kit.advance(CANCEL_SIGN_S + 0.02)
    assert slot.executor.kills == 0, "the first one's row is on the way, so look again"
    slot.executor.deliver()
    slot.executor.begin()
    slot.executor.answer_interrupt()
    slot.kit.advance(0.5)
    assert slot.executor.kills == 0, "the second one has given its sign"
    slot.executor.finish(RowStatus.INTERRUPTED, b"")
    slot.executor.deliver()
    assert answer.reply == confirm(2, CANCELED)


def test_a_longer_grace_does_not_put_off_a_kill_that_waits_for_the_row_of_another_task(slot):
    slot.run(1, 2)
    slot.executor.begin()
    slot.executor.finish()
    slot.executor.claim()
    answers = [slot.cancel(2, grace_s=0), slot.cancel(2, grace_s=10.0)]
    assert slot.executor.kills == 0, "the first one's row is on the way, so look again"
    slot.executor.deliver()
    slot.executor.begin()
    slot.kit.advance(0.02)
    assert (slot.executor.kills, slot.executor.interrupts) == (1, [])
    slot.executor.exit()
    assert [answer.reply for answer in answers] == [confirm(2, CANCELED)] * 2


def test_a_second_cancel_of_a_task_whose_grace_is_over_kills_as_soon_as_it_runs(slot):
    slot.run(1, 2)
    slot.executor.begin()
    slot.executor.finish()
    slot.executor.claim()
    slot.cancel(2, grace_s=0)
    slot.executor.begin()
    slot.cancel(2, grace_s=10.0)
    assert slot.executor.kills == 1


def test_a_claimed_task_that_never_begins_is_killed_with_its_executor(slot):
    slot.run(1)
    slot.executor.claim()
    answer = slot.cancel(1)
    slot.kit.advance(CANCEL_SIGN_S * 1.1)
    assert slot.executor.kills == 1
    slot.executor.exit()
    assert answer.reply == confirm(1, CANCELED)


@pytest.mark.parametrize("order", [(2, 1), (1, 2)], ids=["newest first", "oldest first"])
def test_the_interrupt_of_what_has_ended_does_not_overwrite_that_of_what_runs(slot, order):
    slot.run(1, 2)
    slot.executor.begin()
    slot.executor.finish()  # its row is on the way
    slot.executor.begin()
    with slot.kit.turn():
        answers = {task_id: slot.cancel(task_id) for task_id in order}
    assert slot.executor.interrupts[-1] == 2
    slot.executor.answer_interrupt()
    slot.executor.finish(RowStatus.INTERRUPTED, b"")
    first, _ = slot.executor.deliver()
    assert answers[1].reply == TaskResult((first,))
    assert answers[2].reply == confirm(2, CANCELED)


# --- an executor that must be replaced -----------------------------------------------------------


def test_a_task_that_left_something_behind_is_confirmed_when_that_is_gone(slot):
    slot.run(1, 2)
    slot.executor.begin()
    answer = slot.cancel(1)
    slot.executor.unwind(unclean=True)
    assert slot.executor.kills == 1
    assert slot.returned() == [2]
    assert not answer.replied
    slot.kit.advance(GRACE_S * 2)
    assert slot.executor.kills == 1
    slot.executor.exit()
    assert answer.reply == confirm(1, CANCELED)
    assert slot.rows() == []
    assert slot.is_at_rest()


def test_a_task_that_returned_after_an_interrupted_import_answers_and_its_executor_goes(slot):
    slot.run(1)
    slot.executor.begin()
    answer = slot.cancel(1)
    slot.executor.answer_interrupt()
    row = slot.executor.complete(RowStatus.SUCCEEDED, unclean=True)
    assert answer.reply == TaskResult((row,))
    assert slot.executor.kills == 1
    slot.executor.exit()
    assert slot.rows() == []
    slot.run(2)
    slot.executor.up()
    assert slot.executor.complete().task_id == 2


def test_an_unclean_row_without_a_cancel_is_passed_on_and_its_executor_goes(slot):
    slot.run(1)
    slot.executor.begin()
    row = slot.executor.complete(RowStatus.FAILED, unclean=True)
    assert slot.rows() == [row]
    assert slot.executor.kills == 1
    slot.executor.exit()
    assert slot.rows() == [row]


def test_tasks_that_come_while_the_executor_dies_go_to_the_next_one(slot):
    slot.run(1)
    slot.executor.begin()
    slot.cancel(1, grace_s=0)
    slot.run(2, 3, expected_us=7)
    slot.run(4, function_id=b"g")
    assert len(slot.executor.frames) == 1
    slot.executor.exit()
    sent = [task.task_id for frame in slot.executor.frames for task in frame.tasks]
    assert sent == [2, 3, 4]
    assert [sent.expected_us for sent in slot.kit.actor.ledger.sent.values()] == [7, 7, 1_000]
    assert slot.kit.actor.held == {}
    assert "tick" in slot.kit.timers


@pytest.mark.parametrize("force", [True, False])
def test_a_task_held_while_the_executor_dies_can_be_cancelled(slot, force):
    slot.run(1)
    slot.executor.begin()
    slot.cancel(1, grace_s=0)
    slot.run(2, 3)
    assert slot.cancel(2, force=force).reply == confirm(2, CANCELED)
    slot.executor.exit()
    assert [task.task_id for frame in slot.executor.frames for task in frame.tasks] == [3]


def test_a_cancel_of_a_task_that_dies_with_its_executor_is_confirmed_by_the_death(slot):
    slot.run(1, 2)
    slot.executor.begin()
    slot.executor.finish()
    slot.executor.begin()
    slot.cancel(2, grace_s=0)
    slot.executor.page = 2
    assert slot.executor.kills == 1
    late = slot.cancel(1)  # its row is on the way, but the executor is dying
    gentle = slot.cancel(1, force=False)
    assert slot.executor.interrupts == []
    slot.executor.undelivered.clear()  # and is lost
    slot.executor.exit()
    assert late.reply == confirm(1, CANCELED)
    assert gentle.reply == confirm(1, CANCELED)


def test_no_tick_looks_at_an_executor_that_dies(slot):
    slot.run(1)
    slot.executor.begin()
    slot.cancel(1, grace_s=0)
    slot.kit.advance(1.0)
    assert slot.told == []
    assert [*slot.kit.timers] == ["kill"]
