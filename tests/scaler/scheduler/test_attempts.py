"""Retries, losses, timeouts and deadlines, as the scheduler decides them."""

from __future__ import annotations

import pytest

from scaler.limits import BLAMELESS_LOSSES
from scaler.protocol.tasks import RowStatus, Task, TaskPolicy, WorkerConnect
from scaler.protocol.timeouts import Limit, pack_timeout
from scaler.scheduler.attempts import retry_wait_s
from tests.scaler.scheduler.desk import CANCELED, Desk, confirm, row, task_id

FAILED, DIED, LOST = RowStatus.FAILED, RowStatus.WORKER_DIED, RowStatus.LOST


@pytest.fixture
def desk():
    return Desk()


def attempts_sent(desk, worker, number=1):
    tasks = [task for run in desk.runs_of(number, worker) for task in run.tasks]
    return [task.attempt for task in tasks if task.task_id == task_id(number)]


def text_of(told):
    return told.payload.decode()


# --- the task's own exceptions ------------------------------------------------------------------


def test_an_exception_is_not_retried_unless_asked_for(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1)
    desk.end(worker, row(1, FAILED))
    assert desk.results_to(client) == [row(1, FAILED)]
    assert desk.is_at_rest()


def test_a_task_is_retried_as_often_as_it_may_and_then_its_last_exception_is_delivered(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1, policy=TaskPolicy(retries=2))
    for attempt in (1, 2, 3):
        assert desk.results_to(client) == []
        desk.end(worker, row(1, FAILED, attempt=attempt, payload=b"error %d" % attempt))
    assert attempts_sent(desk, worker) == [1, 2, 3]
    assert [told.payload for told in desk.results_to(client)] == [b"error 3"]
    assert desk.is_at_rest()


def test_a_retry_that_succeeds_delivers_its_value(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1, policy=TaskPolicy(retries=2))
    desk.end(worker, row(1, FAILED))
    desk.end(worker, row(1, attempt=2))
    assert [(told.status, told.attempt) for told in desk.results_to(client)] == [
        (RowStatus.SUCCEEDED, 2)
    ]
    assert desk.is_at_rest()


def test_an_exception_that_the_predicate_refuses_is_delivered_at_once(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1, policy=TaskPolicy(retries=2, retry_when=b"predicate"))
    desk.end(worker, row(1, FAILED, final=True))
    assert len(desk.results_to(client)) == 1
    assert desk.is_at_rest()


def test_a_retry_waits_for_its_backoff_and_leaves_the_worker_to_others(desk):
    desk.connect()
    worker = desk.add_worker(credit=1)
    desk.submit(1, policy=TaskPolicy(retries=1, backoff_s=2.0))
    desk.submit(2)
    desk.end(worker, row(1, FAILED))
    assert desk.status().waiting == 1
    assert desk.sent_to(worker) == [1, 2]
    desk.end(worker, row(2))
    desk.kit.advance(1.9)
    assert desk.sent_to(worker) == [1, 2]
    desk.kit.advance(0.2)
    assert desk.sent_to(worker) == [1, 2, 1]


def test_a_cancel_during_a_retrys_wait_is_confirmed_and_the_task_never_runs_again(desk):
    desk.connect()
    worker = desk.add_worker()
    desk.submit(1, policy=TaskPolicy(retries=1, backoff_s=2.0))
    desk.end(worker, row(1, FAILED))
    assert desk.cancel(1).reply == confirm(1, CANCELED)
    desk.kit.advance(10.0)
    assert desk.sent_to(worker) == [1]
    assert desk.is_at_rest()


def test_a_client_that_leaves_has_its_waiting_tasks_cancelled(desk):
    desk.connect()
    worker = desk.add_worker()
    desk.submit(1, policy=TaskPolicy(retries=1, backoff_s=2.0))
    desk.end(worker, row(1, FAILED))
    assert desk.leave().replied
    assert desk.is_at_rest()


def test_an_exception_that_crosses_a_cancel_is_not_retried(desk):
    desk.connect()
    worker = desk.add_worker()
    desk.submit(1, policy=TaskPolicy(retries=5))
    answer = desk.cancel(1)
    desk.end(worker, row(1, FAILED))
    assert answer.reply.rows == (row(1, FAILED),)
    assert desk.sent_to(worker) == [1]
    assert desk.is_at_rest()


def test_a_retry_that_would_come_after_the_deadline_is_none(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1, policy=TaskPolicy(retries=5, backoff_s=2.0, deadline_s=1.5))
    desk.end(worker, row(1, FAILED))
    assert [told.status for told in desk.results_to(client)] == [FAILED]
    assert desk.is_at_rest()


def test_waits_double_up_to_their_bound_and_jitter_only_shortens_them():
    task = Task(task_id(1), b"f", b"")
    plain = TaskPolicy(backoff_s=0.1, backoff_max_s=1.0)
    assert [retry_wait_s(plain, n, task) for n in (0, 1, 2, 3, 4, 5_000)] == pytest.approx(
        [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    )
    jittered = TaskPolicy(backoff_s=0.1, backoff_max_s=1.0, jitter=0.5)
    waits = [retry_wait_s(jittered, 0, Task(task_id(n), b"f", b"")) for n in range(1, 1_001)]
    assert 0.05 < min(waits) < 0.055
    assert 0.095 < max(waits) <= 0.1
    assert sum(waits) / 1_000 == pytest.approx(0.075, abs=0.002)
    assert len(set(waits)) == 1_000


# --- executors that die -------------------------------------------------------------------------


def test_a_lost_attempt_is_run_again_before_all_others(desk):
    client = desk.connect()
    worker = desk.add_worker(credit=1)
    desk.submit(1, 2)
    desk.end(worker, row(1, DIED))
    assert desk.sent_to(worker) == [1, 1]
    assert attempts_sent(desk, worker) == [1, 2]
    desk.end(worker, row(1, attempt=2))
    assert [told.attempt for told in desk.results_to(client)] == [2]


def test_after_three_losses_the_error_lists_the_cause_of_each(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1)
    for attempt, cause in enumerate(
        (b"on w1: exit code 3", b"on w2: SIGSEGV", b"on w1: SIGKILL"), start=1
    ):
        desk.end(worker, row(1, DIED, attempt=attempt, payload=cause))
    (told,) = desk.results_to(client)
    assert told.status is DIED
    assert text_of(told).splitlines() == [
        (f"task {task_id(1)} lost its executor 3 times; 3 attempts are allowed (`max_attempts`)"),
        "attempt 1 on w1: exit code 3",
        "attempt 2 on w2: SIGSEGV",
        "attempt 3 on w1: SIGKILL",
    ]
    assert desk.is_at_rest()


def test_exceptions_and_losses_are_counted_apart(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1, policy=TaskPolicy(retries=1, max_attempts=2))
    desk.end(worker, row(1, DIED))
    desk.end(worker, row(1, FAILED, attempt=2))
    desk.end(worker, row(1, DIED, attempt=3))
    assert [told.status for told in desk.results_to(client)] == [DIED]
    assert attempts_sent(desk, worker) == [1, 2, 3]
    assert desk.is_at_rest()


def test_returned_tasks_are_not_blamed(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1, 2)
    for attempt in (1, 2, 3):
        desk.end(worker, row(1, DIED, attempt=attempt))
        desk.give_back(worker, 2)
    desk.end(worker, row(2))
    assert [told.status for told in desk.results_to(client)] == [DIED, RowStatus.SUCCEEDED]
    assert attempts_sent(desk, worker, 2)[-1] == 1


def test_losses_by_nobodys_fault_do_not_count(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1, policy=TaskPolicy(max_attempts=2))
    for attempt in range(1, BLAMELESS_LOSSES):
        desk.end(worker, row(1, LOST, attempt=attempt))
    desk.end(worker, row(1, DIED, attempt=BLAMELESS_LOSSES))
    assert desk.results_to(client) == []
    desk.end(worker, row(1, attempt=BLAMELESS_LOSSES + 1))
    assert [told.status for told in desk.results_to(client)] == [RowStatus.SUCCEEDED]


def test_losses_by_nobodys_fault_have_a_bound_of_their_own(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1)
    for attempt in range(1, BLAMELESS_LOSSES + 1):
        desk.end(worker, row(1, LOST, attempt=attempt))
    (told,) = desk.results_to(client)
    assert told.status is DIED
    head = text_of(told).splitlines()[0]
    assert head.endswith("lost its executor 10 times; 10 losses by nobody's fault are too many")
    assert desk.is_at_rest()


@pytest.mark.parametrize("status", [DIED, LOST])
def test_what_may_run_once_is_not_run_again_whoever_is_to_blame(desk, status):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1, policy=TaskPolicy(max_attempts=1))
    desk.end(worker, row(1, status, payload=b"SIGKILL"))
    (told,) = desk.results_to(client)
    assert told.status is DIED
    assert "attempt 1 SIGKILL" in text_of(told)
    assert desk.sent_to(worker) == [1]


# --- timeouts and deadlines ---------------------------------------------------------------------


def test_a_timeout_says_where_the_time_went_and_is_not_retried(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1, policy=TaskPolicy(retries=3, backoff_s=0.5, timeout_s=2.0))
    desk.end(worker, row(1, FAILED, run_s=0.25))
    desk.kit.advance(3.0)
    payload = pack_timeout(Limit.TIMEOUT, "it unwound after the interrupt")
    desk.end(worker, row(1, RowStatus.TIMED_OUT, attempt=2, run_s=2.0, payload=payload))
    (told,) = desk.results_to(client)
    assert told.status is RowStatus.TIMED_OUT
    assert text_of(told) == (
        f"task {task_id(1)} ran into its timeout of 2 s: 0.25 s waiting for a worker, "
        "2.25 s running, 0.5 s between retries; "
        "attempt 2 on worker, pid 1: it unwound after the interrupt"
    )
    assert desk.is_at_rest()


def test_a_queued_task_ends_at_its_deadline(desk):
    client = desk.connect()
    desk.submit(1, 2, policy=TaskPolicy(deadline_s=5.0))
    desk.submit(3)
    desk.kit.advance(4.9)
    assert desk.results_to(client) == []
    desk.kit.advance(0.2)
    told = desk.results_to(client)
    assert [row.status for row in told] == [RowStatus.TIMED_OUT] * 2
    assert text_of(told[0]) == (
        f"task {task_id(1)} met its deadline, 5 s after it was submitted: "
        "5 s waiting for a worker, 0 s running; it never started"
    )
    assert desk.sent_to(desk.add_worker()) == [3]


def test_a_part_of_a_map_tells_the_deadline_of_the_map(desk):
    client = desk.connect()
    desk.submit(1, policy=TaskPolicy(deadline_s=0.2, map_deadline_s=5.0))
    desk.kit.advance(0.2)
    (told,) = desk.results_to(client)
    assert text_of(told).startswith(
        f"task {task_id(1)} met its deadline, 5 s after its map began: "
    )


def test_the_worker_is_told_how_much_time_is_left(desk):
    desk.connect()
    desk.submit(1, policy=TaskPolicy(deadline_s=5.0))
    desk.submit(2)
    desk.submit(3, policy=TaskPolicy(timeout_s=5.0))
    desk.kit.advance(2.0)
    worker = desk.add_worker()
    (run,) = desk.runs_of(1, worker)
    assert run.left_s == ((task_id(1), 3.0),)


def test_a_task_that_its_worker_has_is_its_workers_to_stop(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1, policy=TaskPolicy(deadline_s=5.0))
    desk.kit.advance(6.0)
    assert desk.results_to(client) == []
    payload = pack_timeout(Limit.DEADLINE, "it unwound after the interrupt")
    desk.end(worker, row(1, RowStatus.TIMED_OUT, run_s=4.0, payload=payload))
    (told,) = desk.results_to(client)
    assert "2 s waiting for a worker, 4 s running" in text_of(told)
    assert desk.is_at_rest()


def test_a_task_that_comes_back_after_its_deadline_is_not_sent_again(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1, policy=TaskPolicy(deadline_s=5.0))
    desk.kit.advance(6.0)
    desk.give_back(worker, 1)
    assert [told.status for told in desk.results_to(client)] == [RowStatus.TIMED_OUT]
    assert desk.sent_to(worker) == [1]
    assert desk.is_at_rest()


def test_a_task_lost_after_its_deadline_is_not_run_again(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1, policy=TaskPolicy(deadline_s=5.0))
    desk.kit.advance(6.0)
    desk.end(worker, row(1, DIED))
    (told,) = desk.results_to(client)
    assert told.status is RowStatus.TIMED_OUT
    assert "no attempt was running (1 had been made)" in text_of(told)
    assert desk.is_at_rest()


def test_a_result_that_is_faster_than_its_deadline_is_delivered(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1, policy=TaskPolicy(deadline_s=5.0))
    desk.end(worker, row(1))
    desk.kit.advance(10.0)
    assert [told.status for told in desk.results_to(client)] == [RowStatus.SUCCEEDED]
    assert desk.is_at_rest()


def test_a_timeout_that_crosses_a_cancel_answers_it(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1, policy=TaskPolicy(timeout_s=5.0))
    answer = desk.cancel(1)
    desk.end(worker, row(1, RowStatus.TIMED_OUT, payload=pack_timeout(Limit.TIMEOUT, "")))
    assert [told.status for told in answer.reply.rows] == [RowStatus.TIMED_OUT]
    assert desk.results_to(client) == []
    assert desk.is_at_rest()


# --- a process that cannot be killed -------------------------------------------------------------


def test_a_task_whose_process_cannot_be_killed_is_not_run_again(desk):
    client, worker = desk.connect(), desk.add_worker()
    desk.submit(1)
    desk.end(worker, row(1, DIED, payload=b"on worker-1: it hangs", final=True))
    (told,) = desk.results_to(client)
    head, *attempts = text_of(told).splitlines()
    assert head.endswith("its executor once; it is not run again while the last one is there")
    assert attempts == ["attempt 1 on worker-1: it hangs"]
    assert attempts_sent(desk, worker) == [1]
    assert desk.is_at_rest()


def test_a_worker_out_of_use_gets_no_task_and_gets_them_when_it_is_back(desk):
    desk.connect()
    worker = desk.add_worker()
    desk.kit.tell(WorkerConnect("worker-1", 0), sender=worker)
    desk.submit(1)
    assert attempts_sent(desk, worker) == []
    assert [status.credit for status in desk.status().workers] == [0]
    desk.kit.tell(WorkerConnect("worker-1", 10), sender=worker)
    assert attempts_sent(desk, worker) == [1]
    desk.end(worker, row(1))
    assert desk.is_at_rest()
