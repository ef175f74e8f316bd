"""`Wakeup`: lets other threads end a poller's sleep."""

from __future__ import annotations

import os
import sys
import threading

from actors.runtime.poller import Poller

_ONE = (1).to_bytes(8, sys.byteorder)
"""What an eventfd adds up; a pipe takes anything."""


class Wakeup:
    """Something that is ready after `ring`. `ring` is thread-safe, the rest the poller's thread's.

    On Linux an eventfd, whose every write is an event of its own: nothing has to be read, which
    would hand the GIL over once more at each wake-up. Elsewhere a pipe that the poller empties.
    """

    def __init__(self, poller: Poller) -> None:
        """Open it, for `poller`'s sleep."""
        self._fds: list[int] = []
        # Held while it is in use. Re-entrant: a finalizer inside `ring` may ring again.
        self._using = threading.RLock()
        self._write = self._open_alarm(poller) if hasattr(os, "eventfd") else -1
        if self._write < 0:
            self._write = self._open_pipe(poller)
        self._open = True

    def ring(self) -> None:
        """End the poller's sleep, or its next one. After `close` nothing happens."""
        try:
            with self._using:
                if self._open:
                    os.write(self._write, _ONE)
        except BlockingIOError:
            pass  # full: it will wake anyway
        finally:
            if not self._open:
                self._close_fds()

    def close(self) -> None:
        """Close it; if a `ring` uses it just now, that one does.

        It is not waited for: a signal handler may have interrupted it, and wait for this thread.
        """
        self._open = False
        self._close_fds()

    def abandon(self) -> None:
        """Close the copies in a fork, where a thread that was in `ring` does not exist."""
        self._using = threading.RLock()
        self.close()

    def __del__(self) -> None:
        self._close_fds()  # Ctrl-C came in a `ring` that should have

    def _close_fds(self) -> None:
        if self._using.acquire(blocking=False):
            try:
                while self._fds:
                    os.close(self._fds.pop())
            finally:
                self._using.release()

    def _open_alarm(self, poller: Poller) -> int:
        """Return an eventfd that `poller` listens to, -1 if it cannot."""
        fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        if not poller.add_alarm(fd):
            os.close(fd)
            return -1
        self._fds.append(fd)
        return fd

    def _open_pipe(self, poller: Poller) -> int:
        """Return the write end of a pipe that `poller` empties."""
        read, write = os.pipe()
        self._fds += (read, write)
        os.set_blocking(read, False)
        os.set_blocking(write, False)
        poller.add_reader(read, lambda: _empty(read))
        return write


def _empty(fd: int) -> None:
    os.read(fd, 4096)
