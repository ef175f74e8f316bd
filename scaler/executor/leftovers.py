"""What a stopped task left running: Python threads and child processes.

Looked for only after an interrupt. The launcher made the executor adopt orphans, so processes whose
parent ended are found here too. Threads of native pools are not Python's and do not count.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
import time
from typing import Final

_WALL: Final = 0x40000000
"""`waitid` of all children, also those that do not send SIGCHLD."""


class Leftovers:
    """Knows the threads that were there before the task."""

    def __init__(self) -> None:
        """Take the threads of now as known."""
        self._count = -1
        self._known: list[threading.Thread] = []
        # Processes are dated by the clock that also runs while the machine sleeps.
        self._boot_offset_s = _boot_clock_s() - time.monotonic()
        self.note_threads()

    def note_threads(self) -> None:
        """Remember who is there, before a task. Costs a look at one number as a rule."""
        count = _thread._count()
        if count != self._count:
            self._known = threading.enumerate()
            self._count = count

    def found(self, started_s: float) -> bool:
        """Say whether the task that started then (monotonic) left a thread or a process."""
        return self._has_new_thread() or self._has_new_process(started_s)

    def _has_new_thread(self) -> bool:
        if _thread._count() > self._count:
            return True
        known = {id(thread): thread for thread in self._known}
        return any(
            id(thread) not in known
            for thread in threading.enumerate()
            if not isinstance(thread, threading._DummyThread)  # a native thread that called in
        )

    def _has_new_process(self, started_s: float) -> bool:
        if not _has_children():
            return False
        if sys.platform != "linux":
            return _has_young_child_psutil(started_s)
        # The kernel rounds a start down to its tick, so do we: in doubt it is the task's.
        ticks = int((started_s + self._boot_offset_s) * os.sysconf("SC_CLK_TCK"))
        return any(start >= ticks for start in _descendants().values())


def _boot_clock_s() -> float:
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


def _has_children() -> bool:
    if not hasattr(os, "waitid"):
        return True
    wall = _WALL if sys.platform == "linux" else 0
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | wall)
    except ChildProcessError:
        return False
    return True


def _descendants() -> dict[int, int]:
    """Return pid to start (ticks since boot) of all living processes below this one."""
    children: dict[int, list[tuple[int, int]]] = {}
    # Not pathlib: importing it would make every executor's start 4 ms longer.
    for name in os.listdir("/proc"):
        if name.isdecimal():
            parent, start = _parent_and_start(name)
            children.setdefault(parent, []).append((int(name), start))
    found: dict[int, int] = {}
    parents = [os.getpid()]
    while parents:
        for pid, start in children.pop(parents.pop(), ()):
            found[pid] = start
            parents.append(pid)
    return found


def _parent_and_start(pid: str) -> tuple[int, int]:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:  # it ended meanwhile
        return 0, 0
    fields = text[text.rindex(b")") + 2 :].split()  # the name before may hold anything
    state, parent, start = fields[0], int(fields[1]), int(fields[19])
    return (0, 0) if state in (b"Z", b"X") else (parent, start)


def _has_young_child_psutil(started_s: float) -> bool:
    import psutil  # 24 ms, and needed here only

    age_s = time.monotonic() - started_s
    born_after = time.time() - age_s - 1.0  # noqa: TID251 - psutil dates by the wall clock
    children = psutil.Process().children(recursive=True)
    return any(child.create_time() >= born_after for child in children if child.is_running())
