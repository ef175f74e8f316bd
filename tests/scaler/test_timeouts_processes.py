"""Timeouts of attempts and deadlines of tasks, with real processes."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from scaler import (
    CancelOutcome,
    Client,
    ClientError,
    Retry,
    TaskInterrupt,
    TaskTimeoutError,
    WorkerDiedError,
)

pytestmark = [
    pytest.mark.usefixtures("by_value"),
    pytest.mark.skipif(sys.platform != "linux", reason="kills by number"),
]

BOUND_S = 20.0


def note_pid(path: str) -> None:
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")


def sleep_here(path: str) -> None:
    note_pid(path)
    time.sleep(60)


def loop_here(path: str) -> None:
    note_pid(path)
    while True:
        pass


def await_here(path: str) -> None:
    note_pid(path)
    asyncio.run(asyncio.sleep(60))


def sit_in_c(path: str) -> None:
    note_pid(path)
    sum(range(10**12))


def swallow_and_go_on(path: str) -> None:
    note_pid(path)
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass


def swallow_and_raise(path: str) -> None:
    note_pid(path)
    try:
        time.sleep(60)
    except BaseException:
        raise ValueError("something else") from None


def swallow_and_return(path: str) -> str:
    note_pid(path)
    try:
        time.sleep(60)
    except TaskInterrupt:
        return "what I have so far"
    return "all"


def timed_out(future: Any) -> str:
    """The text of the error that says so."""
    error = future.exception(BOUND_S)
    assert type(error) is TaskTimeoutError, repr(error)
    return str(error)


# --- stopped while running ------------------------------------------------------------


@pytest.mark.parametrize(("option", "limit_s"), [("timeout", 0.3), ("deadline", 0.8)])
@pytest.mark.parametrize(
    ("task", "how"),
    [
        (sleep_here, "unwound"),
        (loop_here, "unwound"),
        (await_here, "unwound"),
        (swallow_and_raise, "unwound"),
        (sit_in_c, "killed with its executor"),
        (swallow_and_go_on, "killed with its executor"),
    ],
    ids=["sleep", "loop", "asyncio", "raises", "C code", "swallows"],
)
def test_a_task_is_stopped_at_its_limit_and_the_slot_is_free(
    client, sign, alive, all_slots_run, until, option, limit_s, task, how
):
    begin_s = time.monotonic()
    future = client.options(**{option: limit_s}).submit(task, sign.path)
    text = timed_out(future)
    took_s = time.monotonic() - begin_s
    assert limit_s <= took_s < BOUND_S
    assert how in text
    assert f"{limit_s} s" in text
    assert re.search(rf"worker-\d, pid {sign.pid()}", text)
    assert ("timeout of" if option == "timeout" else "deadline") in text
    assert (how == "unwound") is alive(sign.pid())
    assert not future.cancelled()
    assert future.profiling_info().attempt == 1
    assert Path(sign.path).read_text().count("\n") == 1, "it was not run again"
    until(lambda: all_slots_run(client))


def test_finally_blocks_run_before_the_error_comes(client, sign):
    def clean_up(path: str) -> None:
        try:
            time.sleep(60)
        finally:
            Path(path).write_text("cleaned up")

    timed_out(client.options(timeout=0.3).submit(clean_up, sign.path))
    assert sign.text() == "cleaned up"


def test_a_value_that_a_stopped_task_returns_is_its_result(client, sign):
    future = client.options(timeout=0.3).submit(swallow_and_return, sign.path)
    assert future.result(BOUND_S) == "what I have so far"


def test_a_task_that_is_fast_enough_notices_nothing(client):
    view = client.options(timeout=30, deadline=30)
    assert [view.submit(pow, 2, n).result(BOUND_S) for n in range(50)] == [2**n for n in range(50)]
    assert view.map(abs, range(-50, 0)) == list(range(50, 0, -1))


def test_a_task_that_was_stopped_is_not_tried_again(client, sign):
    view = client.options(timeout=0.1, retries=5, max_attempts=5)
    timed_out(view.submit(sleep_here, sign.path))
    timed_out(view.submit(sit_in_c, sign.path))
    assert Path(sign.path).read_text().count("\n") == 2


def test_the_timeout_counts_each_attempt_anew_and_the_deadline_all_of_them(client, sign):
    def fail_slowly() -> None:
        time.sleep(0.15)
        raise ValueError

    view = client.options(retries=2, timeout=5)
    assert isinstance(view.submit(fail_slowly).exception(BOUND_S), ValueError)
    late = client.options(retries=1_000, deadline=1).submit(fail_slowly)
    error = late.exception(BOUND_S)
    assert isinstance(error, TaskTimeoutError)
    assert "deadline, 1 s after it was submitted" in str(error)
    assert "between retries" in str(error)
    assert late.profiling_info().attempt > 1


def test_a_hanging_predicate_runs_into_the_timeout(client):
    def hang(error: BaseException) -> bool:
        time.sleep(60)
        return True

    view = client.options(retries=Retry(3, when=hang), timeout=0.2)
    assert "unwound" in timed_out(view.submit(divmod, 1, 0))


# --- stopped while waiting ------------------------------------------------------------


@pytest.fixture
def single():
    with Client(workers=1) as made:
        yield made


def test_a_task_that_waits_ends_at_its_deadline_and_never_starts(single, sign, until):
    blocker = single.submit(time.sleep, 60)
    until(blocker.running)
    begin_s = time.monotonic()
    futures = [single.options(deadline=0.2).submit(sleep_here, sign.path) for _ in range(20)]
    for future in futures:
        text = timed_out(future)
        assert "it never started" in text
        assert "0 s running" in text
        with pytest.raises(ClientError, match="no run of it came to an end"):
            future.profiling_info()
    assert 0.2 <= time.monotonic() - begin_s < BOUND_S
    assert not blocker.done()
    assert blocker.cancel()
    assert single.submit(pow, 2, 3).result(BOUND_S) == 8
    assert sign.text() == ""


def test_a_timeout_does_not_count_the_wait(single):
    view = single.options(timeout=1)
    futures = [view.submit(time.sleep, 0.2) for _ in range(6)]
    assert [future.result(BOUND_S) for future in futures] == [None] * 6


def test_a_retry_that_would_come_after_the_deadline_is_none(client):
    begin_s = time.monotonic()
    view = client.options(retries=Retry(3, backoff=60, jitter=0), deadline=10)
    assert isinstance(view.submit(divmod, 1, 0).exception(BOUND_S), ZeroDivisionError)
    assert time.monotonic() - begin_s < BOUND_S


def test_executors_that_die_do_not_move_the_deadline(client, sign):
    def die(path: str) -> None:
        note_pid(path)
        time.sleep(0.1)
        os._exit(3)

    future = client.options(max_attempts=1_000, deadline=1).submit(die, sign.path)
    text = timed_out(future)
    assert "deadline" in text
    assert Path(sign.path).read_text().count("\n") > 1


def test_a_death_before_the_timeout_is_a_death(client):
    error = client.options(timeout=30, max_attempts=1).submit(os._exit, 3).exception(BOUND_S)
    assert isinstance(error, WorkerDiedError)


# --- together with cancels, maps, coroutines ------------------------------------------


def test_a_cancel_of_a_task_that_is_being_stopped_is_confirmed(client, sign, alive):
    def hold_on(path: str) -> None:
        try:
            time.sleep(60)
        except BaseException:
            Path(path).write_text(str(os.getpid()))
            time.sleep(0.3)
            raise

    future = client.options(timeout=0.3).submit(hold_on, sign.path)
    sign.wait()
    assert future.cancel()
    assert future.cancel_outcome is CancelOutcome.CANCELED
    with pytest.raises(CancelledError):
        future.result()


def test_a_task_that_timed_out_can_be_given_up(client):
    future = client.options(timeout=0.1).submit(time.sleep, 60)
    timed_out(future)
    assert future.cancel()
    assert future.cancel_outcome is CancelOutcome.RELEASED


def test_an_item_that_takes_too_long_is_named_and_the_rest_is_cancelled(client):
    def wait_at(number: int) -> int:
        time.sleep(60 if number == 37 else 0)
        return number

    view = client.options(timeout=1)
    with pytest.raises(TaskTimeoutError, match="timeout of 1 s") as caught:
        view.map(wait_at, range(100))
    assert caught.value.__notes__ == ["raised for item 37 of the map"]
    values = view.imap(wait_at, range(100))
    assert [next(values) for _ in range(37)] == list(range(37))
    with pytest.raises(TaskTimeoutError):
        next(values)
    assert client.map(abs, range(-9, 0)) == list(range(9, 0, -1))


def test_a_deadline_holds_for_each_chunk_of_a_map(client):
    with pytest.raises(TaskTimeoutError, match="deadline"):
        client.options(deadline=0.3).map(time.sleep, [60])


def test_awaiting_raises_it_too(client):
    async def wait() -> None:
        await client.options(timeout=0.1).submit(time.sleep, 60)

    with pytest.raises(TaskTimeoutError):
        asyncio.run(wait())
    asubmit = client.options(timeout=0.1).asubmit

    async def submit_and_wait() -> None:
        await (await asubmit(time.sleep, 60))

    with pytest.raises(TaskTimeoutError):
        asyncio.run(submit_and_wait())


def test_it_is_not_the_error_of_a_result_that_is_not_there_yet(client):
    future = client.options(timeout=30).submit(time.sleep, 60)
    with pytest.raises(TimeoutError):
        future.result(0.01)
    with pytest.raises(ClientError, match="wait for its result first"):
        future.profiling_info()
    future.cancel()


@pytest.mark.parametrize("options", [{}, {"retries": 1}])
def test_the_deadline_of_a_map_holds_for_all_of_its_items(client, options):
    began_s = time.monotonic()
    with pytest.raises(TaskTimeoutError, match="deadline"):
        client.options(deadline=0.5, **options).map(time.sleep, [0.02] * 1_000)
    assert time.monotonic() - began_s < 5.0  # all of them take 10 s
    assert client.map(abs, [-1]) == [1]


def test_a_map_that_reads_its_items_for_too_long_meets_its_deadline(client):
    def items():
        yield 0
        while time.monotonic() < began_s + 0.3:
            yield 0.001

    began_s = time.monotonic()
    with pytest.raises(TaskTimeoutError, match="deadline"):
        for _ in client.options(deadline=0.2).imap(time.sleep, items()):
            pass
