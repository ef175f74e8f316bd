"""Stopping the task that runs, with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from scaler.executor.interrupt import TaskInterrupt
from scaler.protocol.executor import INTERRUPT_SIGNAL
from scaler.protocol.tasks import RowStatus, TaskRow
from scaler.serialization.values import dump_arguments, load_value


def assert_stopped(row: TaskRow, *, unclean: bool = False) -> None:
    assert row.status is RowStatus.INTERRUPTED
    assert row.payload == b""
    assert row.unclean is unclean


def up() -> None:
    print("up", flush=True)


def sleep() -> None:
    print("up")
    time.sleep(60)


def loop() -> None:
    print("up")
    while True:
        pass


def read_pipe() -> None:
    print("up")
    os.read(os.pipe()[0], 1)


def wait_for_event() -> None:
    event = threading.Event()
    print("up")
    event.wait()


def wait_in_asyncio() -> None:
    async def wait() -> None:
        print("up")
        await asyncio.sleep(60)

    asyncio.run(wait())


def loop_in_coroutine() -> None:
    async def spin() -> None:
        print("up")
        while True:
            await asyncio.sleep(0)

    asyncio.run(spin())


def wait_for_subprocess() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            print("up")
            process.wait()
        finally:
            process.kill()


@pytest.mark.parametrize(
    "fn",
    [
        sleep,
        loop,
        read_pipe,
        wait_for_event,
        wait_in_asyncio,
        loop_in_coroutine,
        wait_for_subprocess,
    ],
)
def test_an_interrupted_task_unwinds_and_the_process_goes_on(executor, fn):
    assert_stopped(executor.interrupted(fn))
    assert executor.port.answered() == 1
    assert load_value(executor.run(os.getpid).payload) == executor.pid


def test_finally_blocks_run_to_their_end(executor, tmp_path):
    def guarded(path: Path) -> None:
        try:
            print("up")
            time.sleep(60)
        finally:
            time.sleep(0.02)
            path.write_text("done")

    assert_stopped(executor.interrupted(guarded, tmp_path / "done"))
    assert (tmp_path / "done").read_text() == "done"


def test_a_second_signal_does_not_disturb_a_finally_block(executor, tmp_path):
    def guarded(path: Path) -> None:
        try:
            print("up")
            time.sleep(60)
        finally:
            print("cleaning")
            time.sleep(0.1)
            path.write_text("done")

    ordinal = executor.submit(guarded, tmp_path / "done")
    executor.bench.until(lambda: executor.printed)
    executor.port.interrupt(ordinal)
    executor.bench.until(lambda: len(executor.printed) == 2)
    executor.port.interrupt(ordinal)
    assert_stopped(executor.row(ordinal))
    assert (tmp_path / "done").read_text() == "done"


def test_an_interrupt_that_comes_before_the_task_stops_it_at_its_start(executor):
    executor.port.interrupt(1)
    ordinal = executor.submit(time.sleep, 60)
    assert_stopped(executor.row(ordinal))
    assert executor.port.answered() == ordinal


def test_an_interrupt_of_another_task_does_nothing(executor):
    def nap() -> int:
        print("up")
        for _ in range(10):
            time.sleep(0.01)
        return 1

    ordinal = executor.submit(nap)
    executor.bench.until(lambda: executor.printed)
    executor.port.interrupt(ordinal + 1)
    assert load_value(executor.row(ordinal).payload) == 1
    assert executor.port.answered() == 0
    assert_stopped(executor.run(nap))


def test_an_interrupt_of_a_task_that_has_ended_does_nothing(executor):
    ordinal = executor.submit(os.getpid)
    executor.row(ordinal)
    executor.port.interrupt(ordinal)
    assert load_value(executor.run(os.getpid).payload) == executor.pid
    assert executor.port.answered() == 0


def test_a_task_that_swallows_the_interrupt_and_returns_has_succeeded(executor):
    def swallow() -> str:
        try:
            print("up")
            time.sleep(60)
        except BaseException:
            return "swallowed"
        return "never"

    row = executor.interrupted(swallow)
    assert row.status is RowStatus.SUCCEEDED
    assert load_value(row.payload) == "swallowed"
    assert executor.port.answered() == row.ordinal


def test_a_task_that_raises_something_else_instead_is_stopped(executor):
    def swap() -> None:
        try:
            print("up")
            time.sleep(60)
        except TaskInterrupt:
            raise ValueError("something else") from None

    assert_stopped(executor.interrupted(swap))


def test_a_swallowing_task_whose_result_does_not_pickle_is_stopped(executor):
    def swallow() -> Any:
        try:
            print("up")
            time.sleep(60)
        except BaseException:
            return threading.Lock()

    assert_stopped(executor.interrupted(swallow))


def test_a_chunk_is_stopped_as_a_whole(executor):
    def item(number: int) -> int:
        if number == 1:
            try:
                print("up")
                time.sleep(60)
            except BaseException:
                raise ValueError("item") from None
        return number

    ordinal = executor.submit_chunk(item, [(0,), (1,), (2,)])
    executor.bench.until(lambda: executor.printed)
    executor.port.interrupt(ordinal)
    assert_stopped(executor.row(ordinal))


def test_arguments_and_results_are_pickled_within_the_window(executor):
    class SlowToOpen:
        def __reduce__(self) -> Any:
            return sleep, ()

    class SlowToPickle:
        def __reduce__(self) -> Any:
            sleep()
            return str, ()

    def take(_: Any) -> Any:
        return None

    assert_stopped(executor.interrupted(take, SlowToOpen()))
    executor.printed.clear()
    assert_stopped(executor.interrupted(SlowToPickle))


def test_c_code_gives_no_sign_of_life(executor):
    def add() -> int:
        print("up")
        return sum(range(10**12))

    ordinal = executor.submit(add)
    executor.bench.until(lambda: executor.printed)
    executor.bench.pass_s(0.1)  # into the C code: from there nothing can be seen
    executor.port.interrupt(ordinal)
    executor.bench.pass_s(0.2)
    assert (executor.port.answered(), executor.rows) == (0, {})
    assert executor.port.running() == ordinal
    executor.port.kill()
    assert executor.exit().signal == signal.SIGKILL
    assert executor.port.running() == ordinal


@pytest.mark.parametrize("how", ["handler", "mask"])
def test_a_task_that_shuts_the_signal_out_gives_no_sign_of_life(executor, how):
    def shut() -> None:
        if how == "handler":
            signal.signal(INTERRUPT_SIGNAL, lambda *_: None)
        else:
            signal.pthread_sigmask(signal.SIG_BLOCK, {INTERRUPT_SIGNAL})
        print("up")
        time.sleep(60)

    ordinal = executor.submit(shut)
    executor.bench.until(lambda: executor.printed)
    executor.bench.pass_s(0.1)  # printing looks at the page too
    executor.port.interrupt(ordinal)
    executor.bench.pass_s(0.1)
    assert (executor.port.answered(), executor.rows) == (0, {})
    executor.port.kill()
    executor.exit()


def thread() -> None:
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()


def child() -> None:
    subprocess.Popen(["sleep", "60"])


def orphan() -> None:
    subprocess.run(["sh", "-c", "sleep 60 &"], check=True)


def daemon() -> None:
    subprocess.run([sys.executable, "-c", DAEMON], check=True)


DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(60)
    os._exit(0)
os.wait()
"""


@pytest.mark.parametrize("start", [thread, child, orphan, daemon])
def test_what_a_stopped_task_left_running_makes_it_unclean(executor, start):
    def leave(start: Any) -> None:
        start()
        sleep()

    assert_stopped(executor.interrupted(leave, start), unclean=True)


@pytest.mark.parametrize("start", [thread, child])
def test_what_an_earlier_task_left_running_does_not_count(executor, start):
    def lead(start: Any) -> None:
        start()
        time.sleep(0.03)  # older than the next task by more than the kernel's tick

    assert not executor.run(lead, start).unclean
    assert_stopped(executor.interrupted(sleep))


def test_threads_and_children_that_ended_do_not_count(executor):
    def start() -> None:
        worker = threading.Thread(target=int)
        worker.start()
        worker.join()
        subprocess.Popen(["true"])
        subprocess.run(["true"], check=True)
        time.sleep(0.05)
        sleep()

    assert_stopped(executor.interrupted(start))


def test_an_interrupted_import_makes_it_unclean(executor, tmp_path):
    (tmp_path / "slow_to_import.py").write_text("import time\nprint('up')\ntime.sleep(60)\n")

    def load(path: str) -> None:
        sys.path.insert(0, path)
        __import__("slow_to_import")

    assert_stopped(executor.interrupted(load, str(tmp_path)), unclean=True)


def test_an_interrupted_import_that_was_swallowed_makes_it_unclean_too(executor, tmp_path):
    (tmp_path / "slow_to_import.py").write_text("import time\nprint('up')\ntime.sleep(60)\n")

    def load(path: str) -> int:
        sys.path.insert(0, path)
        try:
            __import__("slow_to_import")
        except BaseException:
            pass
        return 1

    row = executor.interrupted(load, str(tmp_path))
    assert (row.status, row.unclean) == (RowStatus.SUCCEEDED, True)


def test_printing_tasks_are_interrupted_between_frames(executor):
    def chatter() -> None:
        while True:
            print("x" * 5_000)

    for _ in range(50):
        executor.printed.clear()
        assert_stopped(executor.interrupted(chatter))
    assert {text.strip("x") for _, text in executor.printed} <= {"\n"}


def test_interrupts_at_random_moments_leave_one_row_each(executor):
    def work(number: int) -> int:
        try:
            return sum(range(number))
        finally:
            len("clean")

    executor.run(work, 1)  # imports what opening it takes
    ordinals = executor.send(work, [dump_arguments((n % 300,), {}) for n in range(6_000)])
    interrupted: dict[int, None] = {}
    while len(executor.rows) <= len(ordinals):
        running = executor.port.running()
        if running and running not in interrupted:
            executor.port.interrupt(running)
            interrupted[running] = None
        executor.bench.poller.poll(0)
    statuses = {row.status for row in executor.rows.values()}
    assert statuses <= {RowStatus.SUCCEEDED, RowStatus.INTERRUPTED}
    assert interrupted
    assert not any(row.unclean for row in executor.rows.values())
    assert load_value(executor.run(os.getpid).payload) == executor.pid
