"""What a client may have in flight: tasks, and bytes of pickled arguments."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from threading import Lock, RLock
from typing import Any

from scaler.client.loops import in_user_coroutine
from scaler.errors import ClientBusyError, ClientClosedError
from scaler.settings import check_credit


class Credit:
    """Two budgets that are taken together, first come first served. Thread-safe.

    What is larger than a whole budget is let through alone: when nothing else is in flight.

    Args:
        tasks: How many tasks may be in flight, at least 1.
        size_bytes: How many bytes of arguments may be in flight, at least 1.
    """

    def __init__(self, tasks: int, size_bytes: int) -> None:
        check_credit(tasks, size_bytes)
        self._tasks_max = self._tasks = tasks
        self._bytes_max = self._bytes = size_bytes
        self._closed = False
        # Nobody waits and the client is open: the fast way through.
        self._free = True
        self._queue: deque[_Request] = deque()
        # Re-entrant: a signal handler may submit while the main thread is in here.
        self._lock = RLock()

    def __repr__(self) -> str:
        tasks, size_bytes = self.in_flight()
        return f"<Credit {tasks}/{self._tasks_max} tasks {size_bytes}/{self._bytes_max} bytes>"

    def in_flight(self) -> tuple[int, int]:
        """Return tasks and bytes taken and not given back."""
        return self._tasks_max - self._tasks, self._bytes_max - self._bytes

    def acquire(self, tasks: int, size_bytes: int, block: bool = True) -> None:
        """Take credit, waiting for it if need be; an exception (Ctrl-C too) took none.

        Raises:
            ClientBusyError: There is not enough, and this must not wait: `block` is False, or it
                was called in a coroutine or in a callback of an event loop.
            ClientClosedError: The client was closed, before or meanwhile.
        """
        taken = False
        try:
            with self._lock:
                if self._tasks >= tasks and self._bytes >= size_bytes and self._free:
                    self._tasks -= tasks
                    self._bytes -= size_bytes
                    taken = True
                    return
        except BaseException:  # Ctrl-C on the way out of the lock
            if taken:
                self.release(tasks, size_bytes)
            raise
        self._acquire_slowly(tasks, size_bytes, block)

    async def wait_async(self, tasks: int, size_bytes: int) -> None:
        """Take credit as `acquire` does, and let the event loop run meanwhile."""
        # The caller runs a loop, so it has imported asyncio.
        loop = sys.modules["asyncio"].get_running_loop()
        granted = loop.create_future()

        def wake() -> None:
            loop.call_soon_threadsafe(lambda: granted.done() or granted.set_result(None))

        request = _Request(tasks, size_bytes, wake)
        try:
            if not self._take_or_queue(request, may_wait=True):
                await granted
                self._check_open()
        except BaseException:
            self._give_up(request)
            raise

    def release(self, tasks: int, size_bytes: int) -> None:
        """Give credit back, of one task or of many at once."""
        with self._lock:
            self._tasks += tasks
            self._bytes += size_bytes
            served = self._serve() if self._queue else []
        self._wake(served)

    def close(self) -> None:
        """Let no more through: who waits, and who comes, gets a `ClientClosedError`."""
        with self._lock:
            self._closed = True
            self._free = False
            requests = list(self._queue)
            self._queue.clear()
        for request in requests:
            request.try_wake()

    def _acquire_slowly(self, tasks: int, size_bytes: int, block: bool) -> None:
        gate = Lock()
        gate.acquire()
        request = _Request(tasks, size_bytes, gate.release)
        try:
            if not self._take_or_queue(request, block and not in_user_coroutine()):
                gate.acquire()
                self._check_open()
        except BaseException:
            self._give_up(request)
            raise

    def _take_or_queue(self, request: _Request, may_wait: bool) -> bool:
        """Grant the request now (True), or give it a place in the queue."""
        with self._lock:
            self._check_open()
            if not self._queue and self._grant(request):
                return True
            if not may_wait:
                tasks, size_bytes = self.in_flight()
                raise ClientBusyError(
                    f"{tasks} tasks with {size_bytes} bytes of arguments are in flight, of "
                    f"{self._tasks_max} and {self._bytes_max}; wait for results, or use "
                    "`await client.asubmit(...)`"
                )
            self._queue.append(request)
            self._free = False
            return False

    def _grant(self, request: _Request) -> bool:
        enough = self._tasks >= min(request.tasks, self._tasks_max)
        if enough and self._bytes >= min(request.size_bytes, self._bytes_max):
            self._tasks -= request.tasks
            self._bytes -= request.size_bytes
            request.granted = True
            return True
        return False

    def _serve(self) -> list[_Request]:
        """Grant from the head of the queue, as long as there is enough."""
        served = []
        while self._queue and self._grant(self._queue[0]):
            served.append(self._queue.popleft())
        self._free = not self._queue and not self._closed
        return served

    def _wake(self, served: list[_Request]) -> None:
        for request in served:
            if not request.try_wake():
                self._give_up(request)

    def _give_up(self, request: _Request) -> None:
        """Leave the queue; what was granted meanwhile goes back."""
        with self._lock:
            if request in self._queue:
                self._queue.remove(request)
            if request.granted:
                request.granted = False
                self._tasks += request.tasks
                self._bytes += request.size_bytes
            served = self._serve()
        self._wake(served)

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosedError("the client was closed; make a new one")


class _Request:
    """A place in the queue: what is asked for, and how to tell that it is there."""

    __slots__ = ("_wake", "granted", "size_bytes", "tasks")

    def __init__(self, tasks: int, size_bytes: int, wake: Callable[[], Any]) -> None:
        self.tasks = tasks
        self.size_bytes = size_bytes
        self.granted = False
        self._wake = wake

    def try_wake(self) -> bool:
        """Wake who waits; False if its event loop is closed."""
        try:
            self._wake()
        except RuntimeError:
            return False
        return True
