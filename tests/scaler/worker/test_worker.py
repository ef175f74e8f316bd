"""The worker, with an executor that takes each step when the test says so."""

from __future__ import annotations

import pytest

from scaler.limits import (
    FUNCTIONS_KNOWN,
    PREFETCH_TASKS,
    RECALL_AFTER_S,
)
from scaler.protocol.tasks import (
    Function,
    RowStatus,
    Task,
    TaskOutput,
    TaskResult,
    TaskReturned,
    TaskRun,
    TaskStarted,
    WorkerConnect,
)
from scaler.worker.port import ExecutorUp, ExecutorWaits
from tests.scaler.worker.slot import CANCELED, NOT_FOUND, Slot, confirm


@pytest.fixture
def slot() -> Slot:
    return Slot()


# --- starting ------------------------------------------------------------------------------------


def test_a_worker_connects_when_its_first_executor_is_up():
    slot = Slot(up=False)
    assert slot.told == []
    slot.executor.up()
    assert slot.told == [WorkerConnect("worker-1", PREFETCH_TASKS)]


def test_it_connects_once_however_many_executors_it_needs(slot):
    slot.executor.exit()
    slot.executor.up()
    assert len(slot.executors) == 2
    assert slot.told == []


def test_an_event_of_an_earlier_executor_is_dropped(slot):
    slot.run(1)
    slot.executor.begin()
    first = slot.executor
    first.exit()
    slot.kit.clear()
    slot.run(2)
    slot.executor.up()
    slot.executor.begin()
    first.page = 1
    first.print("late\n")
    first.complete()
    slot.kit.tell(ExecutorUp(first.number, first.pid))
    first.exit()
    assert slot.told == []
    assert slot.kit.actor.pid == slot.executor.pid
    assert len(slot.executors) == 2
    assert slot.executor.complete().task_id == 2
    assert [row.task_id for row in slot.rows()] == [2]


def test_stopping_a_worker_kills_its_executor_and_gives_back_what_has_not_begun(slot):
    slot.run(1, 2, 3)
    slot.executor.begin()
    slot.kit.stop()
    assert slot.returned() == [2, 3]
    assert slot.executor.kills == 1
    assert slot.executor.closed


def test_stopping_a_worker_gives_back_what_it_held(slot):
    slot.run(1)
    slot.executor.begin()
    slot.cancel(1, grace_s=0)
    slot.run(2)
    slot.kit.stop()
    assert slot.returned() == [2]


# --- tasks and rows ------------------------------------------------------------------------------


def test_tasks_are_sent_in_one_frame_and_their_rows_passed_on(slot):
    slot.run(7, 8)
    (frame,) = slot.executor.frames
    assert frame.ordinals == (1, 2)
    assert [task.task_id for task in frame.tasks] == [7, 8]
    slot.executor.begin()
    slot.executor.finish()
    slot.executor.begin()
    slot.executor.finish(RowStatus.FAILED, b"error")
    rows = slot.executor.deliver()
    assert slot.told == [TaskResult(rows)]
    slot.kit.advance(1.0)
    assert slot.is_at_rest()


def test_ordinals_go_on_and_begin_anew_with_each_executor(slot):
    slot.run(1)
    slot.executor.complete()
    slot.run(2, 3)
    assert [frame.ordinals for frame in slot.executor.frames] == [(1,), (2, 3)]
    slot.executor.complete()
    slot.executor.complete()
    slot.executor.exit()
    slot.run(4)
    assert slot.executor.frames[0].ordinals == (1,)


def test_a_function_is_sent_once_to_each_executor(slot):
    slot.run(1)
    slot.run(2)
    slot.run(3, function_id=b"g")
    sent = [
        [function.function_id for function in frame.functions] for frame in slot.executor.frames
    ]
    assert sent == [[b"f"], [], [b"g"]]
    slot.executor.exit()
    slot.run(4)
    assert [function.function_id for function in slot.executor.frames[0].functions] == [b"f"]


def test_the_oldest_functions_that_no_task_names_are_forgotten(slot):
    names = [b"%d" % number for number in range(FUNCTIONS_KNOWN)]
    for number, name in enumerate(names):
        slot.run(number, function_id=name)
    for _ in names[:-1]:
        slot.executor.complete()  # the last one is still outstanding
    slot.run(5_000, function_id=b"one more")
    assert slot.executor.frames[-1].forgotten == (names[0],)
    slot.run(5_001, 5_002, function_id=names[0])
    assert [function.function_id for function in slot.executor.frames[-1].functions] == [names[0]]
    assert slot.executor.frames[-1].forgotten == (names[1],)


def test_a_function_that_is_in_use_is_not_forgotten(slot):
    names = [b"%d" % number for number in range(FUNCTIONS_KNOWN + 1)]
    for number, name in enumerate(names):
        slot.run(number, function_id=name)
    assert all(frame.forgotten == () for frame in slot.executor.frames)


def test_a_row_that_no_task_of_ours_has_is_dropped(slot):
    slot.run(1)
    slot.executor.begin()
    slot.executor.finish()
    slot.executor.undelivered *= 2
    slot.executor.deliver()
    assert len(slot.rows()) == 1


def test_a_row_with_another_tasks_id_is_dropped(slot):
    slot.run(1)
    slot.executor.tasks[1] = Task(99, b"f", b"")
    slot.executor.complete()
    assert slot.rows() == []
    assert 1 in slot.kit.actor.ledger.sent


def test_what_a_task_prints_is_told_before_its_row(slot):
    slot.run(1)
    slot.executor.begin()
    slot.executor.print("hello\n")
    row = slot.executor.complete()
    assert slot.told == [TaskOutput(1, "stdout", "hello\n"), TaskResult((row,))]


# --- what runs for long, and who waits behind it -------------------------------------------------


def test_what_waits_behind_a_long_task_is_given_back(slot):
    slot.run(1, 2, 3)
    slot.executor.begin()
    slot.kit.advance(RECALL_AFTER_S * 1.01)
    assert slot.told == [TaskStarted((1,)), TaskReturned((2, 3))]
    slot.run(4)
    assert slot.executor.frames[-1].dropped == (2, 3), "the executor frees their bodies"


def test_a_task_that_is_expected_to_take_long_is_given_twice_its_time(slot):
    slot.run(1, 2, expected_us=50_000)
    slot.executor.begin()
    slot.kit.advance(0.09)
    assert slot.told == [TaskStarted((1,))]
    slot.kit.advance(0.02)
    assert slot.told == [TaskStarted((1,)), TaskReturned((2,))]


def test_short_tasks_are_neither_reported_nor_given_back(slot):
    slot.run(*range(1, 21))
    for _ in range(20):
        slot.executor.begin()
        slot.kit.advance(RECALL_AFTER_S * 0.9)
        slot.executor.complete()
    assert not any(isinstance(message, TaskStarted | TaskReturned) for message in slot.told)


def test_a_task_that_was_claimed_behind_a_long_one_is_not_given_back(slot):
    slot.run(1, 2)
    slot.executor.begin()
    slot.executor.finish()  # its row is on the way
    slot.executor.begin()
    slot.kit.advance(RECALL_AFTER_S * 3)
    assert slot.told == [TaskStarted((2,))]
    slot.executor.complete()
    assert [row.task_id for row in slot.rows()] == [1, 2]
    slot.kit.advance(1.0)
    assert slot.is_at_rest()


def test_nobody_looks_at_a_long_task_that_runs_alone(slot):
    slot.run(1, expected_us=10_000_000)
    slot.executor.begin()
    slot.kit.advance(1.0)
    assert slot.told == [TaskStarted((1,))]
    assert slot.kit.timers == {}
    slot.run(2)
    slot.kit.advance(30.0)
    assert slot.told == [TaskStarted((1,)), TaskReturned((2,))], "reported once"
    assert slot.kit.timers == {}


def test_as_long_as_nothing_runs_nothing_is_given_back():
    slot = Slot(up=False)  # an executor takes a while to start
    slot.run(1, 2)
    slot.kit.advance(1.0)
    assert slot.told == []
    slot.executor.up()
    slot.executor.begin()
    slot.kit.advance(0.05)
    assert slot.returned() == [2]


def test_ticks_end_with_the_last_task(slot):
    slot.run(1)
    slot.executor.complete()
    assert "tick" in slot.kit.timers
    slot.kit.advance(RECALL_AFTER_S)
    assert slot.kit.timers == {}


# --- an executor that dies by itself -------------------------------------------------------------


def test_the_task_that_ran_is_blamed_and_those_that_had_not_begun_go_back(slot):
    slot.run(1, 2, 3, 4)
    slot.executor.begin()
    slot.executor.finish()
    slot.executor.begin()
    slot.executor.exit("killed by SIGSEGV")
    first, died = slot.rows()
    assert (first.task_id, first.status) == (1, RowStatus.SUCCEEDED)
    assert (died.task_id, died.status, died.ordinal) == (2, RowStatus.WORKER_DIED, 2)
    assert died.payload.decode() == ("on worker-1, pid 1001: killed by SIGSEGV")
    assert slot.returned() == [3, 4]
    assert slot.executors[0].closed
    assert len(slot.executors) == 2
    slot.kit.advance(1.0)
    assert slot.is_at_rest()


def test_a_death_is_a_line_in_the_log_and_an_end_on_purpose_is_none(slot, caplog):
    caplog.set_level("INFO", "scaler")
    slot.run(1)
    slot.executor.begin()
    slot.executor.exit("killed by SIGSEGV\nlast lines of its stderr:")
    slot.kit.actor.kill()
    slot.executor.exit("killed by SIGKILL")
    assert caplog.messages == ["executor 1001 of worker-1 died: killed by SIGSEGV"]


def test_the_lost_task_is_told_last_so_that_it_is_queued_before_those_behind_it(slot):
    slot.run(1, 2, 3)
    slot.executor.begin()
    slot.executor.exit()
    told = [type(message) for message in slot.kit.messages_to(slot.scheduler)]
    assert told == [TaskReturned, TaskResult]


def test_the_item_of_a_chunk_is_named(slot):
    function = Function(b"f", b"blob", "module.f")
    slot.kit.tell(TaskRun((function,), (Task(1, b"f", b"", True),), (1_000,)))
    slot.executor.begin()
    slot.executor.page_item = 5
    slot.executor.exit()
    (row,) = slot.rows()
    assert b"pid 1001, at item 5 of its chunk: killed by SIGKILL" in row.payload


def test_a_task_that_was_claimed_but_had_not_begun_is_not_blamed(slot):
    slot.run(1)
    slot.executor.claim()
    slot.executor.exit()
    assert slot.rows() == []
    assert slot.returned() == [1]


def test_nobody_is_blamed_when_an_idle_executor_dies(slot):
    slot.run(1)
    slot.executor.complete()
    slot.executor.page = 1  # it died between its row and the next claim
    slot.executor.exit()
    assert len(slot.rows()) == 1
    assert slot.returned() == []


def test_a_task_that_is_being_cancelled_is_confirmed_and_not_blamed_when_its_executor_dies(slot):
    slot.run(1)
    slot.executor.begin()
    answer = slot.cancel(1)
    slot.executor.exit("killed by SIGSEGV")
    assert answer.reply == confirm(1, CANCELED)
    assert slot.rows() == []
    slot.kit.advance(5.0)
    assert slot.executor.kills == 0, "no timer of the old task hits the new executor"
    assert slot.is_at_rest()


def test_a_cancel_that_comes_with_the_news_of_the_death_finds_nothing(slot):
    slot.run(1, 2)
    slot.executor.begin()
    with slot.kit.turn():
        slot.executor.exit()
        answers = [slot.cancel(1), slot.cancel(2)]
    assert [answer.reply.type for answer in answers] == [NOT_FOUND, NOT_FOUND]
    assert [row.task_id for row in slot.rows()] == [1]
    assert slot.returned() == [2]


def test_a_task_given_back_and_sent_again_is_not_taken_for_its_first_copy(slot):
    slot.run(1, 2)
    slot.executor.begin()
    slot.kit.advance(RECALL_AFTER_S * 1.01)
    assert slot.returned() == [2]
    slot.run(2)
    assert slot.kit.actor.ledger.ordinals == {1: 1, 2: 3}
    slot.executor.complete()
    slot.executor.begin()
    answer = slot.cancel(2)
    assert slot.executor.interrupts == [3]
    slot.executor.unwind()
    assert answer.reply == confirm(2, CANCELED)


def test_while_an_executor_waits_for_room_what_it_has_not_begun_is_given_back(slot):
    slot.run(1, 2, 3)
    slot.executor.begin()
    slot.kit.tell(ExecutorWaits(slot.executor.number))
    assert slot.returned() == [2, 3]
    slot.kit.tell(ExecutorWaits(slot.executor.number))
    slot.kit.tell(ExecutorWaits(99))
    assert slot.returned() == [2, 3]
    slot.executor.finish()
    slot.executor.deliver()
    assert [row.task_id for row in slot.rows()] == [1]
    slot.kit.advance(1.0)
    assert slot.is_at_rest()
