"""How a worker comes by its executors, and what it does when they do not start."""

from __future__ import annotations

import pytest

from actors import LaunchError
from scaler.errors import ClusterStartError
from scaler.limits import (
    EXECUTOR_START_FAILURES,
    EXECUTOR_START_PAUSES_S,
    EXECUTOR_VAIN_DEATHS,
)
from scaler.protocol.tasks import RowStatus
from scaler.worker.port import NoExecutor
from tests.scaler.worker.slot import CANCELED, NOT_FOUND, Slot, confirm

LONGEST_S = max(EXECUTOR_START_PAUSES_S)


def fail_to_start(slot: Slot, times: int) -> None:
    """Have executors exit before they are up."""
    for _ in range(times):
        slot.executor.exit("exit code 1")
        slot.kit.advance(LONGEST_S)


def test_there_is_a_pause_for_each_failure_but_the_last():
    assert len(EXECUTOR_START_PAUSES_S) == EXECUTOR_START_FAILURES - 1


def test_an_executor_that_dies_is_replaced_at_once():
    slot = Slot()
    slot.executor.exit()
    assert len(slot.executors) == 2
    assert slot.kit.actor.accepting


def test_an_executor_that_does_not_start_is_started_again_after_growing_pauses():
    slot = Slot(up=False)
    for count, pause_s in enumerate(EXECUTOR_START_PAUSES_S, start=1):
        slot.executor.exit("exit code 1")
        if pause_s:
            slot.kit.advance(pause_s * 0.99)
            assert len(slot.executors) == count
            slot.kit.advance(pause_s * 0.02)
        assert len(slot.executors) == count + 1
    assert all(executor.closed for executor in slot.executors[:-1])
    with pytest.raises(ClusterStartError, match=r"worker-1 did not start, 5 times.*exit code 1"):
        slot.executor.exit("exit code 1")
    assert not slot.kit.alive
    assert slot.executor.closed


def test_failures_to_start_count_only_in_a_row():
    slot = Slot(up=False)
    for _ in range(3):
        fail_to_start(slot, EXECUTOR_START_FAILURES - 1)
        slot.executor.up()
        slot.executor.exit("exit code 1")
    assert slot.kit.alive


@pytest.mark.parametrize("error", [OSError("no descriptors left"), LaunchError("it is gone")])
def test_an_executor_that_cannot_be_launched_is_tried_again(error):
    slot = Slot()
    slot.launch_error = error
    slot.executor.exit()
    slot.run(1)
    slot.kit.advance(EXECUTOR_START_PAUSES_S[1] * 0.5)
    assert len(slot.executors) == 1
    slot.launch_error = None
    slot.kit.advance(EXECUTOR_START_PAUSES_S[1])
    assert len(slot.executors) == 2
    slot.executor.up()
    assert slot.executor.complete().task_id == 1


def test_a_worker_whose_executors_cannot_be_launched_gives_up():
    slot = Slot()
    slot.launch_error = OSError("no descriptors left")
    slot.executor.exit()
    slot.run(1, 2)
    with pytest.raises(ClusterStartError, match=r"5 times.*OSError: no descriptors left"):
        slot.kit.advance(sum(EXECUTOR_START_PAUSES_S) * 1.01)
    assert not slot.kit.alive
    assert slot.returned() == [1, 2]


def test_a_worker_that_gives_up_gives_its_tasks_back():
    slot = Slot(up=False)
    fail_to_start(slot, EXECUTOR_START_FAILURES - 1)
    slot.run(1, 2)
    with pytest.raises(ClusterStartError):
        slot.executor.exit("exit code 1")
    assert slot.returned() == [1, 2]


def test_an_executor_that_goes_with_its_launcher_before_it_is_up_is_no_failure_to_start():
    slot = Slot(up=False)
    for _ in range(2 * EXECUTOR_START_FAILURES):
        slot.executor.exit("the launcher died", blameless=True)
    assert len(slot.executors) == 2 * EXECUTOR_START_FAILURES + 1


def test_a_task_that_comes_during_a_pause_waits_for_the_next_executor():
    slot = Slot(up=False)
    slot.executor.exit()
    slot.executor.exit()
    slot.run(1, 2, 3)
    assert slot.cancel(2).reply == confirm(2, CANCELED)
    assert slot.cancel(9).reply == confirm(9, NOT_FOUND)
    slot.kit.advance(LONGEST_S)
    (frame,) = slot.executor.frames
    assert [task.task_id for task in frame.tasks] == [1, 3]


def test_a_worker_that_is_stopped_during_a_pause_gives_back_what_it_held():
    slot = Slot(up=False)
    slot.executor.exit()
    slot.executor.exit()
    slot.run(1)
    slot.kit.stop()
    assert slot.returned() == [1]
    assert slot.kit.timers == {}


def test_the_next_attempt_of_a_task_that_killed_its_executor_is_sent_to_the_new_one():
    slot = Slot()
    slot.run(1, 2)
    slot.executor.begin()
    with slot.kit.turn():
        slot.executor.exit()
        slot.run(1, attempt=2)
    assert slot.rows()[0].status is RowStatus.WORKER_DIED
    assert slot.returned() == [2]
    slot.executor.up()
    row = slot.executor.complete()
    assert (row.task_id, row.ordinal, row.attempt) == (1, 1, 2)
    assert slot.rows()[-1] == row
    slot.kit.advance(1.0)
    assert slot.is_at_rest()


def test_no_executor_has_nothing_and_does_nothing():
    port = NoExecutor()
    assert port.take_back([1]) == ()
    numbers = (port.running(), port.running_for(), port.item(), port.rss_bytes(), port.answered())
    assert numbers == (0, 0, 0, 0, 0)
    port.interrupt(1)
    port.kill()
    port.close()
    with pytest.raises(AssertionError):
        port.send([1], [])


# --- executors that die before they have begun anything -------------------------------------------


def die_in_vain(slot: Slot, times: int) -> None:
    """Have executors come up and die with what they were sent, before they begin any of it."""
    for _ in range(times):
        slot.executor.up()
        slot.executor.exit("killed by SIGKILL")


def test_tasks_that_wait_when_executors_die_again_and_again_are_sent_one_by_one():
    slot = Slot()
    for _ in range(EXECUTOR_VAIN_DEATHS):
        slot.run(1, 2, 3)
        die_in_vain(slot, 1)
        assert slot.returned() == [1, 2, 3]
        slot.kit.clear()
    slot.run(1, 2, 3)
    assert [task.task_id for frame in slot.executor.frames for task in frame.tasks] == [1]
    slot.executor.complete()
    slot.kit.advance(0.0)
    assert [task.task_id for frame in slot.executor.frames for task in frame.tasks] == [1, 2, 3]


def test_a_task_that_kills_each_executor_that_receives_it_is_blamed_and_those_behind_it_are_not():
    slot = Slot()
    for _ in range(EXECUTOR_VAIN_DEATHS):
        slot.run(1, 2, 3)
        die_in_vain(slot, 1)
    slot.kit.clear()
    slot.run(1, 2, 3)
    die_in_vain(slot, 1)
    (row,) = slot.rows()
    assert (row.task_id, row.status, row.started_s) == (1, RowStatus.WORKER_DIED, row.ended_s)
    assert b"before the task had begun: killed by SIGKILL" in row.payload
    assert slot.returned() == [2, 3]
    assert slot.told[-1].rows == (row,), "it must be queued before those behind it"
    slot.kit.advance(1.0)
    assert slot.is_at_rest()


def test_deaths_of_idle_executors_and_with_the_launcher_make_nobody_suspect():
    slot = Slot()
    die_in_vain(slot, EXECUTOR_VAIN_DEATHS)
    for _ in range(EXECUTOR_VAIN_DEATHS + 1):
        slot.run(1)
        slot.executor.up()
        slot.executor.exit(blameless=True)
    assert slot.rows() == []
    assert slot.kit.actor.vain_deaths == 0


def test_an_executor_that_dies_while_its_task_is_being_cancelled_has_not_died_in_vain():
    slot = Slot()
    slot.run(1, 2)
    slot.executor.begin()
    slot.cancel(1)
    slot.executor.exit("killed by SIGKILL")
    assert slot.returned() == [2]
    assert slot.kit.actor.vain_deaths == 0
