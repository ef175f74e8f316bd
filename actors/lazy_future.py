"""A `concurrent.futures.Future` that is cheap until somebody waits for it.

The standard class makes a condition, a lock and two lists for each future, which is most of what a
short task costs its caller. Here nothing is made before somebody waits, and then only for that one.
All futures share one lock (`section`), so a batch of results is one hold of one lock.

A state is read without the lock: it is written after all that belongs to it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Future
from concurrent.futures._base import FINISHED, LOGGER, PENDING, RUNNING
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from actors.section import LOCK, SECTION, Section

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")

OPEN: Final = (PENDING, RUNNING)
"""The states without an answer."""

NO_CALLBACKS: Final[Any] = ()
NO_WAITERS: Final[Any] = ()


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


class Arrivals:
    """A waiter that collects futures as they get done, for one thread to take."""

    __slots__ = ("add_cancelled", "add_exception", "add_result", "take")

    def __init__(self) -> None:
        queue: SimpleQueue[Any] = SimpleQueue()
        self.add_result = self.add_exception = self.add_cancelled = queue.put
        self.take = queue.get


class LazyFuture(Future[T]):
    """A future whose waiting costs nothing until somebody waits. Thread-safe.

    A subclass sets every slot in its `__init__` (the base class's costs too much), changes state
    under `LOCK` through `_finish`, after the end of a `SECTION`, and makes the answer ready in
    `_answer`.
    """

    __slots__ = ("_done_callbacks", "_exception", "_listeners", "_result", "_state")

    _state: str
    _result: Any
    _exception: BaseException | None
    _listeners: Any
    _done_callbacks: Any

    # For subclasses: what they set their slots to, and what guards their changes.
    LOCK: ClassVar[Any] = LOCK
    SECTION: ClassVar[Section] = SECTION
    OPEN: ClassVar[tuple[str, ...]] = OPEN
    NO_CALLBACKS: ClassVar[Any] = NO_CALLBACKS
    NO_WAITERS: ClassVar[Any] = NO_WAITERS

    if not TYPE_CHECKING:  # type checkers shall see what `as_completed` asks for
        # What the standard library takes around each look at a future.
        _condition = SECTION

        @property
        def _waiters(self) -> list[Any]:
            if self._listeners is NO_WAITERS:
                self._listeners = []
            return self._listeners

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
        __tracebackhide__ = True  # read by notebooks, which leave this frame out
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
        if SECTION.is_mine() and not self.cancelled():
            # `concurrent.futures.wait` asks, meanwhile no future can change: no user code may run
            # now to open the answer. All it wants to know is whether there is an exception.
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
        with LOCK:
            if SECTION.holder:
                SECTION.await_end()
            if self._state in OPEN:
                self._waiters.append(waiter)  # type: ignore[arg-type]
            else:
                self._tell(waiter)

    def remove_waiter(self, waiter: Waiter) -> None:
        """Do not tell `waiter` any more."""
        with LOCK:
            if SECTION.holder:
                SECTION.await_end()
            if waiter in self._listeners:
                self._listeners.remove(waiter)

    def __await__(self) -> Generator[Any, None, T]:
        # Imported here: only who runs a loop awaits.
        from asyncio import wrap_future

        return wrap_future(self).__await__()

    def _wait(self, timeout: float | None) -> None:
        self._check_may_wait()
        arrivals = Arrivals()
        try:
            self.add_waiter(arrivals)
            arrivals.take(timeout=None if timeout is None else max(timeout, 0.0))
        except Empty:
            self.remove_waiter(arrivals)
            if self._state in OPEN:
                raise TimeoutError from None
        except BaseException:  # Ctrl-C
            self.remove_waiter(arrivals)
            raise

    def _finish(self, state: str) -> None:
        """Enter a final state and wake who waits, the lock being held."""
        self._state = state
        for waiter in self._listeners:
            self._tell(waiter)

    def _tell(self, waiter: Waiter) -> None:
        if self._state != FINISHED:
            waiter.add_cancelled(self)
        elif self._failed():
            waiter.add_exception(self)
        else:
            waiter.add_result(self)

    def _invoke_callbacks(self) -> None:
        """Call each callback that was not called yet, outside the lock. Raises nothing."""
        with LOCK:
            callbacks, self._done_callbacks = self._done_callbacks, NO_CALLBACKS
        for callback in callbacks:
            try:
                self._call(callback)
            except BaseException:  # such as SystemExit: it ends that callback, and no other
                LOGGER.exception("a callback of %r ended with what no callback may raise", self)

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
