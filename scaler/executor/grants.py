"""What the kernel grants the executor's process, and a task may change for those after it.

Resource limits, priority, cores, umask, timers, the three standard files; and how `multiprocessing`
starts processes. Asking for all of it takes some microseconds: too much to do it after each task.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from typing import Final

_LIMITS: Final = tuple(
    sorted({value for name, value in vars(resource).items() if name.startswith("RLIMIT_")})
)
_TIMERS: Final = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_STREAMS: Final = (0, 1, 2)


class Grants:
    """The process as it was before any task."""

    def __init__(self) -> None:
        """Remember it as it is now."""
        self._limits = [resource.getrlimit(limit) for limit in _LIMITS]
        self._priority = os.getpriority(os.PRIO_PROCESS, 0)
        self._cores = _cores()
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._files = [_identity(fd) for fd in _STREAMS]
        self._copies = [_copy(fd) for fd in _STREAMS]
        self._start_method = _start_method()

    def put_back(self) -> bool:
        """Undo what was changed; return whether all of it could be."""
        try:
            os.umask(self._umask)
            for timer in _TIMERS:
                signal.setitimer(timer, 0)
            self._put_files_back()
            if _start_method() != self._start_method:
                sys.modules["multiprocessing"].set_start_method(self._start_method, force=True)
            self._put_limits_back()
        except Exception:  # given away for good, without the rights of root; or closed, or patched
            return False
        return True

    def _put_files_back(self) -> None:
        for fd, identity, copy in zip(_STREAMS, self._files, self._copies, strict=True):
            if copy >= 0 and _identity(fd) != identity:
                os.dup2(copy, fd)

    def _put_limits_back(self) -> None:
        for limit, before in zip(_LIMITS, self._limits, strict=True):
            if resource.getrlimit(limit) != before:
                resource.setrlimit(limit, before)
        if os.getpriority(os.PRIO_PROCESS, 0) != self._priority:
            os.setpriority(os.PRIO_PROCESS, 0, self._priority)
        if _cores() != self._cores:
            os.sched_setaffinity(0, self._cores)


def _cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _identity(fd: int) -> tuple[int, int]:
    """Return what tells one open file from another; zeros if it is closed."""
    try:
        status = os.fstat(fd)
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


def _copy(fd: int) -> int:
    with contextlib.suppress(OSError):
        return os.dup(fd)
    return -1


def _start_method() -> str | None:
    module = sys.modules.get("multiprocessing")
    method: str | None = None if module is None else module.get_start_method(allow_none=True)
    return method
