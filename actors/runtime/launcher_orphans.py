"""What a launcher that was killed leaves behind: found by its mark, and killed.

The kernel kills its children with it, but not what these have started in sessions of their own.
All of them carry the launcher's mark in their environment, which /proc shows. Not found is who was
started with an empty environment, has overwritten its own (programs that set their title do), or
changed its user; and without /proc, who is in no process group of a child.
"""

import os
import signal
import time
from collections.abc import Collection

from actors.runtime.launcher_start import DEATH_S, kill, open_pidfd, wait_readable

MARK = "ACTORS_LAUNCHER"
"""The environment variable. It tells processes apart, and is no secret."""

_SETTLE_S = 0.005
"""Between two looks that must find nothing: one who was just forking or in an exec is seen then."""


def new_mark() -> str:
    """Return a value that no other launcher has."""
    return os.urandom(16).hex()


def end_orphans(mark: str, children: Collection[tuple[int, int]]) -> None:
    """Kill all that a dead launcher has left behind, and see it dead. Bounded by `DEATH_S`.

    Args:
        mark: the launcher's.
        children: pid and pidfd of those that are known; 0 and -1 where they are not.
    """
    deadline_s = time.monotonic() + DEATH_S
    for pid, _ in children:
        _kill_group(pid)
    _kill_marked(f"{MARK}={mark}".encode(), deadline_s)
    for _, pidfd in children:
        if pidfd >= 0:
            wait_readable(pidfd, max(deadline_s - time.monotonic(), 0.0))


def _kill_group(pid: int) -> None:
    if pid:
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


def _kill_marked(entry: bytes, deadline_s: float) -> None:
    """Kill every process with `entry` in its environment, until there is none."""
    looks_in_vain = 0
    while looks_in_vain < 2 and time.monotonic() < deadline_s:
        found = [pid for pid in _pids() if _is_marked(pid, entry)]
        for pid in found:
            _kill(pid, entry)
        looks_in_vain = 0 if found else looks_in_vain + 1
        if looks_in_vain == 1:
            time.sleep(_SETTLE_S)


def _kill(pid: int, entry: bytes) -> None:
    """Kill one, and give it a moment to be dead."""
    pidfd = open_pidfd(pid)
    is_still_it = _is_marked(pid, entry)  # its number did not go to someone else before the pidfd
    if is_still_it:
        kill(pid, pidfd)
    if pidfd >= 0:
        wait_readable(pidfd, _SETTLE_S if is_still_it else 0)
        os.close(pidfd)


def _pids() -> list[int]:
    try:
        names = os.listdir("/proc")
    except OSError:  # there is none, or this process has no descriptor left
        return []
    return [int(name) for name in names if name.isdecimal() and int(name) != os.getpid()]


def _is_marked(pid: int, entry: bytes) -> bool:
    """Whether a living process of this user has `entry` in its environment."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return entry in file.read().split(b"\0")
    except OSError:
        return False
