"""What a task may change for those after it, put back when it ends."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal.getsignal` makes enums: 2 us for 20 ns
import contextlib
import os
import signal
from collections.abc import Iterable

from scaler.executor.interrupt import Interrupter
from scaler.executor.output import TaskPrinter
from scaler.protocol.executor import INTERRUPT_SIGNAL


class Surroundings:
    """Working directory, signal mask, handler of the interrupt, and streams of this process."""

    def __init__(self, interrupter: Interrupter, printer: TaskPrinter) -> None:
        """Remember the process as it is now."""
        self._interrupter = interrupter
        self._printer = printer
        self._mask: Iterable[int] = tuple(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        flags = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            self._directory = os.open(".", flags)
        except OSError:  # it was removed, or may not be read: then tasks keep what they have
            self._directory = -1

    def put_back(self) -> None:
        """Undo what the task changed. Unconditional where asking would cost more than setting."""
        if _signal.getsignal(INTERRUPT_SIGNAL) != self._interrupter.handler:
            self._interrupter.install()
        _signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        if self._directory >= 0:
            with contextlib.suppress(OSError):
                os.fchdir(self._directory)
        self._printer.install()
