"""What a task may change for those after it, put back when it ends."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import signal
from collections.abc import Callable, Iterable
from typing import Any, Final

from scaler.executor.interrupt import Interrupter
from scaler.executor.output import TaskPrinter
from scaler.protocol.executor import INTERRUPT_SIGNAL

# Those of `signal` turn numbers into enums and back: 2 us instead of 0.02.
_getsignal: Callable[[int], Any] = _signal.getsignal
_set_mask: Callable[[int, Iterable[int]], Any] = _signal.pthread_sigmask
_SIG_SETMASK: Final = int(signal.SIG_SETMASK)


class Surroundings:
    """Working directory, signal mask, handler of the interrupt, and streams of this process."""

    def __init__(self, interrupter: Interrupter, printer: TaskPrinter) -> None:
        """Remember the process as it is now."""
        self._interrupter = interrupter
        self._printer = printer
        self._mask: Iterable[int] = tuple(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ())))
        flags = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            self._directory = os.open(".", flags)
        except OSError:  # it was removed, or may not be read: then tasks keep what they have
            self._directory = -1

    def put_back(self) -> None:
        """Undo what the task changed. Unconditional where asking would cost more than setting."""
        if _getsignal(INTERRUPT_SIGNAL) is not self._interrupter.handler:
            self._interrupter.install()
        _set_mask(_SIG_SETMASK, self._mask)
        if self._directory >= 0:
            try:
                os.fchdir(self._directory)
            except OSError:  # it may not be entered any more
                self._directory = -1
        self._printer.install()
