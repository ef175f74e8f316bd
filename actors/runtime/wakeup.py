"""`Wakeup`: lets other threads end a poller's sleep."""

from __future__ import annotations

import os
import threading

from actors.runtime.poller import Poller


class Wakeup:
    """A pipe that is readable after `ring`. `ring` is thread-safe, the rest the poller's thread's.

    A pipe and not an eventfd: the kernel's wake-up of a pipe reader keeps both threads on one core
    more often, which is the faster hand-off.
    """

    def __init__(self, poller: Poller) -> None:
        """Make the pipe and have `poller` empty it."""
        self._fds: list[int] = []
        # Held while the pipe is in use. Re-entrant: a finalizer inside `ring` may ring again.
        self._using = threading.RLock()
        self._read, self._write = os.pipe()
        self._fds += (self._read, self._write)
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._open = True
        poller.add_reader(self._read, self._empty)

    def ring(self) -> None:
        """End the poller's sleep, or its next one. After `close` nothing happens."""
        try:
            with self._using:
                if self._open:
                    os.write(self._write, b"\0")
        except BlockingIOError:
            pass  # full: it will wake anyway
        finally:
            if not self._open:
                self._close_pipe()

    def close(self) -> None:
        """Close the pipe; if a `ring` uses it just now, that one does.

        It is not waited for: a signal handler may have interrupted it, and wait for this thread.
        """
        self._open = False
        self._close_pipe()

    def abandon(self) -> None:
        """Close the copies in a fork, where a thread that was in `ring` does not exist."""
        self._using = threading.RLock()
        self.close()

    def __del__(self) -> None:
        self._close_pipe()  # Ctrl-C came in a `ring` that should have

    def _close_pipe(self) -> None:
        if self._using.acquire(blocking=False):
            try:
                while self._fds:
                    os.close(self._fds.pop())
            finally:
                self._using.release()

    def _empty(self) -> None:
        os.read(self._read, 4096)
