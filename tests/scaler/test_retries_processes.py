"""Attempts after an exception and after the death of an executor, with real processes."""

from __future__ import annotations

import functools
import itertools
import os
import re
import signal
import sys
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from scaler import CancelOutcome, Client, Retry, SerializationError, WorkerDiedError

pytestmark = [
    pytest.mark.usefixtures("by_value"),
    pytest.mark.skipif(sys.platform != "linux", reason="kills by number"),
]

BOUND_S = 20.0


class BusyError(Exception):
    """What a flaky service says."""


def note_run(path: str) -> int:
    """Write down that the task runs, and return how many runs there were."""
    with open(path, "a") as file:
        file.write(f"{os.getpid()} {time.monotonic()}\n")
    return len(Path(path).read_text().splitlines())


def runs(path: str) -> list[tuple[int, float]]:
    """Process and time of each run."""
    lines = Path(path).read_text().split("\n")[:-1]
    return [(int(pid), float(time_s)) for pid, time_s in (line.split() for line in lines)]


def raises_until(path: str, good: int, kind: type[BaseException] = BusyError) -> int:
    number = note_run(path)
    if number < good:
        raise kind(f"run {number}")
    return number


def exits_until(path: str, good: int) -> int:
    number = note_run(path)
    if number < good:
        os._exit(number)
    return number


# --- its own exceptions ---------------------------------------------------------------


def test_by_default_an_exception_is_final(client, sign):
    error = client.submit(raises_until, sign.path, 2).exception(BOUND_S)
    assert isinstance(error, BusyError)
    assert len(runs(sign.path)) == 1
    assert "retries" not in "".join(error.__notes__)


@pytest.mark.parametrize("retries", [2, 5, Retry(2), Retry(2, when=BusyError)])
def test_a_task_is_tried_again_until_it_succeeds(client, sign, retries):
    future = client.options(retries=retries).submit(raises_until, sign.path, 3)
    assert future.result(BOUND_S) == 3
    assert len(runs(sign.path)) == 3
    assert future.profiling_info().attempt == 3


def test_only_the_last_exception_is_delivered_and_says_which_attempt_it_was(client, sign):
    error = client.options(retries=2).submit(raises_until, sign.path, 9).exception(BOUND_S)
    assert isinstance(error, BusyError)
    assert str(error) == "run 3"
    assert error.__context__ is None
    [note] = error.__notes__
    assert note.endswith("attempt 3 (retries: 2)")
    assert len(runs(sign.path)) == 3


def test_the_waits_double_up_to_the_longest(client, sign):
    retry = Retry(4, backoff=0.05, max_backoff=0.1, jitter=0)
    assert client.options(retries=retry).submit(raises_until, sign.path, 5).result(BOUND_S) == 5
    times = [time_s for _, time_s in runs(sign.path)]
    waits = [after - before for before, after in itertools.pairwise(times)]
    for wait_s, least_s in zip(waits, [0.05, 0.1, 0.1, 0.1], strict=True):
        assert least_s <= wait_s < least_s + 5


def test_jitter_spreads_tasks_that_failed_together(client, new_sign):
    view = client.options(retries=Retry(1, backoff=1, jitter=1))
    signs = [new_sign() for _ in range(20)]
    futures = [view.submit(raises_until, sign.path, 2) for sign in signs]
    assert [future.result(BOUND_S) for future in futures] == [2] * 20
    waits = []
    for sign in signs:
        (_, first_s), (_, second_s) = runs(sign.path)
        waits.append(second_s - first_s)
    assert min(waits) < 0.5
    assert max(waits) - min(waits) > 0.25


def test_a_slot_is_free_while_a_task_waits_for_its_retry(sign):
    with Client(workers=1) as client:
        view = client.options(retries=Retry(1, backoff=60, jitter=0))
        waiting = view.submit(raises_until, sign.path, 2)
        assert client.submit(pow, 2, 10).result(BOUND_S) == 1024
        assert len(runs(sign.path)) == 1
        assert waiting.cancel()


def test_a_cancel_during_the_wait_ends_it_at_once(client, sign, until):
    view = client.options(retries=Retry(3, backoff=60))
    future = view.submit(raises_until, sign.path, 2)
    sign.wait()
    client.submit(pow, 2, 3).result(BOUND_S)  # so that the first attempt has ended, or soon will
    begin_s = time.monotonic()
    assert future.cancel()
    assert future.cancel_outcome in (CancelOutcome.CANCELED, CancelOutcome.RESULT)
    assert time.monotonic() - begin_s < BOUND_S
    with pytest.raises(CancelledError):
        future.result()
    assert len(runs(sign.path)) == 1


@pytest.mark.parametrize(
    "when",
    [KeyError, (KeyError, OSError), lambda error: "later" in str(error)],
    ids=["type", "types", "function"],
)
def test_an_exception_that_is_not_meant_is_final(client, sign, when):
    view = client.options(retries=Retry(3, when=when))
    error = view.submit(raises_until, sign.path, 2).exception(BOUND_S)
    assert isinstance(error, BusyError)
    assert "not retried: its Retry says so" in error.__notes__[0]
    assert len(runs(sign.path)) == 1


def test_a_predicate_decides_anew_each_time(client, sign):
    def early(error: BaseException) -> bool:
        return str(error) in ("run 1", "run 2")

    error = client.options(retries=Retry(9, when=early)).submit(raises_until, sign.path, 9)
    assert str(error.exception(BOUND_S)) == "run 3"


def test_a_predicate_that_fails_is_told_with_the_tasks_own_exception(client, sign):
    def broken(error: BaseException) -> bool:
        return bool(error.args[7])

    view = client.options(retries=Retry(3, when=broken))
    error = view.submit(raises_until, sign.path, 2).exception(BOUND_S)
    assert isinstance(error, BusyError)
    assert "its Retry's predicate raised IndexError: tuple index" in error.__notes__[0]
    assert len(runs(sign.path)) == 1


def test_a_predicate_that_hangs_is_cancelled_like_its_task(client, sign, all_slots_run):
    path = sign.path

    def hang(error: BaseException) -> bool:
        Path(path).write_text("asked")
        time.sleep(60)
        return True

    future = client.options(retries=Retry(3, when=hang)).submit(divmod, 1, 0)
    sign.wait()
    assert future.cancel()
    assert future.cancel_outcome is CancelOutcome.CANCELED
    assert client.submit(pow, 2, 3).result(BOUND_S) == 8


def test_a_predicate_may_run_with_the_class_it_came_with(client):
    class LocalError(Exception):
        """Travels by value, twice."""

    def fail() -> None:
        raise LocalError("local")

    view = client.options(retries=Retry(2, when=LocalError))
    error = view.submit(fail).exception(BOUND_S)
    assert type(error) is LocalError
    assert "attempt 3" in error.__notes__[0]


def test_what_does_not_pickle_is_not_computed_again(client, sign):
    def compute(path: str) -> Any:
        note_run(path)
        return threading.Lock()

    error = client.options(retries=3).submit(compute, sign.path).exception(BOUND_S)
    assert isinstance(error, SerializationError)
    assert len(runs(sign.path)) == 1


def test_a_predicate_that_kills_its_executor_costs_attempts(client):
    def die(error: BaseException) -> bool:
        os._exit(9)

    error = client.options(retries=Retry(3, when=die)).submit(divmod, 1, 0).exception(BOUND_S)
    assert isinstance(error, WorkerDiedError)
    assert str(error).count("exit code 9") == 3


# --- executors that die ---------------------------------------------------------------


def test_a_task_whose_executor_dies_runs_again_elsewhere(client, sign):
    future = client.submit(exits_until, sign.path, 3)
    assert future.result(BOUND_S) == 3
    assert len({pid for pid, _ in runs(sign.path)}) == 3
    assert future.profiling_info().attempt == 3


def test_a_killed_executor_costs_an_attempt_and_no_more(client, sign):
    def wait_at_first(path: str) -> int:
        number = note_run(path)
        while number == 1:
            time.sleep(0.01)
        return number

    future = client.submit(wait_at_first, sign.path)
    behind = [client.submit(pow, number, 2) for number in range(200)]
    begin_s = time.monotonic()
    os.kill(sign.pid(), signal.SIGKILL)
    assert future.result(BOUND_S) == 2
    assert time.monotonic() - begin_s < 5
    assert [each.result(BOUND_S) for each in behind] == [number**2 for number in range(200)]
    assert {each.profiling_info().attempt for each in behind} == {1}


def test_after_three_lost_attempts_the_error_lists_each_cause(client, sign):
    named = client.options(name="the poison")
    with pytest.raises(WorkerDiedError) as caught:
        named.submit(exits_until, sign.path, 9).result(BOUND_S)
    head, *causes = str(caught.value).split("\n")
    assert head.startswith("the poison: task ")
    assert head.endswith("lost its executor 3 times; 3 attempts are allowed (`max_attempts`)")
    causes = [cause for cause in causes if cause.startswith("attempt ")]
    assert len(causes) == 3
    for number, (pid, _) in enumerate(runs(sign.path), 1):
        cause = rf"attempt {number} on worker-\d, pid {pid}: exit code {number}"
        assert re.fullmatch(cause, causes[number - 1])


@pytest.mark.parametrize("max_attempts", [1, 2, 5])
def test_max_attempts_is_the_number_of_executors_a_task_may_cost(client, sign, max_attempts):
    view = client.options(max_attempts=max_attempts)
    error = view.submit(exits_until, sign.path, 9).exception(BOUND_S)
    assert isinstance(error, WorkerDiedError)
    assert len(runs(sign.path)) == max_attempts


def test_losses_and_exceptions_are_counted_apart(client, sign):
    def alternate(path: str) -> int:
        number = note_run(path)
        if number in (1, 3):
            raise BusyError
        if number in (2, 4):
            os._exit(1)
        return number

    view = client.options(retries=2, max_attempts=3)
    future = view.submit(alternate, sign.path)
    assert future.result(BOUND_S) == 5
    assert future.profiling_info().attempt == 5


def test_at_most_once_means_one_run_whatever_happens(client, new_sign):
    view = client.options(max_attempts=1, retries=0)
    for task in (exits_until, raises_until):
        sign = new_sign()
        assert view.submit(task, sign.path, 2).exception(BOUND_S) is not None
        assert len(runs(sign.path)) == 1


def test_a_cancelled_task_is_not_run_again(client, sign):
    def wait_deaf(path: str) -> None:
        note_run(path)
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        time.sleep(60)

    future = client.submit(wait_deaf, sign.path)
    sign.wait()
    assert future.cancel(grace=0)
    assert future.cancel_outcome is CancelOutcome.CANCELED
    settled = [client.submit(time.sleep, 0.01) for _ in range(10)]
    assert [each.result(BOUND_S) for each in settled] == [None] * 10
    assert len(runs(sign.path)) == 1


# --- maps -----------------------------------------------------------------------------


def raise_first(folder: str, number: int) -> int:
    path = Path(folder, str(number))
    if number % 10 == 7 and not path.exists():
        path.touch()
        raise BusyError(number)
    return -number


def test_a_map_retries_items_and_not_those_beside_them(client, tmp_path):
    view = client.options(retries=1)
    work = functools.partial(raise_first, str(tmp_path))
    assert view.map(work, range(100)) == [-number for number in range(100)]
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == list(range(7, 100, 10))
    assert list(view.imap(work, range(100))) == [-number for number in range(100)]
    assert view.starmap(pow, [(2, 3), (3, 2)]) == [8, 9]


def test_an_item_that_fails_for_good_is_named(client):
    view = client.options(retries=1)
    with pytest.raises(ZeroDivisionError) as caught:
        view.map(divmod, [1] * 100, [1] * 37 + [0] * 63)
    assert "attempt 2 (retries: 1)" in caught.value.__notes__[0]
    assert caught.value.__notes__[1] == "raised for item 37 of the map"


@pytest.mark.parametrize("retries", [0, 1])
def test_an_item_that_does_not_pickle_is_named_by_its_place(client, retries):
    items: list[Any] = list(range(100))
    items[37] = threading.Lock()
    client.map(str, range(100))
    with pytest.raises(SerializationError, match="argument 0 of item 37 "):
        client.options(retries=retries).map(str, items)


def test_the_items_of_a_lost_chunk_run_again(client, sign):
    def exit_once(number: int, path: str) -> int:
        if number == 37 and note_run(path) == 1:
            os._exit(3)
        return -number

    values = client.map(exit_once, range(60), [sign.path] * 60)
    assert values == [-number for number in range(60)]
    assert len(runs(sign.path)) == 2
