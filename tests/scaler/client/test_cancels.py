"""What a cancel makes of a future: every row of the table, and the races between them."""

from __future__ import annotations

from concurrent.futures import CancelledError

import pytest

from scaler.client.cancels import give_up
from scaler.client.future import CancelOutcome
from scaler.limits import CANCEL_TIMEOUT_S
from scaler.protocol.tasks import (
    RowStatus,
    TaskCancel,
    TaskCancelConfirm,
    TaskDrop,
    TaskDropped,
    TaskResult,
    TaskStarted,
)
from tests.scaler.client.office import CANCELED, FAILED, NOT_FOUND, Office, row_of


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def keeping() -> Office:
    """A client with the standard library's contract."""
    return Office(cancel_finished=False)


def assert_cancelled(future, outcome):
    assert future.cancelled()
    assert future.cancel_outcome is outcome
    with pytest.raises(CancelledError):
        future.result(0)


# --- one row of the table each -------------------------------------------------------------------


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize(
    ("kind", "outcome"),
    [(CANCELED, CancelOutcome.CANCELED), (NOT_FOUND, CancelOutcome.NOT_FOUND)],
)
def test_a_confirmed_future_is_cancelled(office, running, force, kind, outcome):
    (future,) = office.submit()
    if running:
        office.kit.tell(TaskStarted((future.task_id,)))
    answer = office.ask_cancel(future, force=force, timeout_s=7.0, grace_s=0.5)
    asked = office.kit.asked[0]
    assert asked.message == TaskCancel(future.task_id, force, 0.5)
    assert asked.timeout_s == 7.0
    assert not answer.replied
    office.confirm(future, kind)
    assert answer.replied
    assert_cancelled(future, outcome)
    assert office.called_back == [future]
    assert office.is_at_rest()


@pytest.mark.parametrize("told", [True, False])
def test_with_force_a_result_that_crossed_is_released(office, told):
    (future,) = office.submit()
    answer = office.ask_cancel(future)
    if told:
        office.end(row_of(future, "value"))
    else:
        office.cross(future, "value")
    assert answer.replied
    assert_cancelled(future, CancelOutcome.RESULT)
    assert office.called_back == [future], "told once"
    assert office.is_at_rest()


def test_without_force_a_result_that_crossed_is_delivered(office):
    (future,) = office.submit()
    answer = office.ask_cancel(future, force=False)
    office.cross(future, "value")
    assert answer.replied
    assert not future.cancelled()
    assert (future.result(0), future.cancel_outcome) == ("value", CancelOutcome.FAILED)
    assert office.is_at_rest()


@pytest.mark.parametrize(("force", "outcome"), [(True, "RESULT"), (False, "FAILED")])
def test_a_client_that_keeps_results_is_given_one_that_crossed(keeping, force, outcome):
    (future,) = keeping.submit()
    answer = keeping.ask_cancel(future, force=force)
    keeping.cross(future, "value")
    assert answer.replied
    assert not future.cancelled()
    assert (future.result(0), future.cancel_outcome) == ("value", CancelOutcome[outcome])
    assert keeping.is_at_rest()


def test_a_task_that_goes_on_running_keeps_its_future(office):
    (future,) = office.submit()
    answer = office.ask_cancel(future, force=False)
    office.confirm(future, FAILED)
    assert answer.replied
    assert not future.done()
    assert future.cancel_outcome is CancelOutcome.FAILED
    office.end(row_of(future, "value"))
    assert future.result(0) == "value"
    assert office.is_at_rest()


def test_without_an_answer_in_time_the_future_is_cancelled_and_the_request_repeated(office):
    (future,) = office.submit()
    answer = office.ask_cancel(future, timeout_s=2.0, grace_s=0.5)
    office.kit.advance(1.99)
    assert not answer.replied
    office.kit.advance(0.01)
    assert answer.replied
    assert_cancelled(future, CancelOutcome.TIMEOUT)
    first, again = office.asked(future), office.asked(future)
    assert again.message == first.message
    assert again.timeout_s == CANCEL_TIMEOUT_S
    assert office.released_tasks == 0, "its credit is held until somebody answers for it"
    again.answer(TaskCancelConfirm(future.task_id, CANCELED))
    assert future.cancel_outcome is CancelOutcome.TIMEOUT, "a late reply changes nothing"
    assert office.called_back == [future]
    assert office.is_at_rest()


@pytest.mark.parametrize("force", [True, False])
def test_a_result_after_the_timeout_is_released(office, force):
    (future,) = office.submit()
    office.ask_cancel(future, force=force, timeout_s=2.0)
    office.kit.advance(2.0)
    office.end(row_of(future, "value"))
    assert_cancelled(future, CancelOutcome.TIMEOUT)
    assert office.called_back == [future]
    assert office.is_at_rest()


def test_a_refusal_after_the_timeout_changes_nothing(office):
    (future,) = office.submit()
    office.ask_cancel(future, force=False, timeout_s=2.0)
    office.kit.advance(2.0)
    office.asked(future)
    office.confirm(future, FAILED)
    assert_cancelled(future, CancelOutcome.TIMEOUT)
    office.end(row_of(future, "value"))
    assert_cancelled(future, CancelOutcome.TIMEOUT)
    assert office.is_at_rest()


def test_a_timeout_of_zero_sends_and_returns(office):
    (future,) = office.submit()
    answer = office.ask_cancel(future, timeout_s=0)
    assert answer.replied
    assert_cancelled(future, CancelOutcome.TIMEOUT)
    asked = office.asked(future)
    assert asked.timeout_s == CANCEL_TIMEOUT_S
    asked.answer(TaskCancelConfirm(future.task_id, CANCELED))
    assert future.cancel_outcome is CancelOutcome.TIMEOUT
    assert office.is_at_rest()


def test_a_future_that_was_answered_meanwhile_gives_its_value_up(office):
    (future,) = office.submit()
    with office.kit.turn():
        office.end(row_of(future, "value"))
        answer = office.ask_cancel(future)
    assert answer.replied
    assert_cancelled(future, CancelOutcome.RELEASED)
    assert office.kit.asked == []
    assert office.called_back == [future]
    assert office.is_at_rest()


def test_a_client_that_keeps_results_keeps_one_that_came_meanwhile(keeping):
    (future,) = keeping.submit()
    with keeping.kit.turn():
        keeping.end(row_of(future, "value"))
        answer = keeping.ask_cancel(future)
    assert answer.replied
    assert (future.result(0), future.cancel_outcome) == ("value", CancelOutcome.FINISHED)


def test_a_future_that_is_cancelled_already_stays_as_it_is(office):
    (future,) = office.submit()
    office.ask_cancel(future)
    office.confirm(future)
    office.kit.clear()
    assert office.ask_cancel(future).replied
    assert_cancelled(future, CancelOutcome.CANCELED)
    assert office.kit.asked == []


def test_a_future_that_was_given_up_on_is_not_asked_for_again(office):
    (future,) = office.submit()
    office.ask_cancel(future, timeout_s=0)
    office.kit.clear()
    assert office.ask_cancel(future).replied
    assert office.kit.asked == []
    assert_cancelled(future, CancelOutcome.TIMEOUT)


@pytest.mark.parametrize("count", [1, 2])
def test_a_caller_that_gave_up_before_anyone_looked_is_asked_for_all_the_same(office, count):
    futures = office.submit(count)
    give_up(futures, force=True)
    office.ask_cancel(*futures, timeout_s=0.5)
    if count > 1:
        office.kit.take_asked(TaskDrop).expire()
    for future in futures:
        office.confirm(future, NOT_FOUND)
        assert_cancelled(future, CancelOutcome.TIMEOUT)
    assert office.is_at_rest()


def test_a_task_that_was_interrupted_by_another_hand_confirms(office):
    (future,) = office.submit()
    answer = office.ask_cancel(future)
    office.end(row_of(future, status=RowStatus.INTERRUPTED))
    assert answer.replied
    assert_cancelled(future, CancelOutcome.CANCELED)
    assert office.is_at_rest()


# --- from an event loop's callback: cancelled at once, confirmed later ---------------------------


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        (CANCELED, CancelOutcome.CANCELED),
        (NOT_FOUND, CancelOutcome.NOT_FOUND),
        (FAILED, CancelOutcome.FAILED),
    ],
)
def test_the_reply_replaces_an_unconfirmed_outcome(office, kind, outcome):
    (future,) = office.submit()
    office.ask_cancel(future, unconfirmed=True)
    assert_cancelled(future, CancelOutcome.UNCONFIRMED)
    office.confirm(future, kind)
    assert_cancelled(future, outcome)
    assert office.called_back == [future]


@pytest.mark.parametrize("cancel_finished", [True, False])
@pytest.mark.parametrize("when", ["before", "crossed"])
def test_a_result_replaces_an_unconfirmed_outcome_and_is_released(cancel_finished, when):
    office = Office(cancel_finished=cancel_finished)
    (future,) = office.submit()
    if when == "crossed":
        office.ask_cancel(future, unconfirmed=True)
        office.cross(future, "value")
    else:
        with office.kit.turn():
            office.end(row_of(future, "value"))
            office.ask_cancel(future, unconfirmed=True)
    assert_cancelled(future, CancelOutcome.RESULT)
    assert office.called_back == [future]
    assert office.is_at_rest()


def test_an_unconfirmed_cancel_that_is_not_answered_ends_as_a_timeout(office):
    (future,) = office.submit()
    office.ask_cancel(future, unconfirmed=True)
    office.kit.advance(CANCEL_TIMEOUT_S)
    assert_cancelled(future, CancelOutcome.TIMEOUT)
    assert office.released_tasks == 0, "its credit is held until somebody answers for it"


# --- several callers -----------------------------------------------------------------------------


def test_many_callers_share_one_request(office):
    (future,) = office.submit()
    answers = [office.ask_cancel(future) for _ in range(50)]
    assert len(office.kit.asked) == 1, "one request travels"
    office.confirm(future)
    assert all(answer.replied for answer in answers)
    assert office.called_back == [future]
    assert office.is_at_rest()


@pytest.mark.parametrize("first_to_expire", [0, 1, 2])
def test_each_caller_waits_its_own_timeout_and_the_first_to_expire_decides_for_all(
    office, first_to_expire
):
    (future,) = office.submit()
    timeouts = [10.0, 10.0, 10.0]
    timeouts[first_to_expire] = 3.0
    answers = [office.ask_cancel(future, timeout_s=timeout) for timeout in timeouts]
    office.kit.advance(2.9)
    assert not any(answer.replied for answer in answers)
    office.kit.advance(0.1)
    assert all(answer.replied for answer in answers)
    assert_cancelled(future, CancelOutcome.TIMEOUT)
    assert office.kit.timers == {}
    office.end(row_of(future))
    assert office.is_at_rest()


def test_a_joined_caller_with_a_timeout_of_zero_decides_for_all(office):
    (future,) = office.submit()
    first = office.ask_cancel(future)
    second = office.ask_cancel(future, timeout_s=0)
    assert first.replied
    assert second.replied
    assert_cancelled(future, CancelOutcome.TIMEOUT)


def test_a_caller_with_force_upgrades_a_request_without(office):
    (future,) = office.submit()
    answers = [office.ask_cancel(future, force=False), office.ask_cancel(future, force=True)]
    assert [asked.message.force for asked in office.kit.asked] == [False, True]
    office.asked(future)
    office.confirm(future)
    assert all(answer.replied for answer in answers)
    assert_cancelled(future, CancelOutcome.CANCELED)
    assert office.is_at_rest()


def test_a_caller_without_force_does_not_weaken_a_request_with(office):
    (future,) = office.submit()
    office.ask_cancel(future, force=True)
    office.ask_cancel(future, force=False)
    assert len(office.kit.asked) == 1
    office.cross(future, "value")
    assert_cancelled(future, CancelOutcome.RESULT)


def test_a_caller_with_a_grace_of_its_own_is_passed_on(office):
    (future,) = office.submit()
    office.ask_cancel(future)
    office.ask_cancel(future, grace_s=0.0)
    assert [asked.message.grace_s for asked in office.kit.asked] == [None, 0.0]


def test_the_refusal_of_the_gentle_request_leaves_the_strong_one_waiting(office):
    (future,) = office.submit()
    gentle = office.ask_cancel(future, force=False)
    gentle_too = office.ask_cancel(future, force=False, timeout_s=5.0)
    strong = office.ask_cancel(future, force=True)
    office.confirm(future, FAILED)
    assert gentle.replied
    assert gentle_too.replied
    assert not strong.replied
    assert future.cancel_outcome is CancelOutcome.FAILED
    office.kit.advance(10.0)
    assert not strong.replied, "the time of those who were answered counts no more"
    office.confirm(future, CANCELED)
    assert strong.replied
    assert_cancelled(future, CancelOutcome.CANCELED)
    assert office.is_at_rest()


def test_the_refusal_of_a_strong_request_answers_all(office):
    (future,) = office.submit()
    answers = [office.ask_cancel(future, force=False), office.ask_cancel(future, force=True)]
    gentle, strong = office.asked(future), office.asked(future)
    strong.answer(TaskCancelConfirm(future.task_id, FAILED))
    assert all(answer.replied for answer in answers)
    gentle.answer(TaskCancelConfirm(future.task_id, FAILED))
    assert not future.done()
    assert office.kit.timers == {}


def test_a_refused_cancel_can_be_followed_by_another(office):
    (future,) = office.submit()
    office.ask_cancel(future, force=False)
    office.confirm(future, FAILED)
    answer = office.ask_cancel(future)
    office.confirm(future)
    assert answer.replied
    assert_cancelled(future, CancelOutcome.CANCELED)


def test_the_second_answer_of_two_requests_changes_nothing(office):
    (future,) = office.submit()
    office.ask_cancel(future, force=False)
    office.ask_cancel(future)
    gentle, strong = office.asked(future), office.asked(future)
    strong.answer(TaskCancelConfirm(future.task_id, CANCELED))
    gentle.answer(TaskResult((row_of(future, "value"),)))
    assert_cancelled(future, CancelOutcome.CANCELED)
    assert office.is_at_rest()


# --- many futures --------------------------------------------------------------------------------


def test_a_batch_is_answered_when_each_of_it_is_decided(office):
    futures = office.submit(4)
    with office.kit.turn():
        office.end(row_of(futures[0]))
        answer = office.ask_cancel(*reversed(futures))
    office.drop()
    assert [asked.message.task_id for asked in office.kit.asked] == [
        future.task_id for future in reversed(futures[1:])
    ], "the newest first"
    office.confirm(futures[3])
    assert futures[3].cancelled(), "replies resolve as they come"
    office.cross(futures[2])
    assert not answer.replied
    office.confirm(futures[1], FAILED)
    assert answer.replied
    assert [future.cancel_outcome for future in futures] == [
        CancelOutcome.RELEASED,
        CancelOutcome.FAILED,
        CancelOutcome.RESULT,
        CancelOutcome.CANCELED,
    ]


def test_a_future_named_twice_in_a_batch_is_asked_for_once(office):
    (future,) = office.submit()
    answer = office.ask_cancel(future, future)
    office.confirm(future)
    assert office.kit.asked == []
    assert answer.replied
    assert office.is_at_rest()


def test_what_is_queued_of_a_batch_is_dropped_with_one_ask(office):
    futures = office.submit(4)
    answer = office.ask_cancel(*reversed(futures))
    (asked,) = office.kit.asked
    assert asked.message == TaskDrop(tuple(future.task_id for future in reversed(futures)))
    office.drop(*futures[1:])
    assert [future.cancel_outcome for future in futures[1:]] == [CancelOutcome.CANCELED] * 3
    assert not answer.replied
    office.confirm(futures[0])
    assert answer.replied
    assert office.is_at_rest()


def test_what_a_lost_attempt_has_printed_is_forgotten_when_its_task_is_dropped(office):
    futures = office.submit(2)
    office.print(futures[0])
    office.ask_cancel(*futures)
    office.drop(*futures)
    assert office.is_at_rest()


def test_callbacks_of_dropped_futures_are_called(office):
    futures = office.submit(2)
    office.ask_cancel(*futures)
    office.drop(*futures)
    assert office.called_back == futures


def test_a_result_that_is_faster_than_the_drop_of_its_batch_decides(office):
    futures = office.submit(2)
    answer = office.ask_cancel(*futures)
    office.end(row_of(futures[0]))
    office.drop(futures[1])
    assert answer.replied
    assert futures[0].cancel_outcome is CancelOutcome.RELEASED
    assert futures[1].cancel_outcome is CancelOutcome.CANCELED
    assert office.is_at_rest()


def test_a_result_of_the_same_turn_as_the_drop_of_its_batch_is_given_up(office):
    futures = office.submit(2)
    answer = office.ask_cancel(*futures)
    drop = office.kit.take_asked(TaskDrop)
    manager = office.kit.actor
    manager.take_rows([row_of(futures[0])])  # the turn ends after the answer
    drop.answer(TaskDropped((futures[1].task_id,)))
    assert answer.replied
    assert_cancelled(futures[0], CancelOutcome.RELEASED)
    assert_cancelled(futures[1], CancelOutcome.CANCELED)


def test_who_cancels_one_of_a_batch_that_is_dropped_is_answered_too(office):
    futures = office.submit(2)
    office.ask_cancel(*futures)
    other = office.ask_cancel(futures[0])
    office.drop(*futures)
    assert other.replied
    office.confirm(futures[0], NOT_FOUND)
    assert futures[0].cancel_outcome is CancelOutcome.CANCELED


def test_a_batch_whose_drop_is_not_answered_is_cancelled_one_by_one(office):
    futures = office.submit(2)
    answer = office.ask_cancel(*futures)
    office.kit.take_asked(TaskDrop).expire()
    for future in futures:
        office.confirm(future)
    assert answer.replied


def test_a_batch_waits_for_its_timeout_once(office):
    futures = office.submit(2)
    answer = office.ask_cancel(*futures, timeout_s=2.0)
    office.kit.advance(2.0)
    assert answer.replied
    for future in futures:
        assert_cancelled(future, CancelOutcome.TIMEOUT)
        office.confirm(future)  # the request travels all the same
    assert office.is_at_rest()


def test_an_empty_batch_is_answered_at_once(office):
    assert office.ask_cancel().replied


def test_a_cancel_never_overtakes_the_submit_of_another_thread(office):
    future = office.put()  # announced by a thread that has not come to it yet
    answer = office.ask_cancel(future)
    assert not answer.replied
    office.confirm(future)
    assert_cancelled(future, CancelOutcome.CANCELED)
    assert office.is_at_rest()


@pytest.mark.parametrize(
    ("cancel_finished", "force", "outcome"),
    [
        (True, True, CancelOutcome.RELEASED),
        (False, True, CancelOutcome.FINISHED),
        (True, False, None),
        (False, False, None),
    ],
)
def test_a_future_that_ended_while_nobody_answered_its_cancel(
    session, cancel_finished, force, outcome
):
    session.cancel_finished = cancel_finished
    future, still_open = session.future(), session.future()
    future.set_result_ready(session.row("value"))
    give_up([future, still_open], force)
    assert_cancelled(still_open, CancelOutcome.TIMEOUT)
    assert future.cancel_outcome is outcome
    assert future.cancelled() is (outcome is CancelOutcome.RELEASED)
