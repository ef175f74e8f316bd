"""The thread of callbacks: one, lazy, in order, closable, and not to be killed."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from scaler.client.callbacks import CallbackThread

BOUND_S = 10.0


@pytest.fixture
def thread():
    made = CallbackThread("callbacks-alone")
    yield made
    assert made.close(BOUND_S)


def finished(session, callback):
    future = session.future()
    future.add_done_callback(callback)
    future._state = "FINISHED"
    return future


def test_there_is_no_thread_before_the_first_callback(thread):
    before = threading.active_count()
    thread.call([])
    assert thread.close(0)
    assert threading.active_count() == before


def test_callbacks_run_in_the_order_given_on_one_thread(session, thread, wait_until):
    seen: list[Any] = []
    threads: dict[int, None] = {}

    def callback(future: Any) -> None:
        seen.append(future)
        threads[threading.get_ident()] = None

    futures = [finished(session, callback) for _ in range(100)]
    for start in range(0, 100, 10):
        thread.call(futures[start : start + 10])
    wait_until(lambda: len(seen) == 100)
    assert seen == futures
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_a_future_handed_over_twice_is_called_once(session, thread):
    seen: list[Any] = []
    future = finished(session, seen.append)
    thread.call([future, future])
    thread.call([future])
    assert thread.close(BOUND_S)
    assert seen == [future]


@pytest.mark.filterwarnings("ignore")
def test_system_exit_in_a_callback_does_not_end_the_thread(session, thread, wait_until, caplog):
    seen: list[Any] = []

    def leave(_: Any) -> None:
        raise SystemExit

    thread.call([finished(session, leave), finished(session, seen.append)])
    wait_until(lambda: seen)
    assert "what no callback may raise" in caplog.text


def test_close_drains_first(session, thread, wait_until):
    go, entered, seen = threading.Event(), threading.Event(), []

    def slow(_: Any) -> None:
        entered.set()
        assert go.wait(BOUND_S)

    thread.call([finished(session, slow), *[finished(session, seen.append) for _ in range(50)]])
    assert entered.wait(BOUND_S)
    assert not thread.close(0)
    assert repr(thread) == "<CallbackThread callbacks-alone due=50>"
    go.set()
    assert thread.close(BOUND_S)
    assert len(seen) == 50


def test_what_comes_after_close_is_called_too(session, thread, wait_until):
    assert thread.close(BOUND_S)
    seen: list[Any] = []
    thread.call([finished(session, seen.append)])
    wait_until(lambda: seen)


def test_closing_within_a_callback_does_not_wait_for_itself(session, thread, wait_until):
    closed: list[bool] = []
    seen: list[Any] = []
    first = finished(session, lambda _: closed.append(thread.close(BOUND_S)))
    thread.call([first, finished(session, seen.append)])
    wait_until(lambda: seen)
    assert closed == [False]


def test_closing_twice_is_fine(thread):
    assert thread.close(0)
    assert thread.close(0)


def test_without_a_thread_the_loss_is_said(session, thread, monkeypatch, caplog):
    def refuse(_: Any) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    thread.call([finished(session, lambda _: None)])
    assert "callbacks of 1 futures are not called" in caplog.text


def test_calls_from_many_threads_lose_nothing(session, thread, in_thread):
    seen: list[Any] = []

    def hand_over() -> None:
        for _ in range(200):
            thread.call([finished(session, seen.append)])

    for started in [in_thread(hand_over) for _ in range(5)]:
        started.join(BOUND_S)
    assert thread.close(BOUND_S)
    assert len(seen) == 1000
