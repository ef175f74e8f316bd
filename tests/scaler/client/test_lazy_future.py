"""The standard library's contract of a future, on futures resolved by hand."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
import sys
import threading
import time
import weakref
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    CancelledError,
    Future,
    InvalidStateError,
    as_completed,
    wait,
)
from typing import Any, ClassVar, get_origin

import pytest

from actors.section import LOCK, SECTION
from scaler.client.future import CancelOutcome, ScalerFuture, resolve_rows

BOUND_S = 10.0


def test_it_is_a_standard_future(session):
    assert isinstance(session.future(), Future)
    assert get_origin(ScalerFuture[int]) is ScalerFuture


def test_states_of_a_future_that_succeeds(session):
    future = session.future()
    assert not future.done()
    assert not future.running()
    assert not future.cancelled()
    assert future.set_running()
    assert future.running()
    assert not future.done()
    assert not future.set_running()
    assert future.set_result_ready(session.row("value"))
    assert future.done()
    assert not future.running()
    assert not future.cancelled()
    assert future.result() == "value"
    assert future.exception() is None


def test_states_of_a_future_that_fails(session):
    future = session.future()
    future.set_result_ready(session.row(error=ZeroDivisionError("here")))
    assert future.done()
    assert not future.cancelled()
    assert isinstance(future.exception(), ZeroDivisionError)
    with pytest.raises(ZeroDivisionError, match="here"):
        future.result()
    assert future.exception() is future.exception()


def test_states_of_a_future_that_is_cancelled(session):
    future = session.future()
    assert future.cancel()
    assert future.done()
    assert future.cancelled()
    assert not future.running()
    with pytest.raises(CancelledError):
        future.result()
    with pytest.raises(CancelledError):
        future.exception()


def test_waiting_ends_with_the_timeout(session):
    future = session.future()
    for timeout in (0, 0.01, -1):
        with pytest.raises(TimeoutError):
            future.result(timeout=timeout)
        with pytest.raises(TimeoutError):
            future.exception(timeout=timeout)
    future.set_result_ready(session.row(5))
    assert future.result(timeout=0) == 5


@pytest.mark.parametrize("waits", [ScalerFuture.result, ScalerFuture.exception])
@pytest.mark.parametrize("how", ["value", "error", "cancel", "broken"])
def test_a_waiting_thread_wakes_whatever_the_answer(session, in_thread, wait_until, waits, how):
    future = session.future()
    answers: list[Any] = []

    def look() -> None:
        try:
            answers.append(waits(future, BOUND_S))
        except (CancelledError, OSError, ValueError) as error:
            answers.append(error)

    in_thread(look)
    wait_until(lambda: future._listeners)
    if how == "value":
        future.set_result_ready(session.row(5))
    elif how == "error":
        future.set_result_ready(session.row(error=ValueError("wrong")))
    elif how == "cancel":
        future.cancel()
    else:
        future.set_error(OSError("gone"))
    wait_until(lambda: answers)
    expected = {
        "value": {ScalerFuture.result: int, ScalerFuture.exception: type(None)}[waits],
        "error": ValueError,
        "cancel": CancelledError,
        "broken": OSError,
    }
    assert type(answers[0]) is expected[how]


def test_the_standard_setters_work_too(session):
    future = session.future()
    assert future.set_running_or_notify_cancel()
    future.set_result(3)
    assert future.result() == 3
    with pytest.raises(InvalidStateError):
        future.set_result(4)
    with pytest.raises(InvalidStateError):
        future.set_exception(OSError())
    failed = session.future()
    failed.set_exception(OSError("by hand"))
    with pytest.raises(OSError, match="by hand"):
        failed.result()


def test_an_error_raised_again_and_again_leaves_no_cycle(session):
    class MarkerError(Exception):
        pass

    future = session.future()
    future.set_error(MarkerError())
    gc.disable()
    try:
        gone = weakref.ref(future.exception())
        for _ in range(3):
            with pytest.raises(MarkerError):
                future.result()
        del future
        assert gone() is None
    finally:
        gc.enable()


# Callbacks.


def test_callbacks_run_in_order_and_once(session, wait_until):
    future = session.future()
    called: list[Any] = []
    for number in range(3):
        future.add_done_callback(lambda done, number=number: called.append((number, done)))
    future.set_result_ready(session.row(1))
    wait_until(lambda: len(called) == 3)
    assert called == [(0, future), (1, future), (2, future)]
    assert not future.set_result_ready(session.row(2))
    assert not future.set_cancel_confirmed()
    assert not future.set_error(OSError())
    assert future.release()
    assert session.callbacks.close(BOUND_S)
    assert len(called) == 3


def test_callbacks_run_on_the_callback_thread(session, wait_until):
    future = session.future()
    threads: list[threading.Thread] = []
    future.add_done_callback(lambda _: threads.append(threading.current_thread()))
    future.cancel()
    wait_until(lambda: threads)
    assert threads[0].name == "callbacks-of-a-test"
    assert threads[0].daemon


@pytest.mark.parametrize("how", ["value", "error", "cancel"])
def test_a_callback_added_to_a_done_future_runs_at_once(session, how):
    future = session.future()
    if how == "value":
        future.set_result_ready(session.row(1))
    elif how == "error":
        future.set_error(OSError())
    else:
        future.cancel()
    called: list[Any] = []
    future.add_done_callback(called.append)
    assert called == [future]


def test_an_exception_of_a_callback_is_logged_and_the_next_one_runs(session, caplog, wait_until):
    called: list[Any] = []

    def broken(_: Any) -> None:
        raise ValueError("in a callback")

    future = session.future()
    future.add_done_callback(broken)
    future.add_done_callback(called.append)
    with caplog.at_level(logging.ERROR, "concurrent.futures"):
        future.set_result_ready(session.row(1))
        wait_until(lambda: called)
        future.add_done_callback(broken)
    assert [record.message for record in caplog.records] == [
        f"exception calling callback for {future!r}"
    ] * 2
    assert "in a callback" in caplog.text


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_a_callback_that_wants_to_end_the_thread_is_logged_and_the_next_one_runs(
    session, caplog, wait_until, error
):
    called: list[Any] = []

    def leave(_: Any) -> None:
        raise error

    future = session.future()
    for callback in (leave, called.append, leave, called.append):
        future.add_done_callback(callback)
    future.set_result_ready(session.row(1))
    wait_until(lambda: len(called) == 2)
    assert session.callbacks.close(BOUND_S)
    logged = f"a callback of {future!r} ended with what no callback may raise"
    assert [record.message for record in caplog.records] == [logged] * 2


def test_a_callback_called_at_once_may_end_the_thread_it_is_called_on(session):
    future = session.future()
    future.set_result_ready(session.row(1))
    with pytest.raises(SystemExit):
        future.add_done_callback(lambda _: sys.exit(3))


# wait and as_completed.


def test_wait_for_the_first(session, in_thread):
    first, second = session.futures(2)
    in_thread(lambda: first.set_result_ready(session.row(1)))
    done, not_done = wait([first, second], timeout=BOUND_S, return_when=FIRST_COMPLETED)
    assert done == {first}
    assert not_done == {second}


def test_wait_for_the_first_exception(session, in_thread):
    good, bad, other = session.futures(3)

    def resolve() -> None:
        resolve_rows([(good, session.row(1)), (bad, session.row(error=OSError("bad")))])

    in_thread(resolve)
    done, not_done = wait([good, bad, other], timeout=BOUND_S, return_when=FIRST_EXCEPTION)
    assert done == {good, bad}
    assert not_done == {other}
    again = wait([bad, other], timeout=BOUND_S, return_when=FIRST_EXCEPTION)
    assert again.not_done == {other}


class Opened:
    """Counts how often it was unpickled, and where the lock was then."""

    places: ClassVar[list[bool]] = []

    def __reduce__(self) -> Any:
        return _opened, ()


def _opened() -> str:
    Opened.places.append(SECTION.is_mine())
    return "opened"


def test_wait_never_opens_a_value_under_the_lock(session):
    Opened.places.clear()
    futures = session.futures(3)
    resolve_rows([(future, session.row(Opened())) for future in futures])
    assert len(wait(futures, return_when=FIRST_EXCEPTION).done) == 3
    assert Opened.places == []
    assert [future.result() for future in futures] == ["opened"] * 3
    assert Opened.places == [False] * 3


def test_wait_for_all_with_values_errors_and_cancels(session, in_thread):
    futures = session.futures(4)

    def resolve() -> None:
        futures[0].set_result_ready(session.row(1))
        futures[1].set_error(OSError())
        futures[2].set_cancel_confirmed()
        futures[3].set_result_ready(session.row(error=ValueError()))

    in_thread(resolve)
    assert wait(futures, timeout=BOUND_S, return_when=ALL_COMPLETED).done == set(futures)


def test_wait_gives_up_after_its_timeout(session):
    first, second = session.futures(2)
    first.set_result_ready(session.row(1))
    done, not_done = wait([first, second], timeout=0.01)
    assert done == {first}
    assert not_done == {second}


def test_wait_leaves_no_waiter_behind(session):
    future = session.future()
    wait([future], timeout=0)
    assert future._waiters == []


def test_as_completed_yields_in_order_of_completion(session):
    futures = session.futures(5)
    iterator = as_completed([*futures, *futures], timeout=BOUND_S)
    order = [3, 1, 4, 0, 2]
    futures[order[0]].set_result_ready(session.row(0))
    assert next(iterator) is futures[order[0]]
    resolve_rows([(futures[n], session.row(n)) for n in order[1:]])
    assert list(iterator) == [futures[n] for n in order[1:]]


def test_as_completed_names_what_is_missing(session):
    futures = session.futures(3)
    futures[0].cancel()
    with pytest.raises(TimeoutError, match=r"2 \(of 3\) futures unfinished"):
        list(as_completed(futures, timeout=0))


# asyncio.


def test_a_future_can_be_awaited(session, in_thread):
    future = session.future()

    async def main() -> Any:
        in_thread(future.set_result_ready, session.row("value"))
        return await future

    assert asyncio.run(main()) == "value"


def test_awaiting_raises_what_the_task_raised(session, in_thread):
    future = session.future()

    async def main() -> Any:
        in_thread(future.set_result_ready, session.row(error=KeyError("key")))
        return await asyncio.wait_for(asyncio.wrap_future(future), BOUND_S)

    with pytest.raises(KeyError):
        asyncio.run(main())


def test_awaiting_a_cancelled_future_raises_asyncios_error(session):
    future = session.future()
    future.cancel()

    async def main() -> Any:
        return await future

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


def test_gather_takes_them(session, in_thread):
    futures = session.futures(20)

    async def main() -> Any:
        in_thread(lambda: resolve_rows([(f, session.row(f.task_id)) for f in futures]))
        return await asyncio.gather(*map(asyncio.wrap_future, futures))

    assert asyncio.run(main()) == list(range(20))


def test_a_timeout_of_asyncio_cancels_without_stalling_the_loop(session):
    future = session.future()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(future, 0.01)

    asyncio.run(main())
    assert future.cancelled()
    assert future.cancel_outcome is CancelOutcome.UNCONFIRMED
    assert session.sent == [(7, True, None)]
    assert session.requests == []


def test_the_snapshot_of_newer_pythons(session):
    future = session.future()
    assert future._get_snapshot() == (False, False, None, None)
    future.set_result_ready(session.row("value"))
    assert future._get_snapshot() == (True, False, "value", None)
    future.cancel()
    assert future._get_snapshot() == (True, True, None, None)


# Waiters.


class Told:
    """A waiter that keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def add_result(self, future: Any) -> None:
        self.told.append(("result", future.task_id))

    def add_exception(self, future: Any) -> None:
        self.told.append(("exception", future.task_id))

    def add_cancelled(self, future: Any) -> None:
        self.told.append(("cancelled", future.task_id))


@pytest.mark.parametrize("early", [True, False])
def test_a_waiter_is_told_once_before_or_after(session, early):
    futures, waiter = session.futures(4), Told()
    if early:
        for future in futures:
            future.add_waiter(waiter)
    resolve_rows([(futures[0], session.row(1)), (futures[1], session.row(error=OSError()))])
    futures[2].set_error(OSError())
    futures[3].set_cancel_confirmed()
    resolve_rows([(future, session.row(2)) for future in futures])
    if not early:
        for future in futures:
            future.add_waiter(waiter)
    kinds = ["result", "exception", "exception", "cancelled"]
    assert waiter.told == list(zip(kinds, range(4), strict=True))


def test_a_wait_that_must_not_happen_is_refused(session):
    session.refuses_to_wait = RuntimeError("not on this thread")
    future = session.future()
    with pytest.raises(RuntimeError, match="not on this thread"):
        future.result()
    future.set_result_ready(session.row(1))
    assert future.result() == 1


# Races.


def test_a_thousand_futures_with_waiters_a_resolver_and_a_canceller(session, in_thread):
    futures = session.futures(1000)
    told: dict[int, int] = dict.fromkeys(range(1000), 0)

    def count(future: ScalerFuture) -> None:
        told[future.task_id] += 1

    for future in futures[::2]:
        future.add_done_callback(count)
    answers: list[list[Any]] = [[], [], []]

    def look(seen: list[Any], chosen: list[ScalerFuture]) -> None:
        for future in chosen:
            try:
                seen.append(future.result(BOUND_S))
            except CancelledError:
                seen.append(None)

    def resolve() -> None:
        shuffled = random.Random(1).sample(futures, 1000)
        for start in range(0, 1000, 50):
            batch = [(f, session.row(f.task_id)) for f in shuffled[start : start + 50]]
            session.callbacks.call(resolve_rows(batch))

    def cancel() -> None:
        for future in random.Random(2).sample(futures, 500):
            future.set_cancel_confirmed()

    in_thread(look, answers[0], futures)
    in_thread(look, answers[1], futures[::-1])
    in_thread(lambda: answers[2].extend(as_completed(futures, timeout=BOUND_S)))
    threads = [in_thread(resolve), in_thread(cancel)]
    for thread in threads:
        thread.join(BOUND_S)
    assert len(wait(futures, timeout=BOUND_S).done) == 1000
    assert session.callbacks.close(BOUND_S)
    deadline_s = time.monotonic() + BOUND_S
    while not all(len(seen) == 1000 for seen in answers):
        assert time.monotonic() < deadline_s
    assert answers[0] == answers[1][::-1]
    expected = [None if future.cancelled() else future.task_id for future in futures]
    assert answers[0] == expected
    assert [told[n] for n in range(1000)] == [1, 0] * 500


def test_values_given_up_while_others_read_them(session, in_thread):
    for _ in range(200):
        future = session.future()
        future.set_result_ready(session.row("value"))
        seen: list[Any] = []

        def look(future: ScalerFuture = future, seen: list[Any] = seen) -> None:
            for _ in range(20):
                try:
                    seen.append(future.result())
                except CancelledError:
                    seen.append(None)

        thread = in_thread(look)
        future.cancel()
        with pytest.raises(CancelledError):
            future.result()
        thread.join(BOUND_S)
        values = [value for value in seen if value is not None]
        assert seen == ["value"] * len(values) + [None] * (20 - len(values))


def test_a_value_is_opened_once_for_many_threads(session, in_thread):
    for _ in range(50):
        Opened.places.clear()
        future = session.future()
        start, seen = threading.Barrier(4), []

        def look(
            future: ScalerFuture = future,
            start: threading.Barrier = start,
            seen: list[Any] = seen,
        ) -> None:
            start.wait(BOUND_S)
            seen.append(future.result(BOUND_S))

        threads = [in_thread(look) for _ in range(3)]
        future.set_result_ready(session.row(Opened()))
        start.wait(BOUND_S)
        for thread in threads:
            thread.join(BOUND_S)
        assert seen == ["opened"] * 3
        assert Opened.places == [False]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_while_another_thread_holds_the_lock_does_not_lock_the_child(session, in_thread):
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with LOCK:
            held.set()
            assert let_go.wait(BOUND_S)

    future, waited_for = session.futures(2)
    assert wait([waited_for], timeout=0).not_done
    in_thread(hold)
    assert held.wait(BOUND_S)
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        cancelled = future.set_cancel_confirmed() and waited_for.set_cancel_confirmed()
        os._exit(0 if cancelled else 1)
    let_go.set()
    assert os.waitpid(pid, 0)[1] == 0
