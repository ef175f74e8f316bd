"""The standard library's way through the lock: exclusive, and over when it was interrupted."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import wait
from typing import Any

import pytest

from actors.section import LOCK, SECTION, Section

BOUND_S = 10.0


@pytest.fixture
def section():
    return Section()


def enter_and_be_interrupted(section: Section, times: int = 1) -> None:
    for _ in range(times):
        section.acquire()
    raise KeyboardInterrupt


def await_end(section: Section) -> None:
    with LOCK:
        section.await_end()


def test_a_thread_may_enter_many_times(section):
    for _ in range(3):
        section.acquire()
    with section:
        assert section.is_mine()
        section.release()
        section.release()
        assert section.holder == threading.get_ident()
        section.release()
        assert section.is_mine()
    assert section.holder == 0
    assert not section.is_mine()


def test_its_own_thread_never_waits(section):
    with section:
        await_end(section)
        assert section.is_mine()


def test_others_wait_for_the_end_of_a_section(section, in_thread, wait_until):
    passed: list[str] = []
    with section:
        in_thread(lambda: (await_end(section), passed.append("change")))
        in_thread(lambda: (section.acquire(), passed.append("section"), section.release()))
        wait_until(lambda: len(section._ended._waiters) == 2)
        assert passed == []
    wait_until(lambda: len(passed) == 2)
    assert section.holder == 0


def test_an_interrupted_section_is_over(section, in_thread):
    with pytest.raises(KeyboardInterrupt):
        enter_and_be_interrupted(section, 100)
    assert section.holder == threading.get_ident()
    in_thread(await_end, section).join(BOUND_S)
    assert section.holder == 0


def test_a_thread_that_was_interrupted_begins_anew(section):
    with pytest.raises(KeyboardInterrupt):
        enter_and_be_interrupted(section, 100)
    with section:
        assert section.is_mine()
    assert section.holder == 0


def test_a_section_of_a_thread_that_ended_is_over(section, in_thread):
    in_thread(section.acquire).join(BOUND_S)
    assert section.holder != 0
    await_end(section)
    assert section.holder == 0


def test_many_threads_are_in_it_one_at_a_time(section, in_thread):
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(200):
            with section:
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    for thread in [in_thread(work) for _ in range(4)]:
        thread.join(BOUND_S)
    assert len(most) == 800
    assert max(most) == 1


class InterruptedWait(Exception):
    pass


@pytest.mark.parametrize("after", [1, 50, 99, 101, 150, 200])
def test_a_wait_interrupted_anywhere_stops_no_future(session, in_thread, monkeypatch, after):
    futures = session.futures(100)
    calls = [0]

    def stop(frame: Any, event: str, argument: Any) -> Any:
        if frame.f_code.co_name in {"acquire", "release"} and event == "call":
            calls[0] += 1
            if calls[0] == after + 1:
                raise InterruptedWait
        return None

    before = sys.gettrace()
    sys.settrace(stop)
    try:
        with pytest.raises(InterruptedWait):
            wait(futures, timeout=0)
    finally:
        sys.settrace(before)
    resolved = in_thread(lambda: [future.set_result_ready(session.row(1)) for future in futures])
    resolved.join(BOUND_S)
    assert len(wait(futures, timeout=BOUND_S).done) == 100
    assert SECTION.holder == 0
