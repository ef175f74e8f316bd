"""A `concurrent.futures.Future` that is cheap until somebody waits for it.

The standard class makes a condition, a lock and two lists for each future, which is most of what a
short task costs its caller. Here a future's condition is made when somebody first waits. All
conditions share one lock, which also guards every change of state, so a batch of results is one
hold of one lock; each condition still wakes only those who wait for its own future.

A state is read without the lock: it is written after all that belongs to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Future
from concurrent.futures._base import FINISHED, LOGGER, PENDING, RUNNING
from threading import Condition, RLock
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")

OPEN: Final = (PENDING, RUNNING)
"""The states without an answer."""

NO_CALLBACKS: Final[Any] = ()

LOCK: Final = RLock()
"""Guards the state of all futures. Re-entrant: a finalizer may run anywhere and read a future."""

# A thread that held it at a fork does not exist in the child, where nobody would let go of it.
os.register_at_fork(after_in_child=LOCK._at_fork_reinit)  # type: ignore[attr-defined]


class Waiter(Protocol):
    """Told once that a future is done, in the thread that resolves it. Must not block.

    The protocol that `concurrent.futures.wait` and `as_completed` use.
    """

    def add_result(self, future: Any) -> None:
        """Take note that `future` has a value."""

    def add_exception(self, future: Any) -> None:
        """Take note that `future` has an exception."""

    def add_cancelled(self, future: Any) -> None:
        """Take note that `future` is cancelled."""


class LazyFuture(Future[T]):
    """The parts of a future that wait and tell. Thread-safe.

    A subclass sets every slot in its `__init__` (the base class's costs too much), changes state
    under `LOCK` through `_finish`, and makes the answer ready in `_answer`.
    """

    __slots__ = (
        "_built",
        "_done_callbacks",
        "_exception",
        "_result",
        "_state",
        "_waiters",
    )

    _state: str
    _result: Any
    _exception: BaseException | None
    _built: Condition | None
    _waiters: Any
    _done_callbacks: Any

    # What the subclass adds to.

    def _answer(self) -> tuple[Any, BaseException | None]:
        """Return value and exception, the future being done; raise `CancelledError`."""
        # First these, then the state: giving a value up writes the state first.
        answer = self._result, self._exception
        if self._state != FINISHED:
            raise CancelledError
        return answer

    def _failed(self) -> bool:
        """Tell whether the answer is an exception, without running user code for it."""
        return self._exception is not None

    def _check_may_wait(self) -> None:
        """Raise if this thread must not wait for the future."""

    # Reading.

    def done(self) -> bool:
        """Tell whether there is an answer: a value, an exception, or a cancel."""
        return self._state not in OPEN

    def running(self) -> bool:
        """Tell whether a worker runs the task now; while queued it does not."""
        return self._state == RUNNING

    def cancelled(self) -> bool:
        """Tell whether the future is cancelled."""
        return self._state not in OPEN and self._state != FINISHED

    def result(self, timeout: float | None = None) -> T:
        """Return the task's value, waiting for it.

        Raises:
            CancelledError: The future is cancelled.
            TimeoutError: No answer within `timeout` seconds; the task goes on.
            SerializationError: The value cannot be opened here.
            WorkerDiedError: Its process died.
            Exception: What the task raised.
        """
        exception = None
        try:
            if self._state in OPEN:
                self._wait(timeout)
            value, exception = self._answer()
            if exception is not None:
                raise exception
            return value  # type: ignore[no-any-return]
        finally:
            # The exception's traceback holds this frame: no cycle through it.
            del exception, self

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what `result()` would raise because of the task, or `None`; waits like it."""
        if self._state in OPEN:
            self._wait(timeout)
        if LOCK._is_owned() and not self.cancelled():  # type: ignore[attr-defined]
            # `concurrent.futures.wait` asks under the lock, where no user code may run to open
            # the answer; it wants to know only whether there is an exception.
            return RuntimeError("the task failed") if self._failed() else None
        return self._answer()[1]

    # Waiting and being told.

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Call `fn(future)` when the future is done: on the client's callback thread, in order.

        At once and here if it is done already. An exception of `fn` is logged.
        """
        with LOCK:
            if self._state in OPEN:
                if self._done_callbacks is NO_CALLBACKS:
                    self._done_callbacks = []
                self._done_callbacks.append(fn)
                return
        self._call(fn)

    def add_waiter(self, waiter: Waiter) -> None:
        """Tell `waiter` once, when the future is done; at once if it is."""
        with self._condition:
            if self._state in OPEN:
                self._waiters.append(waiter)
            else:
                self._tell(waiter)

    def __await__(self) -> Generator[Any, None, T]:
        # Imported here: only who runs a loop awaits.
        from asyncio import wrap_future

        return wrap_future(self).__await__()

    def _wait(self, timeout: float | None) -> None:
        self._check_may_wait()
        deadline = None if timeout is None else monotonic() + timeout
        condition = self._condition
        with condition:
            while self._state in OPEN:
                left = None if deadline is None else deadline - monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError
                condition.wait(left)

    @property
    def _condition(self) -> Condition:  # type: ignore[override]
        condition = self._built
        if condition is None:
            with LOCK:
                condition = self._built
                if condition is None:
                    self._waiters = []
                    condition = self._built = Condition(LOCK)
        return condition

    def _finish(self, state: str) -> None:
        """Enter a final state and wake who waits, the lock being held."""
        self._state = state
        if self._built is not None:
            for waiter in self._waiters:
                self._tell(waiter)
            self._built.notify_all()

    def _tell(self, waiter: Waiter) -> None:
        if self._state != FINISHED:
            waiter.add_cancelled(self)
        elif self._failed():
            waiter.add_exception(self)
        else:
            waiter.add_result(self)

    def _invoke_callbacks(self) -> None:
        """Call each callback that was not called yet, outside the lock."""
        with LOCK:
            callbacks, self._done_callbacks = self._done_callbacks, NO_CALLBACKS
        for callback in callbacks:
            self._call(callback)

    def _call(self, callback: Callable[[Any], object]) -> None:
        try:
            callback(self)
        except Exception:
            LOGGER.exception("exception calling callback for %r", self)

    def _get_snapshot(self) -> tuple[bool, bool, Any, BaseException | None]:
        """Serve asyncio of Python 3.14: done, cancelled, result, exception."""
        if self._state in OPEN:
            return False, False, None, None
        try:
            return True, False, *self._answer()
        except CancelledError:
            return True, True, None, None
