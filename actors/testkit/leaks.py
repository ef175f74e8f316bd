"""What a test left behind: actor systems, processes, threads, descriptors, shared memory.

Where there is nothing to find, looking takes less than a millisecond.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from actors.testkit.processes import children_mark, new_processes, running_processes, used_elsewhere

_BOUND_S = 2.0
_POLL_S = 0.005
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - it is looked at, not written to
_DESCRIPTORS = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"


class LeakError(AssertionError):
    """Something is left behind. The text lists all of it."""


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves something behind; see `check_leaks`."""
    with check_leaks():
        yield


@contextmanager
def check_leaks(*, timeout: float = _BOUND_S, ignore_threads: Iterable[str] = ()) -> Iterator[None]:
    """Fail if the block leaves something behind that was not there before it.

    Looked for: actor systems that were not closed; child processes and their descendants, also
    those whose parent has died, also zombies; threads, daemons too; more file descriptors or
    mappings of shared memory than before; files in `/dev/shm`. If the block raises, nothing is
    looked for: its own exception says more.

    Args:
        timeout: seconds that what is on its way out may take.
        ignore_threads: threads whose name begins like this may stay.

    Raises:
        LeakError: something is left.
    """
    ignored = tuple(ignore_threads)
    with children_mark():
        before = _Snapshot.take()
        yield
        deadline_s = time.monotonic() + timeout
        left = _left(before, ignored)
        if left:
            gc.collect()  # a reference cycle is no leak
            left = _left(before, ignored)
        while left and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
            left = _left(before, ignored)
        if left:
            raise LeakError("\n  ".join(["left behind:", *left]))


class _Snapshot(msgspec.Struct, frozen=True):
    """What there is at one moment."""

    systems: list[object]
    processes: set[int]
    threads: set[threading.Thread]
    descriptors: dict[str, str]
    mappings: set[str]
    shared_files: set[str]

    @staticmethod
    def take() -> _Snapshot:
        return _Snapshot(
            _open_systems(),
            running_processes(),
            set(threading.enumerate()),
            _descriptors(),
            _mappings(),
            _shared_files(),
        )


def _left(before: _Snapshot, ignored: tuple[str, ...]) -> list[str]:
    left = [f"{system!r}" for system in _open_systems() if system not in before.systems]
    left += new_processes(before.processes)
    left += [
        f"thread {thread.name}{' (daemon)' if thread.daemon else ''}"
        for thread in threading.enumerate()
        if thread not in before.threads and not thread.name.startswith(ignored or ("\0",))
    ]
    descriptors = _descriptors()
    # Only more than before: a longer-lived system may have replaced a process with its pipes.
    if len(descriptors) > len(before.descriptors):
        left += [
            f"file descriptor {number}: {target}"
            for number, target in descriptors.items()
            if before.descriptors.get(number) != target
        ]
    mappings = _mappings()
    if len(mappings) > len(before.mappings):
        left += [f"mapping of {name}" for name in sorted(mappings - before.mappings)]
    left += [
        f"shared memory {_SHARED_MEMORY}/{name}"
        for name in sorted(_shared_files() - before.shared_files)
        if not used_elsewhere(f"{_SHARED_MEMORY}/{name}", before.processes)
    ]
    return left


def _open_systems() -> list[object]:
    module = sys.modules.get("actors.system")
    return [] if module is None else list(module._systems)


def _descriptors() -> dict[str, str]:
    found = {}
    for number in os.listdir(_DESCRIPTORS):  # ten times as fast as pathlib, after each test
        try:
            found[number] = os.readlink(f"{_DESCRIPTORS}/{number}")
        except FileNotFoundError:
            pass  # the one that listed the folder
        except OSError:
            found[number] = ""
    return found


def _mappings() -> set[str]:
    """Mapped shared memory as `inode path`."""
    try:
        text = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return set()
    lines = text.splitlines() if "/memfd:" in text or _SHARED_MEMORY in text else []
    shared = [line for line in lines if "/memfd:" in line or _SHARED_MEMORY in line]
    return {" ".join(line.split()[4:]) for line in shared}


def _shared_files() -> set[str]:
    try:
        return set(os.listdir(_SHARED_MEMORY))
    except FileNotFoundError:
        return set()
