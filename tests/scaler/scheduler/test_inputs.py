"""Tasks that need the results of others, as the scheduler decides."""

from __future__ import annotations

from typing import Any

import pytest

from scaler.protocol.inputs import unpack_failed_input
from scaler.protocol.objects import Body
from scaler.protocol.tasks import (
    AwaitInputs,
    ClientDisconnect,
    InputGiven,
    InputsUnknown,
    RowStatus,
    TaskPolicy,
)
from tests.scaler.scheduler.desk import CANCELED, Desk, confirm, row, task_id


@pytest.fixture
def desk() -> Desk:
    made = Desk()
    made.connect()
    return made


def sent(desk: Desk, worker: Any) -> dict[int, tuple[bytes, ...]]:
    """Inputs of each task that the worker was sent, by its number."""
    return {
        task.task_id & 0xFFFF: tuple(body.payload for body in task.inputs if body)
        for number in range(1, 10)
        for run in desk.runs_of(number, worker)
        for task in run.tasks
    }


def text_of(told: Any) -> str:
    assert told.status is RowStatus.INPUT_FAILED
    return unpack_failed_input(told.payload).text


def test_a_task_waits_for_what_it_needs_and_is_sent_with_it(desk):
    worker = desk.add_worker()
    desk.submit(1, 2)
    desk.submit(3, needs=(1, 2))
    assert desk.status().waiting == 1
    desk.end(worker, row(2, payload=b"two"))
    assert sorted(sent(desk, worker)) == [1, 2]
    desk.end(worker, row(1, payload=b"one"))
    assert sent(desk, worker)[3] == (b"one", b"two")
    desk.end(worker, row(3))
    assert desk.is_at_rest()


def test_what_ended_before_is_asked_of_the_client(desk):
    worker = desk.add_worker()
    desk.submit(1, 2)
    desk.end(worker, row(1, payload=b"one"))
    desk.submit(3, needs=(1, 2))
    asked = desk.kit.ask(AwaitInputs((task_id(3),)), sender=desk.clients[1])
    assert asked.reply == InputsUnknown(((task_id(3), task_id(1)),))
    given = InputGiven(task_id(3), task_id(1), "module.f", row(1, payload=b"one"))
    desk.kit.tell(given, sender=desk.clients[1])
    desk.end(worker, row(2, payload=b"two"))
    assert sent(desk, worker)[3] == (b"one", b"two")
    desk.kit.tell(given, sender=desk.clients[1])  # once more changes nothing
    desk.end(worker, row(3))
    assert desk.is_at_rest()


def test_what_failed_fails_all_that_need_it_and_names_itself(desk):
    client, worker = desk.clients[1], desk.add_worker()
    desk.submit(1)
    desk.submit(2, needs=(1,))
    desk.submit(3, needs=(2,))
    desk.submit(4, needs=(3, 1))
    desk.end(worker, row(1, RowStatus.FAILED, payload=b"error"))
    first, second, third, fourth = desk.results_to(client)
    assert first.status is RowStatus.FAILED
    direct = f"task {task_id(1)} (module.f), whose result is an argument of this one, failed"
    assert [told.task_id & 0xFFFF for told in (second, third, fourth)] == [2, 4, 3]
    assert text_of(second) == text_of(third) == direct
    assert text_of(fourth) == (
        f"task {task_id(2)} (module.f), whose result is an argument of this one, "
        f"did not run: {direct}"
    )
    for told in (second, third, fourth):
        failed = unpack_failed_input(told.payload)
        assert (failed.status, failed.payload) == (RowStatus.FAILED, b"error")
    assert desk.is_at_rest()


def test_a_long_chain_fails_without_going_deep(desk):
    worker = desk.add_worker()
    desk.submit(1)
    for number in range(2, 3_000):
        desk.submit(number, needs=(number - 1,))
    desk.end(worker, row(1, RowStatus.FAILED))
    last = desk.results_to(desk.clients[1])[-1]
    assert last.task_id == task_id(2_999)
    assert len(last.payload) < 500
    assert desk.is_at_rest()


def test_what_was_cancelled_fails_what_needs_it(desk):
    client = desk.clients[1]
    desk.submit(1)  # no worker: it is queued
    desk.submit(2, needs=(1,))
    assert desk.cancel(1).reply == confirm(1, CANCELED)
    (told,) = desk.results_to(client)
    assert text_of(told).endswith("was cancelled")
    assert desk.is_at_rest()


def test_a_cancel_of_what_waits_is_confirmed_at_once(desk):
    worker = desk.add_worker()
    desk.submit(1)
    desk.submit(2, needs=(1,))
    assert desk.cancel(2).reply == confirm(2, CANCELED)
    desk.end(worker, row(1))
    assert sorted(sent(desk, worker)) == [1]
    assert desk.is_at_rest()


def test_what_waits_meets_its_deadline(desk):
    worker = desk.add_worker()
    desk.submit(1)
    desk.submit(2, needs=(1,), policy=TaskPolicy(deadline_s=1.0))
    desk.kit.advance(1.0)
    (told,) = desk.results_to(desk.clients[1])
    assert (told.task_id, told.status) == (task_id(2), RowStatus.TIMED_OUT)
    desk.end(worker, row(1))
    assert desk.is_at_rest()


def test_a_retry_keeps_its_inputs(desk):
    worker = desk.add_worker()
    desk.submit(1)
    desk.submit(2, needs=(1,), policy=TaskPolicy(retries=1))
    desk.end(worker, row(1, payload=b"one"))
    desk.end(worker, row(2, RowStatus.FAILED))
    (*_, last) = [t for run in desk.runs_of(2, worker) for t in run.tasks]
    assert (last.attempt, last.inputs) == (2, (Body(b"one"),))
    desk.end(worker, row(2, attempt=2))
    assert desk.is_at_rest()


def test_a_client_that_leaves_takes_what_waits_along(desk):
    worker = desk.add_worker()
    desk.submit(1)
    desk.submit(2, needs=(1,))
    answer = desk.kit.ask(ClientDisconnect(1, 0.2), sender=desk.clients[1])
    assert not answer.replied
    assert not desk.kit.actor.inputs.wanted
    desk.end(worker, row(1, RowStatus.INTERRUPTED))
    assert desk.is_at_rest()


# --- inputs that come with the task ---------------------------------------------------------------

ONE, TWO = Body(b"one"), Body(b"two")


def test_a_task_that_comes_with_all_its_inputs_waits_for_nothing(desk):
    worker = desk.add_worker()
    desk.submit(3, needs=(1, 2), inputs=(ONE, TWO))
    assert desk.status().waiting == 0
    assert sent(desk, worker) == {3: (b"one", b"two")}
    desk.end(worker, row(3))
    assert desk.is_at_rest()


def test_a_task_that_comes_with_some_inputs_waits_for_the_rest_alone(desk):
    worker = desk.add_worker()
    desk.submit(2)
    desk.submit(4, needs=(1, 2, 3), inputs=(ONE, None, Body(b"three")))
    asked = desk.kit.ask(AwaitInputs((task_id(4),)), sender=desk.clients[1])
    assert asked.reply == InputsUnknown(()), "what came with the task is known"
    assert list(desk.kit.actor.inputs.wanted) == [task_id(2)]
    assert desk.status().waiting == 1
    desk.end(worker, row(2, payload=b"two"))
    assert sent(desk, worker)[4] == (b"one", b"two", b"three")
    desk.end(worker, row(4))
    assert desk.is_at_rest()


def test_a_task_that_came_with_an_input_asks_for_one_that_ended_before(desk):
    worker = desk.add_worker()
    desk.submit(2)
    desk.end(worker, row(2))
    desk.submit(3, needs=(1, 2), inputs=(ONE, None))
    asked = desk.kit.ask(AwaitInputs((task_id(3),)), sender=desk.clients[1])
    assert asked.reply == InputsUnknown(((task_id(3), task_id(2)),))
    given = InputGiven(task_id(3), task_id(2), "module.f", row(2, payload=b"two"))
    desk.kit.tell(given, sender=desk.clients[1])
    assert sent(desk, worker)[3] == (b"one", b"two")
    desk.end(worker, row(3))
    assert desk.is_at_rest()


def test_a_cancel_of_what_waits_for_the_rest_is_confirmed_at_once(desk):
    worker = desk.add_worker()
    desk.submit(2)
    desk.submit(3, needs=(1, 2), inputs=(ONE, None))
    assert desk.cancel(3).reply == confirm(3, CANCELED)
    assert not desk.kit.actor.inputs.there, "what came with it is let go"
    desk.end(worker, row(2))
    assert sorted(sent(desk, worker)) == [2]
    assert desk.is_at_rest()


def test_a_cancel_of_what_came_with_all_its_inputs_is_one_of_a_queued_task(desk):
    desk.submit(3, needs=(1,), inputs=(ONE,))  # no worker
    assert desk.cancel(3).reply == confirm(3, CANCELED)
    assert desk.is_at_rest()


@pytest.mark.parametrize("needs_first", [(1, 2), (2, 1)])
def test_what_failed_fails_a_task_that_has_its_other_input(desk, needs_first):
    worker = desk.add_worker()
    desk.submit(2)
    inputs = tuple(ONE if number == 1 else None for number in needs_first)
    desk.submit(3, needs=needs_first, inputs=inputs)
    desk.end(worker, row(2, RowStatus.FAILED, payload=b"error"))
    failed = desk.results_to(desk.clients[1])[-1]
    assert failed.task_id == task_id(3)
    assert f"task {task_id(2)}" in text_of(failed)
    assert desk.is_at_rest()


def test_a_retry_keeps_the_inputs_that_came_with_the_task(desk):
    worker = desk.add_worker()
    desk.submit(3, needs=(1,), inputs=(ONE,), policy=TaskPolicy(retries=1))
    desk.end(worker, row(3, RowStatus.FAILED))
    (*_, last) = [t for run in desk.runs_of(3, worker) for t in run.tasks]
    assert (last.attempt, last.inputs) == (2, (ONE,))
    desk.end(worker, row(3, attempt=2))
    assert desk.is_at_rest()


def test_a_client_that_leaves_takes_what_waits_for_the_rest_along(desk):
    worker = desk.add_worker()
    desk.submit(2)
    desk.submit(3, needs=(1, 2), inputs=(ONE, None))
    desk.leave()
    inputs = desk.kit.actor.inputs
    assert not inputs.wanted
    assert not inputs.there
    desk.end(worker, row(2, RowStatus.INTERRUPTED))
    assert desk.is_at_rest()
