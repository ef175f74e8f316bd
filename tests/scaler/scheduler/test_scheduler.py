"""The scheduler: submits, dispatch, results, returns, and who comes and goes."""

from __future__ import annotations

import pytest

from actors import TerminationReason
from actors.testkit import InboxRef
from scaler.limits import EXPECTED_US, FUNCTIONS_KNOWN, PREFETCH_US
from scaler.protocol.tasks import (
    AwaitWorker,
    ClientConnect,
    ClientConnected,
    ClientDisconnect,
    GetStatus,
    RowStatus,
    SchedulerStatus,
    TaskOutput,
    TaskPolicy,
    TaskResult,
    TaskReturned,
    TaskRun,
    TaskStarted,
    WorkerConnect,
    WorkerStatus,
)
from scaler.scheduler.transitions import TaskEvent
from tests.scaler.scheduler.desk import CANCELED, NOT_FOUND, confirm, row, task_id

AT_ONCE = PREFETCH_US // EXPECTED_US
"""Tasks of a function never run before that a worker is sent ahead."""


# --- submit and result --------------------------------------------------------------------------


def test_a_task_goes_to_a_worker_and_its_result_to_its_client(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1)
    run = desk.kit.take(TaskRun)
    assert [task.task_id for task in run.tasks] == [task_id(1)]
    assert [function.function_id for function in run.functions] == [b"f"]
    assert run.expected_us == (EXPECTED_US,)
    desk.end(worker, row(1))
    assert desk.results_to(client) == [row(1)]
    assert desk.is_at_rest()


@pytest.mark.parametrize("status", [RowStatus.FAILED, RowStatus.INTERNAL, RowStatus.SUCCEEDED])
def test_every_end_of_a_running_task_is_passed_on_as_it_is(desk, status):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1)
    desk.end(worker, row(1, status))
    assert desk.results_to(client) == [row(1, status)]
    assert desk.is_at_rest()


def test_results_of_one_run_travel_in_one_message_per_client(desk):
    one, two = desk.connect(1), desk.connect(2)
    first, second = desk.add_worker("w1"), desk.add_worker("w2")
    with desk.kit.turn():
        desk.submit(1, 3)
        desk.submit(2, client=2)
    with desk.kit.turn():
        for worker in (first, second):
            held = desk.kit.actor.workers[worker].outstanding
            ended = [row(task & 0xFFFFFFFF, client=task >> 32) for task in held]
            desk.end(worker, *ended)
    assert len(desk.kit.messages_to(one)) == len(desk.kit.messages_to(two)) == 1
    assert sorted(row.task_id for row in desk.results_to(one)) == [task_id(1), task_id(3)]
    assert desk.results_to(two) == [row(2, client=2)]


def test_tasks_wait_for_a_worker(desk):
    desk.connect()
    desk.submit(1, 2)
    assert desk.status().queued == 2
    worker = desk.add_worker()
    assert desk.sent_to(worker) == [1, 2]


def test_a_submit_of_a_client_that_never_connected_is_dropped(desk):
    desk.clients[5] = InboxRef("stranger")
    desk.submit(1, client=5)
    assert desk.is_at_rest()


def test_an_interrupted_row_that_nobody_asked_for_is_an_internal_error(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1)
    desk.end(worker, row(1, RowStatus.INTERRUPTED))
    (told,) = desk.results_to(client)
    assert told.status is RowStatus.INTERNAL
    assert told.payload.decode() == (
        "CANCEL_CONFIRMED cannot happen in RUNNING; "
        f"task {task_id(1)} (module.f), attempt 1, RUNNING on worker worker-1"
    )
    assert desk.is_at_rest()


def test_a_queued_task_that_breaks_the_table_leaves_the_queue(desk):
    client = desk.connect()
    desk.submit(1, 2)
    record = desk.kit.actor.records[task_id(1)]
    with desk.kit.turn():
        assert not desk.kit.actor.apply(record, TaskEvent.RETURNED)
    (told,) = desk.results_to(client)
    assert told.status is RowStatus.INTERNAL
    assert told.payload.decode().endswith("(module.f), attempt 1, QUEUED")
    assert desk.status().queued == 1
    assert desk.sent_to(desk.add_worker()) == [2]


# --- dispatch ----------------------------------------------------------------------------------


def test_a_worker_is_sent_a_bounded_time_of_work_ahead(desk):
    desk.connect()
    worker = desk.add_worker()
    desk.submit(*range(1, 101))
    assert len(desk.sent_to(worker)) == AT_ONCE
    desk.end(worker, row(1, run_s=EXPECTED_US * 1.1 / 1e6))
    assert desk.sent_to(worker)[AT_ONCE:] == [AT_ONCE + 1]


def test_what_tasks_took_decides_how_many_are_sent_ahead(desk):
    desk.connect()
    worker = desk.add_worker()
    desk.submit(1)
    for number in range(1, 20):
        desk.submit(number + 1)
        desk.end(worker, row(number, run_s=0.0))
    desk.end(worker, row(20, run_s=0.0))
    desk.kit.clear()
    desk.submit(*range(100, 300))
    assert len(desk.sent_to(worker)) == 200, "no-ops are sent by the hundred"
    assert desk.status().workers[0].load_us < PREFETCH_US


def test_a_function_that_takes_long_is_sent_one_at_a_time(desk):
    desk.connect()
    worker = desk.add_worker()
    desk.submit(1)
    desk.end(worker, row(1, run_s=1.0))
    desk.kit.clear()
    desk.submit(2, 3, 4)
    assert desk.sent_to(worker) == [2]
    desk.end(worker, row(2, run_s=1.0))
    assert desk.sent_to(worker) == [2, 3]


def test_chunks_of_a_function_say_nothing_of_single_calls(desk):
    desk.connect()
    worker = desk.add_worker()
    desk.submit(1, chunked=True)
    desk.end(worker, row(1, run_s=1.0))
    desk.submit(2, 3)
    assert desk.sent_to(worker) == [1, 2, 3]


def test_only_successes_teach_how_long_a_function_takes(desk):
    desk.connect()
    worker = desk.add_worker()
    desk.submit(1)
    desk.end(worker, row(1, RowStatus.FAILED, run_s=100.0))
    desk.submit(2)
    assert desk.status().workers == (WorkerStatus("worker-1", 1, EXPECTED_US, 2_000),)


def test_no_more_tasks_are_outstanding_than_the_worker_has_credit(desk):
    desk.connect()
    worker = desk.add_worker(credit=3)
    desk.submit(1, 2, 3, 4)
    assert desk.sent_to(worker) == [1, 2, 3]
    desk.end(worker, row(2))
    assert desk.sent_to(worker) == [1, 2, 3, 4]


def test_tasks_are_shared_evenly(desk):
    desk.connect()
    workers = [desk.add_worker(f"w{number}") for number in range(3)]
    desk.submit(*range(9))
    assert [len(desk.sent_to(worker)) for worker in workers] == [3, 3, 3]


def test_an_idle_worker_comes_before_one_that_has_room(desk):
    desk.connect()
    first, second = desk.add_worker("w1"), desk.add_worker("w2")
    desk.submit(1)
    busy, idle = (first, second) if desk.sent_to(first) else (second, first)
    desk.submit(2)
    assert desk.sent_to(idle) == [2]
    desk.end(idle, row(2))
    desk.submit(3)
    assert desk.sent_to(idle) == [2, 3]
    assert desk.sent_to(busy) == [1]


def test_functions_travel_with_the_tasks_that_name_them(desk):
    desk.connect()
    desk.submit(1)
    desk.submit(2, function_id=b"g")
    desk.submit(3)
    worker = desk.add_worker()
    (run,) = desk.kit.messages_to(worker)
    assert [function.function_id for function in run.functions] == [b"f", b"g"]
    assert [task.function_id for task in run.tasks] == [b"f", b"g", b"f"]


def test_an_old_function_is_forgotten_and_its_queued_tasks_run_all_the_same(desk):
    desk.connect()
    desk.submit(0, function_id=b"old")
    for number in range(FUNCTIONS_KNOWN):
        desk.submit(number + 1, function_id=b"%d" % number)
    worker = desk.add_worker(credit=1)
    (run,) = desk.kit.messages_to(worker)
    assert [function.function_id for function in run.functions] == [b"old"]


def test_cancelled_tasks_do_not_pile_up_in_the_queue(desk):
    desk.connect()
    desk.submit(*range(5_000))
    with desk.kit.turn():
        for number in range(4_999, 0, -1):
            desk.cancel(number)
    queue = desk.kit.actor.placement._queue
    assert queue.length == 1
    assert len(queue._ids) <= 1_002
    assert desk.sent_to(desk.add_worker()) == [0]


# --- returns -----------------------------------------------------------------------------------


def test_a_returned_task_goes_first_to_the_next_worker(desk):
    client, first = desk.connect(), desk.add_worker("w1", credit=3)
    desk.submit(1, 2, 3, 4)
    desk.give_back(first, 2, 3)
    second = desk.add_worker("w2")
    assert desk.sent_to(second) == [2, 3, 4], "in their order, before what came later"
    desk.end(second, row(2), row(3), row(4))
    desk.end(first, row(1))
    assert len(desk.results_to(client)) == 4
    assert desk.is_at_rest()


def test_nothing_is_sent_ahead_to_a_worker_where_a_long_task_runs(desk):
    desk.connect()
    worker = desk.add_worker()
    desk.submit(1, 2)
    desk.give_back(worker, 2)
    desk.submit(3)
    assert desk.sent_to(worker) == [1, 2]
    assert desk.status().queued == 2
    desk.end(worker, row(1))
    assert desk.sent_to(worker) == [1, 2, 2, 3]


def test_a_worker_that_returned_all_it_had_is_sent_more(desk):
    desk.connect()
    worker = desk.add_worker()
    desk.submit(1, 2)
    desk.give_back(worker, 1, 2)
    assert desk.sent_to(worker) == [1, 2, 1, 2]


def test_a_worker_is_open_again_when_its_long_task_was_cancelled(desk):
    desk.connect()
    worker = desk.add_worker()
    desk.submit(1, 2)
    desk.give_back(worker, 2)
    answer = desk.cancel(1)
    desk.asked(1).answer(confirm(1, CANCELED))
    assert answer.replied
    assert desk.sent_to(worker) == [1, 2, 2]


def test_a_row_of_a_worker_that_does_not_hold_the_task_is_dropped(desk):
    client, first = desk.connect(), desk.add_worker("w1")
    desk.submit(1, 2)
    desk.give_back(first, 2)
    second = desk.add_worker("w2")
    assert desk.sent_to(second) == [2]
    desk.end(first, row(2))
    desk.give_back(first, 2)
    assert desk.results_to(client) == []
    desk.end(second, row(2))
    assert desk.results_to(client) == [row(2)]


def test_rows_and_returns_of_strangers_are_dropped(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1)
    for stranger in (InboxRef("stranger"), None):
        desk.kit.tell(TaskResult((row(1),)), sender=stranger)
        desk.kit.tell(TaskReturned((task_id(1),)), sender=stranger)
    assert desk.results_to(client) == []
    assert desk.sent_to(worker) == [1]


# --- what tasks say while they run ---------------------------------------------------------------


def test_that_a_task_runs_is_told_to_its_client(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1)
    desk.kit.tell(TaskStarted((task_id(1), task_id(99))), sender=worker)
    assert desk.kit.messages_to(client) == [TaskStarted((task_id(1),))]


def test_what_a_task_prints_comes_before_its_result(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1)
    output = TaskOutput(task_id(1), "stdout", "hello\n")
    with desk.kit.turn():
        desk.kit.tell(output, sender=worker)
        desk.end(worker, row(1))
    assert desk.kit.messages_to(client) == [output, TaskResult((row(1),))]


def test_what_a_task_printed_that_nobody_knows_is_dropped(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.kit.tell(TaskOutput(task_id(1), "stdout", "hello\n"), sender=worker)
    assert desk.kit.messages_to(client) == []


def test_a_client_that_leaves_is_told_neither_starts_nor_prints(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1)
    desk.leave()
    desk.kit.tell(TaskStarted((task_id(1),)), sender=worker)
    desk.kit.tell(TaskOutput(task_id(1), "stdout", "hello\n"), sender=worker)
    assert desk.kit.messages_to(client) == []


# --- clients -----------------------------------------------------------------------------------


def test_a_client_number_that_is_taken_is_refused(desk):
    desk.connect(1)
    second = desk.kit.ask(ClientConnect(1), sender=InboxRef("second"))
    assert second.reply == ClientConnected(False)
    assert desk.status().clients == 1


def test_a_client_without_an_actor_is_refused(desk):
    assert desk.kit.ask(ClientConnect(1)).reply == ClientConnected(False)


def test_leaving_cancels_the_newest_first_and_answers_when_nothing_is_left(desk):
    client, worker = desk.connect(), desk.add_worker(credit=2)
    desk.submit(1, 2, 3, 4)
    left = desk.leave(grace_s=0.5)
    assert [asked.message.task_id for asked in desk.kit.asked] == [task_id(2), task_id(1)]
    assert [asked.message.grace_s for asked in desk.kit.asked] == [0.5, 0.5]
    assert all(asked.message.force for asked in desk.kit.asked)
    assert desk.sent_to(worker) == [1, 2], "no queued one started in place of another"
    desk.asked(2).answer(confirm(2, CANCELED))
    assert not left.replied
    desk.asked(1).answer(TaskResult((row(1),)))
    assert left.reply == ClientDisconnect(1, 0.0)
    assert desk.kit.messages_to(client) == []
    assert desk.kit.actor.clients == {}
    assert desk.kit.watched == [worker]
    assert desk.is_at_rest()


def test_leaving_without_tasks_is_answered_at_once(desk):
    desk.connect()
    assert desk.leave().reply == ClientDisconnect(1, 0.0)
    assert desk.status().clients == 0


def test_leaving_twice_is_answered_twice(desk):
    desk.connect()
    desk.add_worker()
    desk.submit(1)
    answers = [desk.leave(), desk.leave()]
    assert len(desk.kit.asked) == 1
    desk.asked(1).answer(confirm(1, CANCELED))
    assert [answer.reply for answer in answers] == [ClientDisconnect(1, 0.0)] * 2
    assert desk.leave().reply == ClientDisconnect(1, 0.2), "and nobody knows it any more"


def test_what_a_leaving_client_submits_is_dropped(desk):
    desk.connect()
    worker = desk.add_worker()
    desk.submit(1)
    desk.leave()
    desk.submit(2)
    assert desk.sent_to(worker) == [1]
    assert desk.status().queued == 0


def test_leaving_brings_a_grace_that_is_under_way_to_an_end_sooner(desk):
    desk.connect()
    desk.add_worker()
    desk.submit(1)
    answer = desk.cancel(1, grace_s=60.0)
    left = desk.leave(grace_s=0.2)
    first, second = desk.asked(1), desk.asked(1)
    assert (first.message.grace_s, second.message.grace_s) == (60.0, 0.2)
    first.answer(confirm(1, CANCELED))
    second.answer(confirm(1, CANCELED))
    assert answer.reply == confirm(1, CANCELED)
    assert left.replied


def test_a_task_that_comes_back_while_its_client_leaves_is_not_run_again(desk):
    desk.connect()
    first = desk.add_worker("w1")
    desk.submit(1, 2)
    left = desk.leave()
    second = desk.add_worker("w2")
    desk.give_back(first, 2)
    desk.end(first, row(1))
    assert desk.sent_to(second) == []
    assert left.replied
    assert desk.is_at_rest()


def test_other_clients_tasks_are_left_alone(desk):
    desk.connect(1)
    two = desk.connect(2)
    worker = desk.add_worker()
    desk.submit(1)
    desk.submit(2, client=2)
    desk.leave(1)
    assert len(desk.kit.asked) == 1
    desk.end(worker, row(2, client=2))
    assert desk.results_to(two) == [row(2, client=2)]


def test_the_tasks_of_a_client_that_died_are_cancelled_without_grace(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1)
    desk.kit.terminate(client, TerminationReason.NODE_LOST, "its process died")
    asked = desk.asked(1)
    assert (asked.message.force, asked.message.grace_s) == (True, 0.0)
    desk.kit.clear()
    asked.answer(confirm(1, CANCELED))
    assert desk.kit.told == []
    assert desk.kit.watched == [worker]
    assert desk.is_at_rest()


def test_a_client_that_dies_while_it_leaves_is_forgotten_when_its_tasks_have_ended(desk):
    client, _ = desk.connect(), desk.add_worker()
    desk.submit(1)
    desk.leave()
    desk.kit.terminate(client)
    assert len(desk.kit.asked) == 1
    desk.asked(1).answer(confirm(1, CANCELED))
    assert desk.status().clients == 0


# --- workers -----------------------------------------------------------------------------------


def test_waiting_for_a_worker_is_answered_when_there_is_one(desk):
    waiting = [desk.kit.ask(AwaitWorker()), desk.kit.ask(AwaitWorker())]
    assert not any(answer.replied for answer in waiting)
    desk.add_worker()
    assert [answer.reply for answer in waiting] == [None, None]
    assert desk.kit.ask(AwaitWorker()).reply is None


def test_a_worker_that_connects_again_keeps_its_tasks(desk):
    desk.connect()
    worker = desk.add_worker()
    desk.submit(1)
    desk.kit.tell(WorkerConnect("worker-1", 5), sender=worker)
    assert desk.status().workers == (WorkerStatus("worker-1", 1, EXPECTED_US, 5),)


def test_a_worker_without_an_actor_is_dropped(desk):
    desk.kit.tell(WorkerConnect("nobody", 5))
    assert desk.status().workers == ()


def test_the_tasks_of_a_worker_that_ended_are_run_by_another_in_their_order(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1, 2)
    desk.kit.terminate(worker, TerminationReason.FAILED, "it could not start")
    other = desk.add_worker("w2")
    desk.end(other, row(1, attempt=2), row(2, attempt=2))
    assert desk.sent_to(other) == [1, 2]
    assert len(desk.results_to(client)) == 2
    assert desk.is_at_rest()


def test_what_may_run_once_fails_with_the_worker_that_had_it(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1, policy=TaskPolicy(max_attempts=1))
    desk.kit.terminate(worker)
    (told,) = desk.results_to(client)
    assert told.status is RowStatus.WORKER_DIED
    assert b"on worker-1, which has ended: stopped" in told.payload
    assert desk.is_at_rest()


def test_nothing_is_sent_to_a_worker_that_ended(desk):
    desk.connect()
    first = desk.add_worker("w1")
    desk.kit.terminate(first)
    desk.submit(1)
    assert desk.sent_to(first) == []
    assert desk.status() == SchedulerStatus(0, 1, 0, 0, (), 1)
    assert desk.sent_to(desk.add_worker("w2")) == [1]


def test_the_end_of_someone_unknown_changes_nothing(desk):
    desk.connect()
    desk.add_worker()
    desk.submit(1)
    desk.kit.actor.workers.clear()
    before = desk.status()
    desk.kit.terminate(InboxRef("stranger"))
    assert desk.status() == before


def test_cancels_of_a_worker_that_ended_are_answered_as_not_found(desk):
    desk.connect()
    worker = desk.add_worker()
    desk.submit(1)
    answers = [desk.cancel(1), desk.cancel(1)]
    desk.kit.terminate(worker)
    assert [answer.reply for answer in answers] == [confirm(1, NOT_FOUND)] * 2
    assert desk.is_at_rest()


# --- status ------------------------------------------------------------------------------------


def test_the_status_counts_what_is_there(desk):
    desk.connect(1)
    desk.connect(2)
    desk.add_worker("w1", credit=2)
    desk.add_worker("w2", credit=0)
    desk.submit(1, 2, 3)
    desk.cancel(1)
    assert desk.kit.ask(GetStatus()).reply == SchedulerStatus(
        waiting=0,
        queued=1,
        running=1,
        canceling=1,
        workers=(WorkerStatus("w1", 2, 2 * EXPECTED_US, 2), WorkerStatus("w2", 0, 0, 0)),
        clients=2,
    )


def test_a_scheduler_that_ends_holds_no_task_any_more(desk):
    desk.connect()
    desk.add_worker()
    desk.submit(*range(1, AT_ONCE + 10))
    scheduler = desk.kit.actor
    (worker,) = scheduler.workers.values()
    held = next(iter(worker.outstanding.values()))
    assert (held.worker, len(scheduler.records)) == (worker, AT_ONCE + 9)
    desk.kit.stop()
    assert not worker.outstanding, "the two refer to each other, and only one is the collector's"
    assert not scheduler.records
