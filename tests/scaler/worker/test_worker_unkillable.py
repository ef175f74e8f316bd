"""An executor that was killed and does not die: it hangs in the kernel."""

from __future__ import annotations

import logging

import pytest

from scaler.limits import CANCEL_SIGN_S, EXECUTOR_KILL_S, PREFETCH_TASKS
from scaler.protocol.tasks import RowStatus, TaskReturned, WorkerConnect
from tests.scaler.worker.slot import FAILED, Slot, confirm


@pytest.fixture
def slot() -> Slot:
    return Slot()


def hangs(slot: Slot, *, timeout_s: float | None = None) -> None:
    """Let task 1 begin, with task 2 behind it."""
    slot.run(1, timeout_s=timeout_s)
    slot.executor.begin()
    slot.run(2)


def test_a_task_at_its_timeout_ends_without_the_end_of_its_process(slot, caplog):
    hangs(slot, timeout_s=0.5)
    slot.kit.advance(0.5 + CANCEL_SIGN_S + 0.01)
    assert slot.executor.kills == 1
    assert slot.returned() == [2], "it has not begun"
    with caplog.at_level(logging.WARNING, "scaler"):
        slot.kit.advance(EXECUTOR_KILL_S)
    ((task_id, limit, how),) = slot.timed_out()
    assert (task_id, limit) == (1, "timeout")
    assert how == "its process 1001 cannot be killed, for 15 s now"
    assert caplog.messages == ["worker-1 is out of use: " + how]
    assert slot.is_at_rest()


def test_who_wants_to_stop_it_is_told_that_it_cannot_be_stopped(slot):
    hangs(slot)
    reply = slot.cancel(1)
    slot.kit.advance(CANCEL_SIGN_S + EXECUTOR_KILL_S - 0.01)
    assert not reply.replied
    slot.kit.advance(0.02)
    assert reply.reply == confirm(1, FAILED)
    (row,) = slot.rows()
    assert (row.task_id, row.status, row.final) == (1, RowStatus.WORKER_DIED, True)
    assert b"on worker-1, pid 1001: its process 1001 cannot be killed" in row.payload
    assert slot.is_at_rest()


def test_what_was_killed_for_its_memory_is_not_tried_again(slot):
    slot = Slot(max_memory_bytes=100)
    slot.run(1)
    slot.executor.begin()
    slot.executor.rss = 101
    slot.kit.advance(0.2)
    assert slot.executor.kills == 1
    slot.kit.advance(EXECUTOR_KILL_S)
    (row,) = slot.rows()
    assert (row.task_id, row.status, row.final) == (1, RowStatus.WORKER_DIED, True)


def test_its_slot_takes_no_task_until_the_process_is_gone(slot):
    hangs(slot)
    slot.cancel(1, grace_s=0.0)
    slot.kit.advance(EXECUTOR_KILL_S)
    assert slot.told[-1] == WorkerConnect("worker-1", 0)
    slot.run(3)  # it was on its way
    assert slot.told[-1] == TaskReturned((3,))
    assert len(slot.executors) == 1
    slot.executors[0].exit()
    assert len(slot.executors) == 2
    assert slot.told[-1] == TaskReturned((3,)), "its executor is not up yet"
    slot.executor.up()
    assert slot.told[-1] == WorkerConnect("worker-1", PREFETCH_TASKS)
    slot.run(3)
    slot.executor.complete()
    assert [row.task_id for row in slot.rows()] == [1, 3]
    assert [row.status for row in slot.rows()] == [RowStatus.WORKER_DIED, RowStatus.SUCCEEDED]


def test_a_death_in_time_is_a_death_as_ever(slot):
    hangs(slot)
    reply = slot.cancel(1, grace_s=0.0)
    slot.kit.advance(EXECUTOR_KILL_S - 0.01)
    slot.executor.exit()
    slot.executor.up()
    slot.kit.advance(10.0)
    assert reply.reply != confirm(1, FAILED)
    assert not [message for message in slot.told if isinstance(message, WorkerConnect)]
    assert slot.is_at_rest()
