"""The life of an executor, from its start to its end, as its port tells it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from actors import Poller
from scaler.limits import FRAME_BYTES
from scaler.protocol.executor import FRAME_HEADER
from scaler.protocol.tasks import RowStatus
from scaler.serialization.values import dump_arguments, load_value
from scaler.worker.objects import PortObjects
from scaler.worker.port import ExecutorRows, ExecutorUp
from scaler.worker.process import ExecutorProcess


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_executor_says_that_it_is_up(executor):
    executor.bench.until(lambda: executor.pid)
    assert executor.events == [executor.events[0]]
    assert isinstance(executor.events[0], ExecutorUp)
    assert is_alive(executor.pid)
    assert repr(executor.port) == f"<ExecutorProcess 1 pid={executor.pid}: up>"


def test_tasks_sent_before_it_is_up_run(executor):
    assert not executor.pid
    assert load_value(executor.run(os.getpid).payload) == executor.pid


def test_rows_that_came_together_are_told_together(executor):
    executor.bench.until(lambda: executor.pid)
    ordinals = executor.send(os.getpid, [dump_arguments((), {})] * 1_000)
    executor.row(ordinals[-1])
    told = [event for event in executor.events if isinstance(event, ExecutorRows)]
    assert [row.ordinal for event in told for row in event.rows] == ordinals
    assert len(told) < 1_000


def test_a_killed_executor_exits_and_its_group_with_it(executor):
    def spawn() -> None:
        child = subprocess.Popen(["sleep", "60"])
        print(child.pid)
        time.sleep(60)

    ordinal = executor.submit(spawn)
    executor.bench.until(lambda: executor.printed)
    child = int(executor.printed[0][1])
    assert is_alive(child)
    executor.port.kill()
    executor.port.kill()
    exited = executor.exit()
    assert (exited.cause, exited.code, exited.signal) == ("killed by SIGKILL", None, 9)
    assert executor.port.running() == ordinal
    assert not is_alive(child)
    assert not is_alive(executor.pid)


def test_an_executor_killed_before_it_is_up_exits(bench):
    executor = bench.start()
    executor.submit(os.getpid)
    executor.port.kill()
    executor.exit()
    assert executor.rows == {} or executor.rows[1].status is RowStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("end", "cause", "code", "signum"),
    [
        (lambda: os._exit(3), "exit code 3", 3, None),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "killed by SIGKILL", None, 9),
        (lambda: ctypes.string_at(0), "killed by SIGSEGV", None, 11),
        (os.abort, "killed by SIGABRT", None, 6),
    ],
)
def test_a_death_within_a_task_names_its_cause(executor, end, cause, code, signum):
    def die() -> None:
        print("last words")
        end()

    ordinals = executor.send(die, [dump_arguments((), {})] * 3)
    exited = executor.exit()
    how = exited.cause.partition("\n")[0]
    assert (how, exited.code, exited.signal) == (cause, code, signum)
    assert executor.printed[:1] == [("stdout", "last words\n")]
    assert executor.port.running() == ordinals[0]
    assert executor.port.take_back(ordinals) == tuple(ordinals[1:])


def test_results_that_left_before_the_death_arrive(executor):
    def answer(number: int) -> int:
        if number == 99:
            os._exit(1)
        return number

    ordinals = executor.send(answer, [dump_arguments((n,), {}) for n in range(100)])
    executor.exit()
    assert list(executor.rows) == ordinals[:-1]
    assert executor.port.running() == ordinals[-1]


def garbage(data: bytes) -> None:
    print("up")
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("pipe") and int(name) > 2:
                os.write(int(name), data)  # only one of the pipes can be written
        except OSError:
            pass
    time.sleep(60)


@pytest.mark.parametrize(
    "data",
    [
        FRAME_HEADER.pack(FRAME_BYTES + 1),
        FRAME_HEADER.pack(3) + b"\xc1\xc1\xc1",
        FRAME_HEADER.pack(1) + b"\x90",
        FRAME_HEADER.pack(6) + b"\x92\xa3row\x00",
    ],
)
def test_an_executor_that_sends_nonsense_is_killed(executor, data):
    executor.submit(garbage, data)
    exited = executor.exit()
    assert "malformed frame" in exited.cause
    assert not is_alive(executor.pid)


def test_an_executor_whose_task_closed_its_pipes_is_killed(executor):
    def close() -> None:
        os.closerange(3, 100)
        time.sleep(60)

    ordinal = executor.submit(close)
    assert executor.exit().signal == signal.SIGKILL
    assert executor.port.running() == ordinal


def test_a_frame_larger_than_the_pipe_is_sent_in_pieces_and_can_be_taken_back(executor):
    def hold() -> None:
        print("up")
        time.sleep(60)

    held = executor.submit(hold)
    executor.bench.until(lambda: executor.printed)
    large = [executor.submit(len, os.urandom(1 << 20)) for _ in range(3)]
    assert executor.port.take_back(large[1:2]) == (large[1],)
    executor.port.interrupt(held)
    assert load_value(executor.row(large[0]).payload) == 1 << 20
    assert load_value(executor.row(large[2]).payload) == 1 << 20
    assert large[1] not in executor.rows


def test_dropped_bodies_are_forgotten(executor):
    def hold() -> None:
        print("up")
        time.sleep(60)

    held = executor.submit(hold)
    executor.bench.until(lambda: executor.printed)
    ordinal = executor.submit(os.getpid)
    assert executor.port.take_back([ordinal]) == (ordinal,)
    executor.port.send([], [], dropped=[ordinal])
    executor.port.interrupt(held)
    assert executor.run(os.getpid).status is RowStatus.SUCCEEDED
    assert ordinal not in executor.rows


def test_a_launcher_that_dies_takes_its_executors_along(bench):
    executors = [bench.start(number) for number in range(2)]
    for executor in executors:
        bench.until(lambda executor=executor: executor.pid)
    os.kill(bench.launcher.pid, signal.SIGKILL)
    for executor in executors:
        assert "launcher" in executor.exit().cause
        bench.until(lambda executor=executor: not is_alive(executor.pid))


def test_an_executor_ends_when_its_port_is_closed(bench):
    executor = bench.start()
    executor.run(os.getpid)
    executor.port.close()
    assert executor.exit().code == 0
    assert executor.port.take_back([1]) == ()
    executor.port.send([9], [], [])
    executor.port.interrupt(9)
    executor.port.kill()
    executor.port.close()
    assert (executor.port.running(), executor.port.answered(), executor.port.item()) == (0, 0, 0)


def test_fifty_incarnations_leave_no_descriptor(bench):
    def open_fds() -> int:
        return len(os.listdir("/proc/self/fd"))

    def live() -> None:
        executor = bench.start()
        assert load_value(executor.run(os.getpid).payload) == executor.pid
        executor.port.kill()
        executor.exit()
        executor.port.close()
        bench.executors.clear()

    live()
    before = open_fds()
    for _ in range(50):
        live()
    assert open_fds() == before


@pytest.mark.parametrize("room", [0, 1])
def test_without_room_in_the_poller_no_executor_is_started_and_nothing_stays_open(bench, room):
    class FullPoller(Poller):
        readers = 0

        def add_reader(self, fd: int, callback: Any) -> None:
            if self.readers == room:
                raise OSError(errno.ENOSPC, "too many watches")
            self.readers += 1
            super().add_reader(fd, callback)

        def remove_reader(self, fd: int) -> None:
            os.fstat(fd)  # before it is closed
            super().remove_reader(fd)

    bench.start().run(os.getpid)
    before = os.listdir("/proc/self/fd")
    poller = FullPoller()
    with pytest.raises(OSError, match="too many watches"):
        part = PortObjects(bench.objects, 0)
        ExecutorProcess(2, "worker-1", poller, bench.launcher, print, part)
    poller.close()
    assert os.listdir("/proc/self/fd") == before
    assert repr(bench.launcher).endswith("1 children>")


def test_an_executor_holds_nothing_but_its_own_descriptors(executor):
    def fds() -> list[str]:
        standard = [os.readlink(f"/proc/self/fd/{number}") for number in range(3)]
        found = []
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):  # what listed them
                found.append(os.readlink(f"/proc/self/fd/{name}"))
        standard = [os.readlink(f"/proc/self/fd/{fd}") for fd in range(3)]
        return [kind for kind in found if kind not in standard]

    def inherited() -> str:
        code = "import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])"
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout

    kinds: list[Any] = load_value(executor.run(fds).payload)
    assert sum("pipe" in kind for kind in kinds) == 3
    assert not any("socket" in kind for kind in kinds)
    assert sum("memfd" in kind for kind in kinds) <= 3, "the page, and here twice the memory"
    assert load_value(executor.run(inherited).payload) == "[0, 1, 2]\n"
