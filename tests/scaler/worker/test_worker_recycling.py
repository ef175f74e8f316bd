"""How a worker replaces executors that ran enough tasks, or grew too large."""

from __future__ import annotations

import pytest

from scaler.limits import MEMORY_CHECK_S, RECALL_AFTER_S
from scaler.protocol.tasks import RowStatus, TaskStarted
from tests.scaler.worker.slot import CANCELED, Slot, confirm

GIB = 1 << 30
MIB = 1 << 20


def sent(slot: Slot) -> list[int]:
    """Ids of the tasks that the present executor was sent."""
    return [task.task_id for frame in slot.executor.frames for task in frame.tasks]


def replace(slot: Slot) -> None:
    """The executor was killed; the next one comes up."""
    assert slot.executor.kills == 1
    slot.executor.exit()
    slot.executor.up()


# --- after so many tasks -------------------------------------------------------------------------


def test_an_executor_is_sent_no_more_tasks_than_it_may_run():
    slot = Slot(max_tasks=2)
    slot.run(1, 2, 3, 4, 5)
    assert sent(slot) == [1, 2]
    slot.executor.complete()
    assert slot.executor.kills == 0
    slot.executor.complete()
    replace(slot)
    assert sent(slot) == [3, 4]
    assert slot.executor.frames[0].ordinals == (1, 2)
    for _ in range(2):
        slot.executor.complete()
    replace(slot)
    slot.executor.complete()
    assert [row.task_id for row in slot.rows()] == [1, 2, 3, 4, 5]
    assert all(row.status is RowStatus.SUCCEEDED for row in slot.rows())
    assert slot.returned() == []
    assert slot.executor.kills == 0
    slot.kit.advance(1.0)
    assert slot.is_at_rest()


def test_an_executor_is_replaced_after_its_last_task_though_none_waits():
    slot = Slot(max_tasks=1)
    slot.run(1)
    slot.executor.complete()
    replace(slot)
    assert len(slot.executors) == 2
    assert len(slot.rows()) == 1


def test_tasks_that_come_while_a_used_up_executor_goes_are_held():
    slot = Slot(max_tasks=1)
    slot.run(1)
    slot.executor.complete()
    slot.run(2)
    assert sent(slot) == [1]
    replace(slot)
    assert sent(slot) == [2]


def test_the_executor_of_a_task_that_was_cancelled_has_run_it():
    slot = Slot(max_tasks=2)
    slot.run(1, 2, 3)
    slot.executor.begin()
    answer = slot.cancel(1)
    slot.executor.unwind()
    assert answer.reply == confirm(1, CANCELED)
    slot.executor.complete()
    assert slot.executor.kills == 1


def test_a_task_that_was_taken_back_makes_room_for_another():
    slot = Slot(max_tasks=2)
    slot.run(1, 2, 3)
    slot.executor.begin()
    assert slot.cancel(2).reply == confirm(2, CANCELED)
    assert sent(slot) == [1, 2, 3]
    slot.executor.complete()
    assert slot.executor.kills == 0
    slot.executor.complete()
    assert slot.executor.kills == 1


def test_a_task_that_timed_out_before_it_began_makes_room_for_another():
    slot = Slot(max_tasks=2)
    slot.run(1, expected_us=10_000_000)
    slot.executor.begin()
    slot.run(2, left_s=0.1)
    slot.run(3)
    slot.kit.advance(0.11)
    assert slot.timed_out() == [(2, "deadline", "")]
    assert sent(slot) == [1, 2, 3]


def test_held_tasks_can_be_cancelled():
    slot = Slot(max_tasks=1)
    slot.run(1, 2, 3)
    slot.executor.begin()
    assert slot.cancel(2).reply == confirm(2, CANCELED)
    slot.executor.complete()
    replace(slot)
    assert sent(slot) == [3]


def test_what_is_held_behind_a_long_task_is_given_back():
    slot = Slot(max_tasks=1)
    slot.run(1, 2, 3)
    slot.executor.begin()
    slot.kit.advance(RECALL_AFTER_S * 1.1)
    assert slot.returned() == [2, 3]
    slot.run(4)
    slot.kit.advance(RECALL_AFTER_S * 1.1)
    assert slot.returned() == [2, 3, 4]


def test_an_executor_that_dies_early_is_replaced_by_one_that_may_run_as_many():
    slot = Slot(max_tasks=2)
    slot.run(1, 2, 3, 4)
    slot.executor.begin()
    slot.executor.exit()
    assert [row.status for row in slot.rows()] == [RowStatus.WORKER_DIED]
    assert slot.returned() == [2]
    assert sent(slot) == [3, 4]


def test_without_limits_nobody_counts_and_nobody_weighs():
    slot = Slot()
    slot.run(1)
    slot.executor.rss = 100 * GIB
    slot.executor.begin()
    slot.kit.advance(10.0)
    slot.executor.complete()
    assert slot.kit.actor.recycling is None
    assert (slot.executor.weighed, slot.executor.kills) == (0, 0)


# --- at a size -----------------------------------------------------------------------------------


@pytest.fixture
def slot() -> Slot:
    return Slot(max_memory_bytes=GIB)


def test_a_task_that_takes_too_much_memory_is_killed_and_blamed(slot):
    slot.run(1, 2)
    slot.executor.begin()
    slot.executor.rss = int(1.2 * GIB)
    slot.kit.advance(RECALL_AFTER_S * 1.1)
    assert slot.executor.kills == 1
    assert slot.returned() == [2]
    slot.kit.advance(0.1)
    slot.executors[0].exit("killed by SIGKILL\nits last line")
    (row,) = slot.rows()
    assert (row.task_id, row.status) == (1, RowStatus.WORKER_DIED)
    assert row.payload.decode() == (
        "on worker-1, pid 1001: "
        "its memory of 1.2 GiB is above max_memory_per_executor of 1.0 GiB\nits last line"
    )
    assert row.ended_s - row.started_s == pytest.approx(0.111)
    slot.kit.advance(1.0)
    assert slot.is_at_rest()


def test_small_limits_are_told_in_smaller_units():
    slot = Slot(max_memory_bytes=100 * MIB)
    slot.run(1)
    slot.executor.begin()
    slot.executor.rss = 150 * MIB
    slot.kit.advance(MEMORY_CHECK_S)
    slot.executor.exit()
    (row,) = slot.rows()
    assert b"its memory of 150.0 MiB is above max_memory_per_executor of 100.0 MiB" in row.payload


def test_the_memory_of_a_busy_executor_is_looked_at_now_and_then_and_that_of_an_idle_one_never(
    slot,
):
    slot.kit.advance(5.0)
    assert slot.executor.weighed == 0
    slot.run(1)
    slot.executor.begin()
    slot.kit.advance(10 * MEMORY_CHECK_S)
    assert slot.executor.weighed == 10
    slot.executor.complete()
    assert slot.kit.timers == {}


def test_an_executor_that_grows_large_is_replaced_after_its_task(slot):
    slot.run(1, expected_us=10_000_000)
    slot.run(2)
    slot.executor.begin()
    slot.executor.rss = int(0.9 * GIB)
    slot.kit.advance(MEMORY_CHECK_S)
    assert slot.executor.kills == 0
    assert slot.returned() == [2]
    slot.run(3)
    assert sent(slot) == [1, 2]
    slot.executor.rss = 0
    slot.executor.complete()
    replace(slot)
    assert sent(slot) == [3]
    assert [row.status for row in slot.rows()] == [RowStatus.SUCCEEDED]


def test_what_is_held_behind_the_last_task_of_a_large_executor_is_given_back(slot):
    slot.run(1)
    slot.executor.begin()
    slot.executor.rss = int(0.9 * GIB)
    slot.kit.advance(MEMORY_CHECK_S)
    slot.run(2)
    slot.kit.advance(RECALL_AFTER_S * 1.1)
    assert slot.returned() == [2]


def test_an_executor_whose_task_left_much_memory_behind_is_replaced_at_once(slot):
    slot.run(1)
    slot.executor.begin()
    slot.executor.rss = int(0.9 * GIB)
    slot.executor.complete()
    assert slot.executor.kills == 1
    assert len(slot.rows()) == 1


def test_an_executor_whose_task_gave_its_memory_back_goes_on(slot):
    slot.run(1, 2)
    slot.executor.begin()
    slot.executor.rss = int(0.9 * GIB)
    slot.executor.finish()
    slot.executor.rss = int(0.1 * GIB)
    slot.executor.deliver()
    assert slot.executor.kills == 0
    slot.executor.complete()
    assert slot.executor.kills == 0


def test_between_small_tasks_nobody_looks(slot):
    slot.executor.rss = int(0.1 * GIB)
    slot.run(1, 2)
    slot.executor.complete()
    slot.executor.complete()
    assert slot.executor.weighed == 0


def test_a_task_is_not_blamed_for_the_memory_that_an_earlier_one_left(slot):
    slot.run(1, 2, 3)
    slot.executor.begin()
    slot.executor.rss = int(1.5 * GIB)
    slot.executor.finish()
    slot.executor.begin()
    slot.executor.deliver()
    assert slot.returned() == [3]
    slot.kit.advance(RECALL_AFTER_S * 1.1)
    assert slot.executor.kills == 1
    slot.executor.exit()
    first, lost = slot.rows()
    assert first.status is RowStatus.SUCCEEDED
    assert (lost.task_id, lost.status) == (2, RowStatus.LOST)
    assert b"its memory of 1.5 GiB is above" in lost.payload


def test_a_task_is_blamed_for_what_it_took_though_an_earlier_one_was_large(slot):
    slot.run(1, 2)
    slot.executor.begin()
    slot.executor.rss = int(0.9 * GIB)
    slot.executor.finish()
    slot.executor.begin()
    slot.executor.rss = 0
    slot.executor.deliver()
    slot.executor.rss = 2 * GIB
    slot.kit.advance(RECALL_AFTER_S * 1.1)
    slot.executor.exit()
    assert [row.status for row in slot.rows()] == [RowStatus.SUCCEEDED, RowStatus.WORKER_DIED]


def test_a_cancelled_task_that_takes_too_much_memory_is_confirmed(slot):
    slot.run(1)
    slot.executor.begin()
    slot.kit.advance(RECALL_AFTER_S * 1.1)
    answer = slot.cancel(1, grace_s=5.0)
    slot.executor.rss = 2 * GIB
    slot.kit.advance(MEMORY_CHECK_S)
    assert slot.executor.kills == 1
    slot.executor.exit()
    assert answer.reply == confirm(1, CANCELED)
    assert slot.rows() == []


def test_a_task_that_crashed_before_the_kill_died_of_that(slot):
    slot.run(1)
    slot.executor.begin()
    slot.executor.rss = 2 * GIB
    slot.kit.advance(MEMORY_CHECK_S)
    slot.executor.exit("exit code 3", signal=None)
    (row,) = slot.rows()
    assert row.status is RowStatus.WORKER_DIED
    assert row.payload.endswith(b": exit code 3")


def test_a_result_that_was_faster_than_the_kill_is_delivered(slot):
    slot.run(1)
    slot.executor.begin()
    slot.executor.rss = 2 * GIB
    slot.kit.advance(MEMORY_CHECK_S)
    slot.executor.finish()
    slot.executor.exit()
    assert [row.status for row in slot.rows()] == [RowStatus.SUCCEEDED]


def test_an_executor_whose_size_nobody_knows_runs_on(slot):
    slot.run(1)
    slot.executor.begin()
    slot.kit.advance(1.0)
    assert slot.told == [TaskStarted((1,))]
    assert slot.executor.kills == 0


# --- the launcher --------------------------------------------------------------------------------


def test_a_task_whose_executor_went_with_the_launcher_is_lost_and_not_blamed():
    slot = Slot()
    slot.run(1, 2)
    slot.executor.begin()
    slot.kit.advance(0.005)
    slot.executor.exit("its launcher was killed by SIGKILL", blameless=True)
    (row,) = slot.rows()
    assert (row.task_id, row.status) == (1, RowStatus.LOST)
    assert row.payload.decode() == ("on worker-1, pid 1001: its launcher was killed by SIGKILL")
    assert row.ended_s - row.started_s == pytest.approx(0.005)
    assert slot.returned() == [2]


def test_a_large_executor_that_went_with_the_launcher_is_not_blamed(slot):
    slot.run(1)
    slot.executor.begin()
    slot.executor.rss = 2 * GIB
    slot.kit.advance(MEMORY_CHECK_S)
    slot.executor.exit("its launcher was killed by SIGKILL", blameless=True)
    (row,) = slot.rows()
    assert row.status is RowStatus.LOST
    assert row.payload.endswith(b": its launcher was killed by SIGKILL")
