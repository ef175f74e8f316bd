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
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._open = True
        # Re-entrant: a finalizer that runs inside `ring` may ring again.
        self._closing = threading.RLock()
        poller.add_reader(self._read, self._empty)

    def ring(self) -> None:
        """End the poller's sleep, or its next one. After `close` nothing happens."""
        with self._closing:
            if self._open:
                try:
                    os.write(self._write, b"\0")
                except BlockingIOError:
                    return  # full: it will wake anyway

    def close(self) -> None:
        """Close the pipe; a `ring` that is on its way finds it closed."""
        with self._closing:
            if self._open:
                self._open = False
                os.close(self._read)
                os.close(self._write)

    def _empty(self) -> None:
        os.read(self._read, 4096)
