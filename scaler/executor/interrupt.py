"""Stopping the task that runs: a signal, a handler, and the window in which it may raise.

The worker writes the task's ordinal into the page and sends the signal. The handler raises only
while exactly that task is armed, at most once per task: it disarms before it raises. A signal that
came before the window opened is found by `arm`.
"""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Final

from scaler.protocol.executor import INTERRUPT_SIGNAL, Page

_GUARD: Final = "scaler.executor.guard"
"""Below this module's frames it is no longer the task's own import."""


class TaskInterrupt(BaseException):
    """Raised in a task that is being stopped. Clean up and let it pass.

    A task that catches it and returns a value has succeeded after all.
    """


class Interrupter:
    """Turns the worker's signal into a `TaskInterrupt`. Belongs to the main thread."""

    __slots__ = ("_holds", "_main", "_page", "armed", "handler", "in_import")

    def __init__(self, page: Page) -> None:
        """Read the worker's wish from `page`, and answer there."""
        self._page = page
        self._main = threading.get_ident()
        self._holds = 0
        self.armed = 0
        """Ordinal that may be interrupted now; 0: none. Stored by the guard to close the window."""
        self.in_import = False
        """The interrupt hit code that was importing: half-made modules may be left."""
        self.handler = self._on_signal
        """What must be installed; kept, since each access to a method makes a new object."""

    def install(self) -> None:
        """Make the signal ours. No `siginterrupt(False)`: blocking reads must notice it."""
        signal.signal(INTERRUPT_SIGNAL, self.handler)

    def arm(self, ordinal: int) -> None:
        """Open the window for `ordinal`.

        Raises:
            TaskInterrupt: now or at any later instruction of the main thread, until `armed` is 0.
        """
        self._holds = 0
        self.in_import = False
        self.armed = ordinal
        if self._page.interrupt == ordinal:
            self._answer(None)

    def has_hit(self) -> bool:
        """Say, within the window, whether the interrupt came: whatever is raised now unwinds."""
        return not self.armed

    def answered(self, ordinal: int) -> bool:
        """Say whether the interrupt of `ordinal` was seen."""
        return self._page.answered == ordinal

    def hold(self) -> None:
        """Put interrupts off: a frame is being written. Other threads are never interrupted."""
        if threading.get_ident() == self._main:
            self._holds += 1

    def release(self) -> None:
        """End a `hold`.

        Raises:
            TaskInterrupt: it came meanwhile.
        """
        if threading.get_ident() != self._main:
            return
        self._holds -= 1
        if not self._holds and self.armed and self._page.interrupt == self.armed:
            self._answer(sys._getframe())

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if not self.armed or self._page.interrupt != self.armed:
            return
        if self._holds:
            self._page.answered = self.armed
        else:
            self._answer(frame)

    def _answer(self, frame: FrameType | None) -> None:
        ordinal, self.armed = self.armed, 0
        if ordinal:  # 0: the handler was faster, between the caller's look and here
            self._page.answered = ordinal
            self.in_import = _is_importing(frame)
            raise TaskInterrupt("the task is being cancelled")


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_globals.get("__name__") != _GUARD:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
