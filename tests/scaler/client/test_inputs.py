"""Futures as arguments: what the client tells the scheduler, and what it picks of a future."""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pytest

from scaler.client.future import CancelOutcome
from scaler.client.inputs import dumped, given_inputs
from scaler.client.rows import input_row
from scaler.client.submissions import SubmissionsReady
from scaler.errors import ClientError, InputFailedError, SerializationError, WorkerDiedError
from scaler.limits import INPUTS_TIMEOUT_S
from scaler.protocol.inputs import FailedInput, failed_input
from scaler.protocol.tasks import AwaitInputs, InputGiven, InputsUnknown, RowStatus, TaskSubmit
from scaler.serialization.values import dump_arguments, load_arguments
from tests.scaler.client.office import Office, row_of


@pytest.fixture
def office() -> Office:
    return Office()


def submit_needing(office: Office, *needs: Any) -> Any:
    """Submit a task that needs these; return its future and what the scheduler was asked."""
    office.kit.clear()
    future = office.put(*needs)
    office.kit.tell(SubmissionsReady())
    (submit,) = [m for m in office.kit.messages_to(office.scheduler) if type(m) is TaskSubmit]
    assert submit.tasks[0].needs == tuple(need.task_id for need in needs)
    asked = office.kit.take_asked(AwaitInputs)
    assert asked.message == AwaitInputs((future.task_id,))
    return future, asked


def given(office: Office) -> list[InputGiven]:
    return [m for m in office.kit.messages_to(office.scheduler) if type(m) is InputGiven]


def test_the_scheduler_is_told_what_it_does_not_know_any_more(office):
    ended, running = office.submit(2)
    ended.name = "module.f"
    row = row_of(ended, "value")
    office.end(row)
    future, asked = submit_needing(office, ended, running)
    asked.answer(InputsUnknown(((future.task_id, ended.task_id),)))
    assert given(office) == [InputGiven(future.task_id, ended.task_id, "module.f", row)]


def test_a_row_that_waits_for_its_output_is_told_too(office):
    (ended,) = office.submit()
    office.print(ended)
    row = row_of(ended, "value")
    office.end(row)
    assert not ended.done()
    future, asked = submit_needing(office, ended)
    asked.answer(InputsUnknown(((future.task_id, ended.task_id),)))
    assert [message.row for message in given(office)] == [row]


def test_of_what_was_cancelled_there_is_no_row(office):
    (ended,) = office.submit()
    office.end(row_of(ended, "value"))
    assert ended.cancel()
    future, asked = submit_needing(office, ended)
    asked.answer(InputsUnknown(((future.task_id, ended.task_id),)))
    assert [message.row for message in given(office)] == [None]


def test_who_is_not_answered_asks_again(office):
    (running,) = office.submit()
    _, asked = submit_needing(office, running)
    assert asked.timeout_s == INPUTS_TIMEOUT_S
    asked.expire()
    office.kit.take_asked(AwaitInputs).answer(InputsUnknown(()))
    assert given(office) == []


# --- what a future gives ------------------------------------------------------------------------


def test_a_large_value_that_was_opened_travels_itself_and_a_later_one_stays_pickled(session):
    future = session.future()
    future.set_result_ready(session.row(["x" * 1_000]))
    assert future.result() == ["x" * 1_000]
    payload, _, needs = dumped(session.objects, dump_arguments, (future,), {})
    assert needs == ()
    assert load_arguments(payload)[0] == (["x" * 1_000],)
    pending = session.future()
    _, _, needs = dumped(session.objects, dump_arguments, (pending,), {})
    assert needs == (pending,)
    row = session.row(["y" * 1_000])
    pending.set_result_ready(row)
    assert pending.result() == ["y" * 1_000]
    assert input_row(pending) == row, "somebody needs it"


def test_a_large_value_that_cannot_be_opened_here_stays_pickled_for_a_task_that_needs_it(session):
    future = session.future()
    row = msgspec.structs.replace(session.row("value"), payload=b"\x80\x05" + bytes(1_000))
    future.set_result_ready(row)
    assert isinstance(future.exception(), SerializationError)
    _, _, needs = dumped(session.objects, dump_arguments, (future,), {})
    assert needs == (future,)
    assert input_row(future) == row


def test_futures_of_other_clients_are_refused(session):
    future = session.future()
    assert given_inputs([future], session) == ((future.task_id,), (None,), (future,))
    with pytest.raises(ClientError, match="of another client"):
        given_inputs([future], Office())


# --- what the task's own future raises ----------------------------------------------------------


def failed(session: Any, why: FailedInput) -> BaseException:
    future = session.future()
    future.name = "module.g"
    future.set_result_ready(session.row(status=RowStatus.INPUT_FAILED, payload=why.pack()))
    error = future.exception()
    assert type(error) is InputFailedError
    return error


def test_the_error_names_the_task_and_its_cause_is_what_that_one_raised(session):
    row = session.row(error=ValueError("wrong"))
    error = failed(session, failed_input(5, "module.f", row))
    assert str(error) == (
        "module.g: task 5 (module.f), whose result is an argument of this one, failed"
    )
    assert repr(error.__cause__) == "ValueError('wrong')"
    assert pickle.loads(pickle.dumps(error)).args == error.args


def test_the_cause_may_be_an_infrastructure_error_or_none(session):
    row = session.row(status=RowStatus.WORKER_DIED, payload=b"exit code 3")
    error = failed(session, failed_input(5, "module.f", row))
    assert type(error.__cause__) is WorkerDiedError
    error = failed(session, failed_input(5, "module.f", None))
    assert (str(error).endswith("was cancelled"), error.__cause__) == (True, None)


def test_a_future_that_ended_is_cancelled_and_gives_nothing(session):
    future = session.future()
    future.set_cancel_confirmed(CancelOutcome.CANCELED)
    assert input_row(future) is None
    with pytest.raises(SerializationError):
        load_arguments(dumped(session.objects, dump_arguments, (future,), {})[0])
