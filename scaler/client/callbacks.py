"""The thread that runs the user's callbacks, so that the node's thread never does."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from threading import Condition, RLock, Thread, current_thread
from time import monotonic

from actors import LazyFuture

LOGGER = logging.getLogger(__name__)


class CallbackThread:
    """Runs the callbacks of futures that are done, one after the other, in the order given.

    The thread is a daemon, started at the first need. What waits for it is at most one entry per
    future that has callbacks. All calls are thread-safe and, but for `close`, never block.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._due: deque[LazyFuture] = deque()
        # Entered by itself: Ctrl-C in `Condition.__enter__` would leave it locked for good.
        self._lock = RLock()
        self._changed = Condition(self._lock)
        self._thread: Thread | None = None
        self._closing = False

    def __repr__(self) -> str:
        return f"<CallbackThread {self._name} due={len(self._due)}>"

    def call(self, futures: Iterable[LazyFuture]) -> None:
        """Have the callbacks of these futures called, each once, soon.

        After `close` too: a thread is started for them and ends after them.
        """
        with self._lock:
            self._due.extend(futures)
            if not self._due:
                return
            if self._thread is None:
                self._start()
            else:
                self._changed.notify()

    def close(self, timeout_s: float) -> bool:
        """Let the thread end when all is called; whether it did within `timeout_s`.

        Called from a callback, it does not wait.
        """
        deadline = monotonic() + timeout_s
        with self._lock:
            self._closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is None:
            return True
        if thread is current_thread():
            return False
        thread.join(max(0.0, deadline - monotonic()))
        return not thread.is_alive()

    def _start(self) -> None:
        thread = Thread(target=self._run, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the interpreter is about to end, or out of threads
            LOGGER.warning("callbacks of %d futures are not called: %s", len(self._due), error)
            self._due.clear()
        else:
            self._thread = thread

    def _run(self) -> None:
        while (future := self._next()) is not None:
            future._invoke_callbacks()
            del future

    def _next(self) -> LazyFuture | None:
        with self._lock:
            while not self._due:
                if self._closing:
                    self._thread = None
                    return None
                self._changed.wait()
            return self._due.popleft()
