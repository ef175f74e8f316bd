"""Cancelling with real processes: what the caller is told, and what really has stopped."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed, wait
from typing import Any

import pytest

from scaler import CancelOutcome, Client

pytestmark = [
    pytest.mark.usefixtures("by_value"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

LONG_S = 60.0
BOUND_S = 20.0


# What tasks do. Each says its pid first.


def say(path: str, *words: Any) -> None:
    with open(path, "a") as file:
        file.write(" ".join(map(str, words)) + "\n")


def sleep(path: str) -> None:
    say(path, os.getpid())
    time.sleep(LONG_S)


def loop(path: str) -> None:
    say(path, os.getpid())
    while True:
        pass


def wait_for_event(path: str) -> None:
    say(path, os.getpid())
    threading.Event().wait()


def acquire_lock(path: str) -> None:
    lock = threading.Lock()
    lock.acquire()
    say(path, os.getpid())
    lock.acquire()


def read_a_pipe(path: str) -> None:
    reader, _ = os.pipe()
    say(path, os.getpid())
    os.read(reader, 1)


def accept(path: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        say(path, os.getpid())
        server.accept()


async def sleep_in_a_coroutine(path: str) -> None:
    import asyncio

    say(path, os.getpid())
    await asyncio.sleep(LONG_S)


def sleep_in_a_with(path: str) -> None:
    with open(path, "a") as file:
        try:
            file.write(f"{os.getpid()} ")
            file.flush()
            time.sleep(LONG_S)
        finally:
            file.write("cleaned up")


def sum_in_c(path: str) -> None:
    say(path, os.getpid())
    sum(range(10**12))


def match_for_ever(path: str) -> None:
    say(path, os.getpid())
    re.match(r"(a+)+$", "a" * 60 + "b")


def sleep_in_c_with_the_gil(path: str) -> None:
    import ctypes

    library = ctypes.PyDLL(None)
    say(path, os.getpid())
    library.sleep(60)


def deadlock_in_c_with_the_gil(path: str) -> None:
    import ctypes

    library = ctypes.PyDLL(None)
    mutex = ctypes.create_string_buffer(64)  # zeros: an unlocked one
    say(path, os.getpid())
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)


def sum_in_c_for_a_while(path: str) -> None:
    say(path, os.getpid())
    try:
        sum(range(20_000_000))  # some tenths of a second
        time.sleep(LONG_S)
    finally:
        say(path, "cleaned up")


def swallow(path: str) -> None:
    say(path, os.getpid())
    while True:
        try:
            time.sleep(LONG_S)
        except BaseException:
            pass


def block_all_signals(path: str) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
    say(path, os.getpid())
    time.sleep(LONG_S)


def replace_all_handlers(path: str) -> None:
    for number in range(signal.SIGRTMIN, signal.SIGRTMAX + 1):
        signal.signal(number, signal.SIG_IGN)
    say(path, os.getpid())
    time.sleep(LONG_S)


def swallow_once(path: str, then: Any) -> Any:
    say(path, os.getpid())
    try:
        time.sleep(LONG_S)
    except BaseException:
        if isinstance(then, Exception):
            raise then from None
    return then


def swallow_until(path: str, stop_path: str) -> str:
    say(path, os.getpid())
    while not os.path.exists(stop_path):
        try:
            time.sleep(0.005)
        except BaseException:
            pass
    return "the end"


def beat(path: str) -> None:
    """Write the time into the file for ever."""
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 16) as page:
        struct.pack_into("<q", page, 8, os.getpid())
        while True:
            struct.pack_into("<q", page, 0, time.monotonic_ns())


def beat_in_a_thread(path: str) -> None:
    threading.Thread(target=beat, args=(path,), daemon=True).start()
    time.sleep(LONG_S)


def beat_in_a_child(path: str) -> None:
    child = multiprocessing.get_context("fork").Process(target=beat, args=(path,))
    child.start()
    child.join()


def beat_in_a_grandchild(path: str) -> None:
    """The process in between ends at once; the other is of another session."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            beat(path)
        os._exit(0)
    os.wait()
    time.sleep(LONG_S)


def start_a_program(path: str) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as program:
        say(path, program.pid)
        time.sleep(LONG_S)


def leave_a_program() -> int:
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    return program.pid


def import_slowly(path: str, folder: str) -> str:
    sys.path.insert(0, folder)
    import slow_to_import  # type: ignore[import-not-found]

    return slow_to_import.value


def import_and_swallow(path: str, folder: str) -> str:
    sys.path.insert(0, folder)
    try:
        import never_imported  # type: ignore[import-not-found]
    except BaseException:
        return "swallowed"
    return never_imported.__name__


class Pulse:
    """What `beat` writes."""

    def __init__(self, path: str) -> None:
        self.path = path
        with open(path, "wb") as file:
            file.write(bytes(16))

    def read(self) -> tuple[int, int]:
        with open(self.path, "rb") as file:
            return struct.unpack("<qq", file.read(16))


@pytest.fixture
def pulse(tmp_path):
    return Pulse(str(tmp_path / "pulse"))


def slots_are_back(client: Client) -> bool:
    """Both workers run a task at the same time."""
    futures = [client.submit(time.sleep, 0.02) for _ in range(2)]
    wait(futures, BOUND_S)
    return len({future.profiling_info().pid for future in futures}) == 2


# --- the rows of the table --------------------------------------------------------------------


@pytest.mark.parametrize(
    "task",
    [sleep, loop, wait_for_event, acquire_lock, read_a_pipe, accept, sleep_in_a_coroutine],
    ids=lambda task: task.__name__,
)
def test_a_running_task_unwinds_and_its_process_is_used_again(client, sign, alive, task):
    future = client.submit(task, sign.path)
    pid = sign.pid()
    assert future.cancel() is True
    assert future.cancel_outcome is CancelOutcome.CANCELED
    with pytest.raises(CancelledError):
        future.result()
    assert alive(pid)
    again = [client.submit(time.sleep, 0.02) for _ in range(2)]
    wait(again, BOUND_S)
    assert pid in {future.profiling_info().pid for future in again}


def test_finally_blocks_run_before_the_confirm(client, sign):
    future = client.submit(sleep_in_a_with, sign.path)
    sign.wait()
    assert future.cancel()
    assert "cleaned up" in sign.text()


def test_a_queued_task_never_starts(client, new_sign):
    blockers = [client.submit(sleep, sign.path) for sign in (new_sign(), new_sign())]
    signs = [new_sign() for _ in range(20)]
    queued = [client.submit(sleep, sign.path) for sign in signs]
    for future in queued:
        assert future.cancel(force=False)
        assert future.cancel_outcome is CancelOutcome.CANCELED
    assert client.cancel(blockers) == [True, True]
    assert slots_are_back(client)
    assert [sign.text() for sign in signs] == [""] * 20


def test_a_task_that_answered_the_interrupt_with_a_value_is_cancelled_all_the_same(client, sign):
    future = client.submit(swallow_once, sign.path, "value")
    sign.wait()
    assert future.cancel() is True
    assert future.cancelled()
    assert future.cancel_outcome is CancelOutcome.RESULT
    with pytest.raises(CancelledError):
        future.result()


def test_a_task_that_answered_the_interrupt_with_an_error_has_unwound(client, sign):
    future = client.submit(swallow_once, sign.path, ValueError("mine"))
    sign.wait()
    assert future.cancel() is True
    assert future.cancel_outcome is CancelOutcome.CANCELED


def test_without_force_a_running_task_goes_on_and_delivers(client, sign, new_sign):
    stop = new_sign()
    future = client.submit(swallow_until, sign.path, stop.path)
    sign.wait()
    assert future.cancel(force=False) is False
    assert future.cancel_outcome is CancelOutcome.FAILED
    assert not future.done()
    assert future.cancel(force=False) is False
    say(stop.path, "stop")
    assert future.result(BOUND_S) == "the end"
    assert future.cancel_outcome is CancelOutcome.FAILED


def test_force_after_a_refusal_stops_it(client, sign):
    future = client.submit(sleep, sign.path)
    sign.wait()
    assert future.cancel(force=False) is False
    assert future.cancel() is True
    assert future.cancel_outcome is CancelOutcome.CANCELED


def test_without_force_each_task_either_never_ran_or_delivers(client):
    for number in range(150):
        future = client.submit(pow, number, 2)
        time.sleep(number * 5e-6)  # it is queued, sent, running, done: any of these
        cancelled = future.cancel(force=False)
        if cancelled:
            assert future.cancel_outcome in (CancelOutcome.CANCELED, CancelOutcome.RELEASED)
            with pytest.raises(CancelledError):
                future.result()
        else:
            assert future.cancel_outcome is CancelOutcome.FAILED
            assert future.result(BOUND_S) == number**2


@pytest.mark.parametrize("cancel_finished", [True, False])
def test_with_force_a_crossing_result_is_as_the_client_wants_it(cluster, cancel_finished):
    with Client(cluster, cancel_finished=cancel_finished) as client:
        for number in range(150):
            future = client.submit(pow, number, 2)
            time.sleep(number * 5e-6)
            if future.cancel():
                allowed = {CancelOutcome.CANCELED}
                if cancel_finished:
                    allowed |= {CancelOutcome.RELEASED, CancelOutcome.RESULT}
                with pytest.raises(CancelledError):
                    future.result()
            else:
                assert not cancel_finished
                allowed = {CancelOutcome.FINISHED, CancelOutcome.RESULT}
                assert future.result() == number**2
            assert future.cancel_outcome in allowed
        assert "0 tasks and 0 bytes in flight" in repr(client)


def test_no_reply_within_the_timeout_cancels_here_and_a_late_result_is_released(
    client, sign, new_sign, until
):
    stop = new_sign()
    future = client.submit(swallow_until, sign.path, stop.path)
    sign.wait()
    start_s = time.monotonic()
    assert future.cancel(timeout=0.1, grace=LONG_S) is True
    assert 0.1 <= time.monotonic() - start_s < 1.0
    assert future.cancel_outcome is CancelOutcome.TIMEOUT
    assert future.cancelled()
    assert "1 tasks" in repr(client), "it still runs, so its credit is still taken"
    say(stop.path, "stop")
    until(lambda: "0 tasks" in repr(client))
    assert future.cancelled()
    assert future.cancel_outcome is CancelOutcome.TIMEOUT


def test_a_timeout_of_zero_sends_and_returns(client, sign, until):
    future = client.submit(sleep, sign.path)
    sign.wait()
    assert future.cancel(timeout=0) is True
    assert future.cancel_outcome is CancelOutcome.TIMEOUT
    until(lambda: "0 tasks" in repr(client))
    assert slots_are_back(client)


def test_finished_futures_give_up_what_they_have(client):
    value, error = client.submit(pow, 2, 3), client.submit(int, "x")
    assert value.result(BOUND_S) == 8
    assert isinstance(error.exception(BOUND_S), ValueError)
    for future in (value, error):
        assert future.cancel() is True
        assert future.cancel_outcome is CancelOutcome.RELEASED
        assert future.cancelled()
        with pytest.raises(CancelledError):
            future.result()
        assert future.cancel() is True
        assert future.cancel_outcome is CancelOutcome.RELEASED


def test_the_standard_librarys_contract_keeps_finished_futures(cluster, sign, new_sign):
    with Client(cluster, cancel_finished=False) as client:
        value, error = client.submit(pow, 2, 3), client.submit(int, "x")
        wait([value, error], BOUND_S)
        for future in (value, error):
            assert future.cancel() is False
            assert future.cancel_outcome is CancelOutcome.FINISHED
            assert not future.cancelled()
        assert value.result() == 8
        assert isinstance(error.exception(), ValueError)

        crossing = client.submit(swallow_once, sign.path, "value")
        sign.wait()
        assert crossing.cancel() is False
        assert crossing.cancel_outcome is CancelOutcome.RESULT
        assert crossing.result() == "value"

        stopped = client.submit(sleep, (second := new_sign()).path)
        second.wait()
        assert stopped.cancel() is True
        assert stopped.cancel_outcome is CancelOutcome.CANCELED


def test_nothing_waits_without_a_bound(client):
    future = client.submit(pow, 2, 3)
    for wrong in ({"timeout": None}, {"timeout": -1}, {"grace": -1}):
        with pytest.raises(ValueError):
            future.cancel(**wrong)
        with pytest.raises(ValueError):
            client.cancel([future], **wrong)
    assert future.result(BOUND_S) == 8


# --- what cannot be interrupted -----------------------------------------------------------------


MAY_LIVE = {
    sum_in_c: (False,),
    match_for_ever: (True,),  # the regex engine looks for signals
    sleep_in_c_with_the_gil: (True, False),  # a signal may end it, so that the task unwinds
    deadlock_in_c_with_the_gil: (False,),
}
"""Whether the process of a task in C is there when its cancel was confirmed."""


@pytest.mark.parametrize("task", MAY_LIVE, ids=lambda task: task.__name__)
def test_code_in_c_is_stopped_soon(client, sign, alive, task):
    future = client.submit(task, sign.path)
    pid = sign.pid()
    start_s = time.monotonic()
    assert future.cancel()
    assert time.monotonic() - start_s < 0.7
    assert future.cancel_outcome is CancelOutcome.CANCELED
    assert alive(pid) in MAY_LIVE[task]
    assert slots_are_back(client)


@pytest.mark.parametrize("task", [swallow, block_all_signals, replace_all_handlers])
def test_a_task_that_does_not_unwind_is_killed_after_the_grace(client, sign, alive, task):
    future = client.submit(task, sign.path)
    pid = sign.pid()
    start_s = time.monotonic()
    assert future.cancel(grace=0.15)
    assert 0.15 <= time.monotonic() - start_s < 0.8
    assert future.cancel_outcome is CancelOutcome.CANCELED
    assert not alive(pid)
    assert slots_are_back(client)


def test_an_explicit_grace_is_given_in_full_to_code_in_c(client, sign, alive):
    future = client.submit(sum_in_c_for_a_while, sign.path)
    pid = sign.pid()
    assert future.cancel(grace=10)
    assert "cleaned up" in sign.text()
    assert alive(pid)


def test_a_grace_of_zero_kills_at_once(client, sign, alive):
    future = client.submit(sleep_in_a_with, sign.path)
    pid = sign.pid()
    assert future.cancel(grace=0)
    assert "cleaned up" not in sign.text()
    assert not alive(pid)
    assert slots_are_back(client)


def test_the_clusters_grace_is_the_default(sign, alive):
    with Client(workers=1, cancel_grace=0.1) as client:
        future = client.submit(swallow, sign.path)
        pid = sign.pid()
        start_s = time.monotonic()
        assert future.cancel()
        assert time.monotonic() - start_s < 0.8
        assert not alive(pid)


def test_tasks_behind_a_killed_one_run(client, new_sign):
    blockers = [client.submit(sum_in_c, new_sign().path) for _ in range(2)]
    behind = [client.submit(pow, number, 2) for number in range(100)]
    assert client.cancel(blockers) == [True, True]
    assert [future.result(BOUND_S) for future in behind] == [number**2 for number in range(100)]


def test_a_task_prefetched_behind_code_in_c_is_taken_back(client, new_sign):
    signs = [new_sign() for _ in range(2)]
    blockers = [client.submit(sum_in_c, sign.path) for sign in signs]
    behind = [client.submit(sleep, new_sign().path) for _ in range(10)]
    for sign in signs:
        sign.wait()
    start_s = time.monotonic()
    assert [future.cancel(force=False) for future in behind] == [True] * 10
    assert time.monotonic() - start_s < 0.5
    assert not any(future.done() for future in blockers)
    client.cancel(blockers)


# --- nothing runs after the confirm ---------------------------------------------------------------


@pytest.mark.parametrize(
    "task",
    [beat, beat_in_a_thread, beat_in_a_child, beat_in_a_grandchild],
    ids=lambda task: task.__name__,
)
def test_after_the_confirm_nothing_of_the_task_runs(client, pulse, until, alive, task):
    future = client.submit(task, pulse.path)
    until(lambda: pulse.read()[0])
    assert future.cancel()
    confirmed_ns = time.monotonic_ns()
    stamp_ns, pid = pulse.read()
    assert stamp_ns <= confirmed_ns
    assert future.cancel_outcome is CancelOutcome.CANCELED
    assert alive(pid) is (task is beat), "only what has left something behind dies"
    assert slots_are_back(client)
    assert pulse.read()[0] == stamp_ns


def test_a_program_that_a_task_has_started_is_gone_after_the_confirm(client, sign, alive):
    future = client.submit(start_a_program, sign.path)
    program = sign.pid()
    assert future.cancel(grace=0.1)
    assert not alive(program)


def test_at_any_moment_of_its_life_a_task_can_be_stopped(client, tmp_path):
    pulses = [Pulse(str(tmp_path / f"pulse-{number}")) for number in range(60)]
    late = []
    for number, pulse in enumerate(pulses):
        future = client.submit(beat, pulse.path)
        time.sleep((number % 20) * 1e-4)
        assert future.cancel()
        confirmed_ns = time.monotonic_ns()
        if pulse.read()[0] > confirmed_ns:
            late.append(number)
        assert future.cancel_outcome is CancelOutcome.CANCELED
    stamps = [pulse.read()[0] for pulse in pulses]
    assert slots_are_back(client)
    assert [pulse.read()[0] for pulse in pulses] == stamps
    assert late == []


def test_a_task_that_was_importing_leaves_no_half_module(client, sign, tmp_path, alive):
    (tmp_path / "slow_to_import.py").write_text(
        "import os, time\n"
        f"open({sign.path!r}, 'a').write(str(os.getpid()) + ' ')\n"
        "if not os.path.exists(__file__ + '.fast'): time.sleep(60)\n"
        "value = 'whole'\n"
    )
    future = client.submit(import_slowly, sign.path, str(tmp_path))
    pid = sign.pid()
    assert future.cancel()
    assert future.cancel_outcome is CancelOutcome.CANCELED
    assert not alive(pid)
    (tmp_path / "slow_to_import.py.fast").touch()
    again = [client.submit(import_slowly, sign.path, str(tmp_path)) for _ in range(4)]
    assert [future.result(BOUND_S) for future in again] == ["whole"] * 4


def test_a_task_that_swallows_its_interrupted_import_answers_and_its_process_goes(
    client, sign, tmp_path, alive, until
):
    (tmp_path / "never_imported.py").write_text(
        f"import os, time\nopen({sign.path!r}, 'a').write(str(os.getpid()) + ' ')\ntime.sleep(60)\n"
    )
    future = client.submit(import_and_swallow, sign.path, str(tmp_path))
    pid = sign.pid()
    assert future.cancel(grace=BOUND_S)
    assert future.cancel_outcome is CancelOutcome.RESULT
    until(lambda: not alive(pid))
    assert slots_are_back(client)


def test_a_result_that_crosses_a_cancel_leaks_nothing(client, sign, until):
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        future = client.submit(swallow_once, sign.path, b"x" * 20_000_000)
        sign.wait()
        assert future.cancel(grace=BOUND_S)
        assert future.cancel_outcome is CancelOutcome.RESULT
        until(lambda: tracemalloc.get_traced_memory()[0] < before + 5_000_000)
    finally:
        tracemalloc.stop()
    assert "0 tasks and 0 bytes in flight" in repr(client)


# --- many at once ---------------------------------------------------------------------------------


def test_many_threads_cancel_one_future(client, sign):
    for task, outcome in ((sleep, CancelOutcome.CANCELED), (swallow, CancelOutcome.CANCELED)):
        future = client.submit(task, sign.path)
        told: list[object] = []
        future.add_done_callback(told.append)
        sign.wait()
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: future.cancel(grace=0.1), range(16)))
        assert answers == [True] * 16
        assert future.cancel_outcome is outcome
        assert slots_are_back(client)
        assert told == [future]


def test_a_shorter_grace_of_a_second_caller_counts(client, sign, alive):
    future = client.submit(swallow, sign.path)
    pid = sign.pid()
    start_s = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        patient = pool.submit(future.cancel, grace=LONG_S)
        assert future.cancel(grace=0.05) is True
        assert patient.result(BOUND_S) is True
    assert time.monotonic() - start_s < 1.0
    assert not alive(pid)


def test_each_caller_waits_its_own_timeout_and_the_first_decides(client, sign, new_sign):
    stop = new_sign()
    future = client.submit(swallow_until, sign.path, stop.path)
    sign.wait()
    with ThreadPoolExecutor(1) as pool:
        patient = pool.submit(future.cancel, grace=LONG_S)
        assert future.cancel(timeout=0.1, grace=LONG_S) is True
        assert patient.result(BOUND_S) is True
    assert future.cancel_outcome is CancelOutcome.TIMEOUT
    say(stop.path, "stop")


def test_a_thousand_queued_at_once(client, new_sign):
    blockers = [client.submit(sleep, new_sign().path) for _ in range(2)]
    witness = new_sign()
    queued = [client.submit(say, witness.path, number) for number in range(1_000)]
    start_s = time.monotonic()
    assert client.cancel(queued) == [True] * 1_000
    assert time.monotonic() - start_s < 1.0
    assert {future.cancel_outcome for future in queued} == {CancelOutcome.CANCELED}
    client.cancel(blockers)
    assert slots_are_back(client)
    assert witness.text() == ""


def test_newest_first_no_queued_task_starts_because_an_older_one_was_stopped(client, new_sign):
    signs = [new_sign() for _ in range(30)]
    futures = [client.submit(sleep, sign.path) for sign in signs]
    signs[0].wait()
    signs[1].wait()
    assert client.cancel(futures) == [True] * 30
    assert slots_are_back(client)
    assert [sign.text() for sign in signs[2:]] == [""] * 28


def test_who_waits_is_told_once(client, new_sign):
    signs = [new_sign() for _ in range(2)]
    futures = [client.submit(sleep, sign.path) for sign in signs]
    calls: list[object] = []
    for future in futures:
        future.add_done_callback(calls.append)
    for sign in signs:
        sign.wait()
    with ThreadPoolExecutor(1) as pool:
        completed = pool.submit(lambda: list(as_completed(futures, BOUND_S)))
        assert [future.cancel() for future in futures] == [True, True]
        assert sorted(map(id, completed.result(BOUND_S))) == sorted(map(id, futures))
    assert slots_are_back(client)
    assert calls == futures


def test_in_any_race_each_future_ends_once_and_all_credit_comes_back(client, until):
    calls: list[int] = []
    futures = []
    for number in range(600):
        future = client.submit(time.sleep, (number % 7) * 2e-4)
        future.add_done_callback(lambda done: calls.append(done.task_id))
        futures.append(future)

    def cancel_every(first: int) -> list[bool]:
        return [future.cancel(force=first % 2 == 0) for future in futures[first::3]]

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(cancel_every, [0, 1, 2, 0, 1, 2]))
    wait(futures, BOUND_S)
    for first, said in zip([0, 1, 2, 0, 1, 2], answers, strict=True):
        for future, cancelled in zip(futures[first::3], said, strict=True):
            assert future.cancelled() or not cancelled, "True is for ever"
    until(lambda: len(calls) >= 600)
    assert sorted(calls) == sorted(future.task_id for future in futures)
    assert "0 tasks and 0 bytes in flight" in repr(client)


def test_ctrl_c_while_a_cancel_waits_leaves_it_open_for_another(client, sign, alive):
    future = client.submit(swallow, sign.path)
    pid = sign.pid()
    interrupt = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        future.cancel(grace=LONG_S)
    interrupt.join()
    assert not future.done()
    assert future.cancel(grace=0)
    assert future.cancel_outcome is CancelOutcome.CANCELED
    assert not alive(pid)


def test_what_a_task_leaves_running_at_its_normal_end_stays(alive):
    with Client(workers=1) as client:
        program = client.submit(leave_a_program).result(BOUND_S)
        assert client.submit(pow, 2, 3).result(BOUND_S) == 8
        assert alive(program)
    assert not alive(program), "but it does not outlive the cluster"


# --- early ----------------------------------------------------------------------------------------


def test_a_task_can_be_cancelled_before_its_executor_is_up(new_sign):
    with Client(workers=3) as client:
        futures = [client.submit(sleep, new_sign().path) for _ in range(6)]
        assert client.cancel(futures) == [True] * 6
        assert {future.cancel_outcome for future in futures} == {CancelOutcome.CANCELED}


def test_a_task_can_be_cancelled_while_its_executor_is_being_replaced(client, new_sign):
    for _ in range(8):
        sign = new_sign()
        first = client.submit(sleep, sign.path)
        sign.wait()
        assert first.cancel(grace=0)
        second = client.submit(sleep, sign.path)
        assert second.cancel()
        assert second.cancel_outcome is CancelOutcome.CANCELED
    assert slots_are_back(client)


# --- event loops ----------------------------------------------------------------------------------


def test_a_loops_callback_is_not_blocked(client, sign, until):
    import asyncio

    future = client.submit(swallow, sign.path)
    sign.wait()
    seen: list[Any] = []

    async def main() -> None:
        called = asyncio.Event()

        def callback() -> None:
            start_s = time.monotonic()
            seen.append(future.cancel(grace=0.2))
            seen.append(future.cancel_outcome)
            seen.append(time.monotonic() - start_s)
            called.set()

        asyncio.get_running_loop().call_soon(callback)
        await called.wait()

    asyncio.run(main())
    answer, outcome, took_s = seen
    assert (answer, outcome) == (True, CancelOutcome.UNCONFIRMED)
    assert took_s < 0.1
    assert future.cancelled()
    until(lambda: future.cancel_outcome is CancelOutcome.CANCELED)
    assert slots_are_back(client)


def test_acancel_is_confirmed_and_the_loop_goes_on(client, sign):
    import asyncio

    future = client.submit(swallow, sign.path)
    sign.wait()

    async def main() -> tuple[bool, int]:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0.001)
                turns += 1

        counting = asyncio.create_task(count())
        answer = await future.acancel(grace=0.1)
        counting.cancel()
        return answer, turns

    answer, turns = asyncio.run(main())
    assert answer is True
    assert turns > 5
    assert future.cancel_outcome is CancelOutcome.CANCELED


def test_a_coroutine_that_calls_cancel_gets_the_confirm(client, sign):
    import asyncio

    future = client.submit(sleep, sign.path)
    sign.wait()

    async def main() -> bool:
        return future.cancel()

    assert asyncio.run(main()) is True
    assert future.cancel_outcome is CancelOutcome.CANCELED


def test_wait_for_stalls_no_loop(client, new_sign, until):
    import asyncio

    async def stall_s() -> float:
        """Return the longest time the loop did not turn while a future timed out."""
        gaps: list[float] = []

        async def turn() -> None:
            while True:
                start_s = time.perf_counter()
                await asyncio.sleep(0.001)
                gaps.append(time.perf_counter() - start_s - 0.001)

        turning = asyncio.create_task(turn())
        sign = new_sign()
        future = client.submit(swallow, sign.path)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(future, 0.1)
        await asyncio.sleep(0.005)
        turning.cancel()
        assert future.cancelled()
        assert future.cancel(grace=0)
        return max(gaps)

    # A busy machine may take the processor away; a cancel that blocks would do it each time.
    stalls_s = []
    for _ in range(6):
        stalls_s.append(asyncio.run(stall_s()))
        until(lambda: "0 tasks" in repr(client))
        if stalls_s[-1] < 0.005:
            break
    assert min(stalls_s) < 0.005


async def by_wait_for(future: Any) -> None:
    import asyncio

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(future, 0.01)


async def by_a_timeout(future: Any) -> None:
    import asyncio

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await future


async def by_cancelling_the_task_that_awaits(future: Any) -> None:
    import asyncio

    async def wait_for_it() -> None:
        await future

    task = asyncio.create_task(wait_for_it())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_cancelling_a_gather(future: Any) -> None:
    import asyncio

    gathered = asyncio.gather(asyncio.wrap_future(future), asyncio.sleep(60))
    await asyncio.sleep(0)
    gathered.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gathered


async def by_cancelling_the_wrapped_future(future: Any) -> None:
    import asyncio

    wrapped = asyncio.wrap_future(future)
    wrapped.cancel()
    await asyncio.sleep(0)


async def by_the_end_of_the_loop(future: Any) -> None:
    import asyncio

    async def wait_for_it() -> None:
        await future

    waiting = asyncio.create_task(wait_for_it())
    future.add_done_callback(lambda _: waiting)  # the task lives as long as the future
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    "way",
    [
        by_wait_for,
        by_a_timeout,
        by_cancelling_the_task_that_awaits,
        by_cancelling_a_gather,
        by_cancelling_the_wrapped_future,
        by_the_end_of_the_loop,
    ],
    ids=lambda way: way.__name__,
)
def test_however_asyncio_cancels_the_answer_replaces_the_unconfirmed(client, sign, until, way):
    import asyncio

    future = client.submit(sleep, sign.path)
    sign.wait()
    asyncio.run(way(future))
    assert future.cancelled()
    until(lambda: future.cancel_outcome is CancelOutcome.CANCELED)
    assert slots_are_back(client)


def test_awaiting_a_cancelled_future_raises_in_the_coroutine(client, sign):
    import asyncio

    future = client.submit(sleep, sign.path)
    sign.wait()

    async def main() -> None:
        waiting = asyncio.ensure_future(asyncio.wrap_future(future))
        await asyncio.sleep(0)
        assert await future.acancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())
