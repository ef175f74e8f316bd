"""What the executors run: each task leaves stamps, and returns a value that names it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
import time
import zlib
from random import Random

from tests.chaos.stamps import stamps_in

STEP_S = 0.0005
LINE = "chaos task"


class OwnError(Exception):
    """The exception of a task's own."""


def answer(index: int) -> int:
    """Return the value of a task, which no other has."""
    return index * 2_654_435_761 % 2**32


def data_of(index: int, size_bytes: int) -> bytes:
    """Return a payload of a task."""
    return Random(index).randbytes(size_bytes)


def _act(directory: str, index: int, duration_s: float) -> None:
    stamps = stamps_in(directory)
    end_s = time.monotonic() + duration_s
    while time.monotonic() < end_s:
        time.sleep(STEP_S)
        stamps.stamp(index)


def item(directory: str, index: int, duration_s: float) -> int:
    """One of many, mapped."""
    stamps_in(directory).begin(index)
    _act(directory, index, duration_s)
    return answer(index)


def nap(directory: str, index: int, duration_s: float) -> int:
    """Sleep, in steps."""
    return item(directory, index, duration_s)


def loop(directory: str, index: int, duration_s: float) -> int:
    """Compute in Python."""
    stamps = stamps_in(directory)
    stamps.begin(index)
    end_s = time.monotonic() + duration_s
    while time.monotonic() < end_s:
        stamps.stamp(index)
    return answer(index)


def c_code(directory: str, index: int, numbers: int) -> int:
    """Compute in C, where no interrupt gets in."""
    stamps = stamps_in(directory)
    stamps.begin(index)
    sum(range(numbers))
    stamps.stamp(index)
    return answer(index)


def swallow(directory: str, index: int, duration_s: float) -> int:
    """Sleep on, whatever is raised."""
    stamps_in(directory).begin(index)
    end_s = time.monotonic() + duration_s
    while (left_s := end_s - time.monotonic()) > 0:
        try:
            _act(directory, index, left_s)
        except BaseException:
            continue
    return answer(index)


def with_thread(directory: str, index: int, duration_s: float) -> int:
    """Have a thread of its own act as well."""
    stamps_in(directory).begin(index)
    thread = threading.Thread(target=_act, args=(directory, index, duration_s), daemon=True)
    thread.start()
    _act(directory, index, duration_s)
    thread.join()
    return answer(index)


def with_process(directory: str, index: int, duration_s: float) -> int:
    """Start a program and wait for it."""
    stamps_in(directory).begin(index)
    subprocess.run(["sleep", f"{duration_s:f}"], check=True)
    stamps_in(directory).stamp(index)
    return answer(index)


def with_daemon(directory: str, index: int, duration_s: float) -> int:
    """Start a program that outlives the task, in a session of its own."""
    stamps_in(directory).begin(index)
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    _act(directory, index, duration_s)
    return answer(index)


def prints(directory: str, index: int, lines: int) -> int:
    """Print some lines."""
    stamps_in(directory).begin(index)
    for number in range(lines):
        print(LINE, index, number)
    return answer(index)


def digest(directory: str, index: int, data: bytes) -> int:
    """Take a payload."""
    stamps_in(directory).begin(index)
    return zlib.crc32(data)


def produce(directory: str, index: int, size_bytes: int) -> bytes:
    """Return a payload."""
    stamps_in(directory).begin(index)
    return data_of(index, size_bytes)


def fail(directory: str, index: int, failures: int) -> int:
    """Raise, the first so many times."""
    if stamps_in(directory).begin(index) <= failures:
        raise OwnError(index)
    return answer(index)


def crash(directory: str, index: int, times: int, how: str) -> int:
    """Take the executor down, the first so many times."""
    if stamps_in(directory).begin(index) <= times:
        CRASHES[how]()
    return answer(index)


def no_value(directory: str, index: int) -> object:
    """Return what cannot be pickled."""
    stamps_in(directory).begin(index)
    return threading.Lock()


CRASHES = {
    "segmentation fault": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "os._exit": lambda: os._exit(3),
    "another program": lambda: os.execv("/bin/sh", ["sh", "-c", "ulimit -c 0; exit 5"]),
    "SIGKILL to itself": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "pipe closed": lambda: os.closerange(3, 64),
}
