"""How the scheduler answers cancels, and the races around them."""

from __future__ import annotations

import pytest

from actors.testkit import AskState
from scaler.limits import CANCEL_TIMEOUT_S
from scaler.protocol.tasks import RowStatus, TaskCancel, TaskCancelConfirm, TaskResult
from scaler.scheduler.transitions import TaskState
from tests.scaler.scheduler.desk import CANCELED, FAILED, NOT_FOUND, confirm, row, task_id

# --- queued or unknown ---------------------------------------------------------------------------


@pytest.mark.parametrize("force", [True, False])
def test_a_queued_task_is_cancelled_at_once_and_never_sent(desk, force):
    desk.connect()
    desk.submit(1, 2)
    assert desk.cancel(1, force=force).reply == confirm(1, CANCELED)
    assert desk.sent_to(desk.add_worker()) == [2]


def test_a_cancel_in_the_same_run_as_its_submit_finds_it_queued(desk):
    desk.connect()
    worker = desk.add_worker()
    with desk.kit.turn():
        desk.submit(1)
        answer = desk.cancel(1)
    assert answer.reply == confirm(1, CANCELED)
    assert desk.sent_to(worker) == []
    assert desk.is_at_rest()


def test_a_thousand_queued_tasks_are_cancelled_in_one_run(desk):
    desk.connect()
    desk.submit(*range(1_000))
    with desk.kit.turn():
        answers = [desk.cancel(number) for number in range(999, -1, -1)]
    assert all(answer.reply.type is CANCELED for answer in answers)
    assert desk.is_at_rest()


def test_a_task_that_nobody_knows_is_not_found(desk):
    desk.connect()
    assert desk.cancel(7).reply == confirm(7, NOT_FOUND)


def test_a_result_of_the_same_run_is_told_before_its_cancel_is_not_found(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1)
    with desk.kit.turn():
        desk.end(worker, row(1))
        answer = desk.cancel(1)
    assert answer.reply == confirm(1, NOT_FOUND)
    told = [type(effect).__name__ for effect in desk.kit.effects][-2:]
    assert told == ["Told", "Replied"]
    assert desk.results_to(client) == [row(1)]


# --- running -----------------------------------------------------------------------------------


def test_the_worker_is_asked_and_its_confirm_passed_on(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1)
    answer = desk.cancel(1, force=False, grace_s=0.3)
    asked = desk.asked(1)
    assert asked.ref == worker
    assert asked.message == TaskCancel(task_id(1), False, 0.3)
    assert asked.timeout_s == CANCEL_TIMEOUT_S + 0.3
    assert desk.status().canceling == 1
    asked.answer(confirm(1, CANCELED))
    assert answer.reply == confirm(1, CANCELED)
    assert desk.kit.messages_to(client) == []
    assert desk.is_at_rest()


def test_a_worker_that_does_not_know_the_task_is_believed(desk):
    desk.connect()
    desk.add_worker()
    desk.submit(1)
    answer = desk.cancel(1)
    desk.asked(1).answer(confirm(1, NOT_FOUND))
    assert answer.reply == confirm(1, NOT_FOUND)
    assert desk.is_at_rest()


def test_a_refused_task_goes_on_and_its_result_is_delivered(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1)
    answer = desk.cancel(1, force=False)
    desk.asked(1).answer(confirm(1, FAILED))
    assert answer.reply == confirm(1, FAILED)
    assert desk.status().running == 1
    desk.end(worker, row(1))
    assert desk.results_to(client) == [row(1)]


def test_a_refused_task_can_be_cancelled_again(desk):
    desk.connect()
    desk.add_worker()
    desk.submit(1)
    desk.cancel(1, force=False)
    desk.asked(1).answer(confirm(1, FAILED))
    answer = desk.cancel(1)
    desk.asked(1).answer(confirm(1, CANCELED))
    assert answer.reply == confirm(1, CANCELED)


# --- races -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [RowStatus.SUCCEEDED, RowStatus.FAILED, RowStatus.INTERNAL])
def test_a_result_while_canceling_answers_the_cancel(desk, status):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1)
    answer = desk.cancel(1)
    desk.end(worker, row(1, status))
    assert answer.reply == TaskResult((row(1, status),))
    assert desk.results_to(client) == [], "one answer, not two"
    desk.asked(1).answer(confirm(1, NOT_FOUND))
    assert desk.confirms_to(client) == []
    assert desk.is_at_rest()


def test_the_result_that_the_worker_replies_answers_the_cancel(desk):
    client, _ = desk.connect(), desk.add_worker()
    desk.submit(1)
    answers = [desk.cancel(1), desk.cancel(1)]
    desk.asked(1).answer(TaskResult((row(1),)))
    assert [answer.reply for answer in answers] == [TaskResult((row(1),))] * 2
    assert desk.kit.messages_to(client) == []
    assert desk.is_at_rest()


def test_an_interrupted_row_while_canceling_confirms(desk):
    desk.connect()
    worker = desk.add_worker()
    desk.submit(1)
    answer = desk.cancel(1)
    desk.end(worker, row(1, RowStatus.INTERRUPTED))
    assert answer.reply == confirm(1, CANCELED)


def test_a_return_while_canceling_confirms_and_the_task_never_runs(desk):
    desk.connect()
    first = desk.add_worker("w1")
    desk.submit(1, 2)
    answer = desk.cancel(2)
    desk.give_back(first, 2)
    assert answer.reply == confirm(2, CANCELED)
    assert desk.sent_to(desk.add_worker("w2")) == []
    desk.asked(2).answer(confirm(2, NOT_FOUND))
    assert desk.sent_to(first) == [1, 2]


def test_the_death_of_the_executor_while_canceling_confirms_and_the_task_never_runs_again(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1)
    answer = desk.cancel(1)
    desk.end(worker, row(1, RowStatus.WORKER_DIED))
    assert answer.reply == confirm(1, CANCELED)
    assert desk.results_to(client) == []
    assert desk.sent_to(desk.add_worker("w2")) == []
    assert desk.is_at_rest()


def test_a_task_that_was_returned_and_sent_again_is_cancelled_where_it_is_now(desk):
    desk.connect()
    first = desk.add_worker("w1")
    desk.submit(1, 2)
    desk.give_back(first, 2)
    second = desk.add_worker("w2")
    answer = desk.cancel(2)
    asked = desk.asked(2)
    assert asked.ref == second
    asked.answer(confirm(2, CANCELED))
    assert answer.reply == confirm(2, CANCELED)


def test_a_cancel_of_a_returned_task_finds_it_queued(desk):
    desk.connect()
    first = desk.add_worker("w1")
    desk.submit(1, 2)
    desk.give_back(first, 2)
    assert desk.cancel(2).reply == confirm(2, CANCELED)
    assert desk.kit.asked == []
    assert desk.sent_to(desk.add_worker("w2")) == []


def test_loads_are_back_at_zero_after_every_kind_of_end(desk):
    desk.connect()
    worker = desk.add_worker()
    desk.submit(*range(1, 9))
    for number in range(2, 7):
        desk.cancel(number)
    desk.end(worker, row(1), row(2), row(3, RowStatus.WORKER_DIED))
    desk.give_back(worker, 4)
    for number, kind in ((2, CANCELED), (3, CANCELED), (4, CANCELED), (5, CANCELED)):
        desk.asked(number).answer(confirm(number, kind))
    desk.asked(6).answer(confirm(6, NOT_FOUND))
    desk.end(worker, row(7, RowStatus.FAILED), row(8, RowStatus.INTERNAL))
    assert desk.is_at_rest()


def test_a_cancel_that_the_table_forbids_is_answered_with_the_internal_error(desk):
    client, _ = desk.connect(), desk.add_worker()
    desk.submit(1)
    desk.kit.actor.records[task_id(1)].state = TaskState.FAILED
    (told,) = desk.cancel(1).reply.rows
    assert told.status is RowStatus.INTERNAL
    assert told.payload.startswith(b"CANCEL_REQUESTED cannot happen in FAILED; task ")
    assert desk.results_to(client) == []
    assert desk.is_at_rest()


# --- several callers ---------------------------------------------------------------------------


def test_a_second_cancel_joins_the_first(desk):
    desk.connect()
    desk.add_worker()
    desk.submit(1)
    answers = [desk.cancel(1), desk.cancel(1), desk.cancel(1, force=False)]
    assert len(desk.kit.asked) == 1
    desk.asked(1).answer(confirm(1, CANCELED))
    assert [answer.reply for answer in answers] == [confirm(1, CANCELED)] * 3


def test_a_second_cancel_with_force_travels_and_the_refusal_of_the_first_does_not_count(desk):
    desk.connect()
    desk.add_worker()
    desk.submit(1)
    answers = [desk.cancel(1, force=False), desk.cancel(1, force=True)]
    gentle, strong = desk.asked(1), desk.asked(1)
    assert (gentle.message.force, strong.message.force) == (False, True)
    gentle.answer(confirm(1, FAILED))
    assert not any(answer.replied for answer in answers)
    strong.answer(confirm(1, CANCELED))
    assert [answer.reply for answer in answers] == [confirm(1, CANCELED)] * 2


def test_a_second_cancel_with_a_grace_of_its_own_travels(desk):
    desk.connect()
    desk.add_worker()
    desk.submit(1)
    desk.cancel(1)
    desk.cancel(1, grace_s=0.0)
    desk.cancel(1, force=False, grace_s=0.0)
    assert [asked.message.grace_s for asked in desk.kit.asked] == [None, 0.0]


def test_the_answers_of_both_requests_confirm_once(desk):
    client, _ = desk.connect(), desk.add_worker()
    desk.submit(1)
    desk.cancel(1, force=False)
    desk.cancel(1)
    gentle, strong = desk.asked(1), desk.asked(1)
    strong.answer(confirm(1, CANCELED))
    gentle.answer(confirm(1, CANCELED))
    assert len(desk.kit.replies) == 3  # the client's connect and two cancels
    assert desk.confirms_to(client) == []


# --- a worker that does not answer -------------------------------------------------------------


def test_a_worker_that_does_not_answer_is_asked_again_and_the_callers_are_told(desk):
    client, _ = desk.connect(), desk.add_worker()
    desk.submit(1)
    answer = desk.cancel(1, grace_s=2.0)
    first = desk.asked(1)
    desk.kit.advance(CANCEL_TIMEOUT_S + 2.0)
    assert first.state is AskState.EXPIRED
    assert answer.reply == confirm(1, FAILED)
    again = desk.asked(1)
    assert again.message == first.message
    again.answer(confirm(1, CANCELED))
    assert desk.confirms_to(client) == [TaskCancelConfirm(task_id(1), CANCELED)]
    assert desk.is_at_rest()


@pytest.mark.parametrize("as_reply", [True, False])
def test_a_result_after_an_unanswered_cancel_reaches_the_client(desk, as_reply):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1)
    desk.cancel(1)
    desk.kit.advance(CANCEL_TIMEOUT_S)
    if as_reply:
        desk.kit.asked[-1].answer(TaskResult((row(1),)))
    else:
        desk.end(worker, row(1))
    assert desk.results_to(client) == [row(1)]


def test_a_refusal_after_an_unanswered_cancel_says_nothing_more(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1)
    desk.cancel(1, force=False)
    desk.kit.advance(CANCEL_TIMEOUT_S)
    desk.kit.asked[-1].answer(confirm(1, FAILED))
    assert desk.kit.messages_to(client) == []
    desk.end(worker, row(1))
    assert desk.results_to(client) == [row(1)]


def test_a_new_caller_joins_a_request_that_is_being_repeated(desk):
    client, _ = desk.connect(), desk.add_worker()
    desk.submit(1)
    desk.cancel(1)
    desk.kit.advance(CANCEL_TIMEOUT_S)
    answer = desk.cancel(1)
    desk.kit.asked[-1].answer(confirm(1, CANCELED))
    assert answer.reply == confirm(1, CANCELED)
    assert desk.confirms_to(client) == []


def test_of_a_batch_only_what_is_queued_is_dropped(desk):
    client, worker = desk.connect(), desk.add_worker(credit=1)
    desk.submit(1, 2, 3)
    assert desk.drop(3, 2, 1, 99) == [3, 2]
    assert desk.sent_to(worker) == [1]
    desk.end(worker, row(1))
    assert desk.sent_to(worker) == [1], "what was dropped never runs"
    assert desk.results_to(client) == [row(1)]
    assert desk.confirms_to(client) == []
    assert desk.is_at_rest()
