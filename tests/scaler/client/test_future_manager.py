"""The future manager: submits, results, output, and how it ends."""

from __future__ import annotations

from concurrent.futures import CancelledError

import msgspec
import pytest

from actors import ActorStoppedError, TerminationReason
from scaler.client.future import CancelOutcome
from scaler.client.future_manager import BreakManager, CloseManager
from scaler.client.submissions import SubmissionsReady
from scaler.errors import ClusterBrokenError, WorkerDiedError
from scaler.limits import CLOSE_TIMEOUT_S
from scaler.protocol.tasks import (
    ClientConnect,
    ClientConnected,
    ClientDisconnect,
    RowStatus,
    TaskCancelConfirm,
    TaskStarted,
    TaskSubmit,
)
from tests.scaler.client.office import CANCELED, CLIENT, NOT_FOUND, Office, row_of


@pytest.fixture
def office() -> Office:
    return Office()


# --- submit and result --------------------------------------------------------------------------


def test_it_introduces_its_client_and_watches_the_scheduler():
    office = Office(connected=False)
    assert office.kit.take_asked(ClientConnect).message == ClientConnect(CLIENT)
    assert office.kit.watched == [office.scheduler]


def test_new_tasks_travel_in_one_message(office):
    futures = office.submit(3)
    submit = office.kit.take(TaskSubmit)
    assert [task.task_id for task in submit.tasks] == [future.task_id for future in futures]
    assert [function.function_id for function in submit.functions] == [b"f"]
    assert all(not future.done() for future in futures)


def test_a_call_for_tasks_that_were_taken_already_sends_nothing(office):
    office.submit(1)
    office.kit.clear()
    office.kit.tell(SubmissionsReady())
    assert office.kit.told == []


def test_results_resolve_their_futures_and_give_credit_back(office):
    first, second, third = office.submit(3)
    office.end(row_of(first, 1), row_of(third, 3))
    assert (first.result(), third.result()) == (1, 3)
    assert not second.done()
    assert office.released_tasks == 2
    office.end(row_of(second, 2))
    assert office.called_back == [first, third, second], "in the order of their results"
    assert office.is_at_rest()


def test_results_of_one_turn_are_resolved_together(office):
    first, second = office.submit(2)
    with office.kit.turn():
        office.end(row_of(first))
        assert not first.done()
        office.end(row_of(second))
    assert first.done()
    assert second.done()


def test_a_second_result_changes_nothing(office):
    (future,) = office.submit()
    office.end(row_of(future, "first"))
    office.end(row_of(future, "second"))
    assert future.result() == "first"
    assert office.is_at_rest()


def test_a_task_that_died_raises_in_its_future(office):
    (future,) = office.submit()
    row = row_of(future, status=RowStatus.WORKER_DIED)
    office.end(msgspec.structs.replace(row, payload=b"killed by SIGKILL"))
    with pytest.raises(WorkerDiedError, match="killed by SIGKILL"):
        future.result(0)


def test_a_task_that_runs_is_running(office):
    first, second = office.submit(2)
    office.kit.tell(TaskStarted((first.task_id, 99)))
    assert first.running()
    assert not second.running()


# --- output -------------------------------------------------------------------------------------


def test_a_future_waits_until_what_its_task_printed_is_shown(office):
    printing, silent = office.submit(2)
    office.print(printing)
    office.print(printing, "again\n")
    office.end(row_of(printing, 1), row_of(silent, 2))
    assert [output.text for output in office.shown] == ["hello\n", "again\n"]
    assert silent.result() == 2
    assert not printing.done()
    (shown,) = office.after
    shown()
    assert printing.result() == 1
    assert office.is_at_rest()


def test_what_an_unknown_task_printed_is_dropped(office):
    (future,) = office.submit()
    office.end(row_of(future))
    office.print(future)
    assert office.shown == []
    assert office.is_at_rest()


def test_a_result_that_waits_for_its_output_is_the_answer_to_a_cancel_that_finds_nothing(office):
    (future,) = office.submit()
    office.print(future)
    office.end(row_of(future, 1))
    answer = office.ask_cancel(future, force=False)
    office.confirm(future, NOT_FOUND)
    assert answer.replied
    assert (future.result(), future.cancel_outcome) == (1, CancelOutcome.FAILED)
    office.after[0]()
    assert office.is_at_rest()


def test_a_result_that_crossed_a_cancel_waits_for_its_output_too(office):
    (future,) = office.submit()
    office.print(future)
    answer = office.ask_cancel(future)
    office.cross(future)
    assert not answer.replied
    office.after[0]()
    assert answer.replied
    assert future.cancel_outcome is CancelOutcome.RESULT
    assert office.is_at_rest()


def test_a_cancelled_task_does_not_wait_for_its_output(office):
    (future,) = office.submit()
    office.print(future)
    office.ask_cancel(future)
    office.confirm(future)
    assert future.cancelled()
    assert office.is_at_rest()


# --- confirms that nobody asked for (any more) ----------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [(CANCELED, CancelOutcome.CANCELED), (NOT_FOUND, CancelOutcome.NOT_FOUND)],
)
def test_a_confirm_that_is_told_cancels_the_future(office, kind, outcome):
    (future,) = office.submit()
    office.kit.tell(TaskCancelConfirm(future.task_id, kind))
    assert future.cancelled()
    assert future.cancel_outcome is outcome
    assert office.is_at_rest()


def test_a_confirm_of_an_unknown_task_changes_nothing(office):
    (future,) = office.submit()
    office.end(row_of(future, 1))
    office.kit.tell(TaskCancelConfirm(future.task_id, CANCELED))
    assert future.result() == 1


# --- the end ------------------------------------------------------------------------------------


def test_closing_cancels_all_and_waits_until_nothing_is_left(office):
    first, second = office.submit(2)
    third = office.put()  # its announcement is still on the way
    closed = office.kit.ask(CloseManager(0.2))
    assert [len(told.message.tasks) for told in office.kit.told] == [2, 1]
    asked = office.kit.take_asked(ClientDisconnect)
    assert (asked.message, asked.timeout_s) == (ClientDisconnect(CLIENT, 0.2), CLOSE_TIMEOUT_S)
    office.end(row_of(first, 1))
    assert not closed.replied
    asked.answer(ClientDisconnect(CLIENT, 0.0))
    assert closed.replied
    assert first.result() == 1
    for future in (second, third):
        assert future.cancel_outcome is CancelOutcome.CANCELED
        with pytest.raises(CancelledError):
            future.result()
    assert office.called_back == [first, third, second], "the newest first"
    assert not office.kit.alive
    assert office.is_at_rest()


def test_a_close_that_is_not_answered_says_so_in_the_outcome(office):
    (future,) = office.submit()
    closed = office.kit.ask(CloseManager(0.2))
    office.kit.advance(CLOSE_TIMEOUT_S)
    assert closed.replied
    assert future.cancel_outcome is CancelOutcome.TIMEOUT
    assert office.is_at_rest()


def test_closing_wakes_who_waits_for_a_cancel(office):
    (future,) = office.submit()
    cancelled = office.ask_cancel(future)
    office.kit.ask(CloseManager(0.2))
    office.kit.take_asked(ClientDisconnect).answer(ClientDisconnect(CLIENT, 0.0))
    assert cancelled.error is None or isinstance(cancelled.error, ActorStoppedError)
    assert cancelled.replied
    assert future.cancelled()


def test_closing_twice_is_answered_twice(office):
    office.submit()
    closes = [office.kit.ask(CloseManager(0.2)), office.kit.ask(CloseManager(0.2))]
    for _ in closes:
        if office.kit.alive:
            office.kit.take_asked(ClientDisconnect).answer(ClientDisconnect(CLIENT, 0.0))
    assert all(close.replied for close in closes)


def test_the_end_of_the_scheduler_ends_every_future_and_those_to_come(office):
    futures = office.submit(2)
    futures.append(office.put())
    office.kit.terminate(office.scheduler, TerminationReason.FAILED, "a bug")
    futures += office.submit(1)
    for future in futures:
        with pytest.raises(ClusterBrokenError, match="the scheduler has ended: a bug"):
            future.result(0)
    assert office.is_at_rest()


def test_who_waits_for_a_cancel_is_told_when_the_scheduler_ends(office):
    (future,) = office.submit()
    answer = office.ask_cancel(future)
    office.kit.terminate(office.scheduler, TerminationReason.FAILED, "a bug")
    assert answer.replied
    assert isinstance(future.exception(0), ClusterBrokenError)
    assert office.is_at_rest()


def test_a_broken_cluster_ends_every_future_with_its_error(office):
    (future,) = office.submit()
    office.kit.tell(BreakManager(ClusterBrokenError("no memory")))
    (later,) = office.submit()
    for broken in (future, later):
        with pytest.raises(ClusterBrokenError, match="no memory"):
            broken.result(0)
    assert office.is_at_rest()


def test_the_first_cause_of_a_break_stays(office):
    office.kit.tell(BreakManager(ClusterBrokenError("first")))
    office.kit.tell(BreakManager(ClusterBrokenError("second")))
    (future,) = office.submit()
    with pytest.raises(ClusterBrokenError, match="first"):
        future.result(0)


def test_stopping_leaves_no_future_open(office):
    (future,) = office.submit()
    late = office.put()
    office.kit.stop()
    for ended in (future, late):
        with pytest.raises(ClusterBrokenError, match="the cluster has ended"):
            ended.result(0)
    assert [type(error) for error in office.broken_off] == [ClusterBrokenError]


def test_a_manager_that_was_closed_breaks_nothing_off(office):
    office.kit.ask(CloseManager(0.2))
    office.kit.take_asked(ClientDisconnect).answer(ClientDisconnect(CLIENT, 0.0))
    assert office.kit.stopped
    assert office.broken_off == []


def test_a_client_whose_number_is_taken_is_broken():
    office = Office(connected=False)
    (future,) = office.submit()
    office.kit.take_asked(ClientConnect).answer(ClientConnected(False))
    with pytest.raises(ClusterBrokenError, match="the client's number is taken"):
        future.result(0)
    (later,) = office.submit()
    assert later.done()


def test_a_scheduler_that_does_not_answer_the_client_breaks_it():
    office = Office(connected=False)
    (future,) = office.submit()
    office.kit.take_asked(ClientConnect).expire()
    with pytest.raises(ClusterBrokenError, match=r"does not take this client: .*did not answer"):
        future.result(0)
