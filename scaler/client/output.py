"""The thread that writes what tasks print, so that a slow terminal slows nothing else."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, TextIO, TypeAlias

from scaler.client.future import ScalerFuture
from scaler.client.notebook import CellFuture
from scaler.protocol.tasks import TaskOutput

_Work: TypeAlias = Callable[[], Any]

_log = logging.getLogger("scaler")


class OutputThread:
    """Writes outputs to `sys.stdout` and `sys.stderr` in the order they came. Thread-safe.

    A daemon thread, started at the first output. What waits for it is bounded by what tasks print
    while the terminal does not take it.
    """

    def __init__(self, name: str) -> None:
        """Make it; nothing is started yet."""
        self._name = name
        self._lock = Lock()
        self._writer: _Writer | None = None
        self._is_closed = False

    def show(self, future: ScalerFuture, output: TaskOutput) -> None:
        """Write an output soon, where the task was submitted (a notebook: that cell)."""
        with self._lock:
            if self._is_closed:
                return  # of a close that nobody answered: the task may go on for a while
            writer = self._running()
            if isinstance(future, CellFuture):
                writer.put(lambda: future.context.run(writer.write, output))
            else:
                writer.put(lambda: writer.write(output))

    def after(self, then: _Work) -> None:
        """Call `then` when all that was shown before has been written."""
        with self._lock:
            if not self._is_closed:
                writer = self._running()
                writer.put(writer.flush)
                writer.put(then)
                return
        then()

    def close(self, timeout_s: float) -> None:
        """Write what is left, for at most `timeout_s`, end the thread, and show nothing more."""
        with self._lock:
            self._is_closed = True
            writer, self._writer = self._writer, None
        if writer is not None:
            writer.put(None)
            writer.thread.join(timeout_s)

    def _running(self) -> _Writer:
        writer = self._writer
        if writer is None:
            writer = _Writer(self._name)
            try:
                writer.thread.start()
            except RuntimeError:  # the interpreter is about to end: do it here and now
                writer.put = _call
            else:
                self._writer = writer
        return writer


class _Writer:
    """One thread and its queue; `None` ends it."""

    def __init__(self, name: str) -> None:
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self.put: Callable[[_Work | None], Any] = self._queue.put
        self.thread = Thread(target=self._run, name=name, daemon=True)
        self._unflushed: dict[TextIO, None] = {}
        self._failed = False

    def write(self, output: TaskOutput) -> None:
        """Write to what is the stream now; it may have been replaced since the task began."""
        stream = sys.stdout if output.stream == "stdout" else sys.stderr
        if stream is not None:
            stream.write(output.text)
            self._unflushed[stream] = None

    def flush(self) -> None:
        """Flush what was written to: once for many outputs, for a notebook takes 0.3 ms."""
        unflushed, self._unflushed = self._unflushed, {}
        for stream in unflushed:
            stream.flush()

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            self._guarded(work)
            if self._unflushed and self._queue.empty():
                self._guarded(self.flush)
        self._guarded(self.flush)

    def _guarded(self, work: _Work) -> None:
        try:
            work()
        except Exception as error:  # a closed pipe, a full disk, a user's stream: say it once
            if not self._failed:
                _log.warning("what tasks print could not be shown: %r", error)
            self._failed = True


def _call(work: _Work | None) -> None:
    if work is not None:
        work()
