"""What a worker and its executor share: three pipes, the page, the pipe of claims."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import tempfile
import weakref
from typing import Final

from scaler.protocol.executor import Page
from scaler.worker.claims import ClaimPipe

_ANSWERS_BYTES: Final = 1 << 18


class Pipes:
    """The worker's ends, and until the executor was launched, the executor's ends too.

    Attributes:
        page: the shared page.
        claims: the pipe of claims.
        tasks_fd: write end, does not block.
        answers_fd: read end, does not block.
        stderr_fd: read end of what the executor has as its file descriptor 2, does not block.
        theirs: what the executor gets, in the order in which its `main` takes it.
    """

    def __init__(self, object_fds: tuple[int, int]) -> None:
        """Open all of it, or nothing; the executor gets `object_fds`, memory and disk, too.

        Raises:
            OSError: no descriptor or no memory is left.
        """
        with contextlib.ExitStack() as opened:
            page_fd = _open_page()
            opened.callback(os.close, page_fd)
            self._memory = mmap.mmap(page_fd, Page.SIZE_BYTES)
            opened.callback(self._memory.close)
            self.claims = ClaimPipe()
            opened.callback(self.claims.close)
            tasks_fd, self.tasks_fd = _open_pipe(opened)
            self.answers_fd, answers_fd = _open_pipe(opened)
            self.stderr_fd, stderr_fd = _open_pipe(opened)
            opened.pop_all()
        for fd in (self.tasks_fd, self.answers_fd, self.stderr_fd):
            os.set_blocking(fd, False)
        _enlarge(self.answers_fd)
        self.page = Page(memoryview(self._memory))
        self._given = (tasks_fd, answers_fd, page_fd, stderr_fd)
        self.theirs = (
            tasks_fd,
            answers_fd,
            page_fd,
            self.claims.read_fd,
            *object_fds,
            stderr_fd,
        )
        _all_open.add(self)

    def close_theirs(self) -> None:
        """Close the executor's ends, once: it has copies, or will never be."""
        for fd in self._given:
            os.close(fd)

    def close(self) -> None:
        """Close the worker's ends, once."""
        _all_open.discard(self)
        for fd in (self.tasks_fd, self.answers_fd, self.stderr_fd):
            os.close(fd)
        self.claims.close()
        self.page.release()
        self._memory.close()


_all_open: weakref.WeakSet[Pipes] = weakref.WeakSet()


def _close_in_fork() -> None:
    """Close the copies that a fork of the user's process has: it has no use for them."""
    for pipes in list(_all_open):
        pipes.close()


os.register_at_fork(after_in_child=_close_in_fork)


def _open_pipe(opened: contextlib.ExitStack) -> tuple[int, int]:
    read_fd, write_fd = os.pipe()
    opened.callback(os.close, read_fd)
    opened.callback(os.close, write_fd)
    return read_fd, write_fd


def _enlarge(pipe_fd: int) -> None:
    """Let a pipe hold some thousand rows, so that the executor goes on while nobody reads."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # this user has used up the kernel's allowance
            fcntl.fcntl(pipe_fd, fcntl.F_SETPIPE_SZ, _ANSWERS_BYTES)


def _open_page() -> int:
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("executor-page", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    try:
        os.ftruncate(fd, Page.SIZE_BYTES)
    except OSError:
        os.close(fd)
        raise
    return fd
