"""The thread that writes what tasks print, so that a slow terminal slows nothing else."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

from scaler.client.future import ScalerFuture
from scaler.protocol.tasks import TaskOutput

_log = logging.getLogger("scaler")


class OutputThread:
    """Writes outputs to `sys.stdout` and `sys.stderr` in the order they came. Thread-safe.

    A daemon thread, started at the first output. What waits for it is bounded by what tasks print
    while the terminal does not take it.
    """

    def __init__(self, name: str) -> None:
        """Make it; nothing is started yet."""
        self._name = name
        self._queue: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self._starting = Lock()
        self._thread: Thread | None = None

    def show(self, future: ScalerFuture, output: TaskOutput) -> None:
        """Write an output soon, where the task was submitted (a notebook: that cell)."""
        self._put(lambda: _write(output))

    def after(self, then: Callable[[], Any]) -> None:
        """Call `then` when all that was shown before has been written."""
        self._put(then)

    def close(self, timeout_s: float) -> None:
        """Write what is left, for at most `timeout_s`, and end the thread."""
        with self._starting:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join(timeout_s)

    def _put(self, work: Callable[[], Any]) -> None:
        self._queue.put(work)
        with self._starting:
            if self._thread is None:
                self._thread = Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            try:
                work()
            except Exception:
                _log.exception("the output of a task could not be shown")


def _write(output: TaskOutput) -> None:
    stream = sys.stdout if output.stream == "stdout" else sys.stderr
    if stream is not None:
        stream.write(output.text)
        stream.flush()
