"""The future of a task: cheap to make, opened where it is read, cancelled with an answer.

* A result stays pickled until somebody asks; then it is opened in that thread, outside the lock.
* `cancel` asks the cluster and returns its answer; what needs no message is decided here.
* Nothing leaves a final state, but for one thing: a value that was given up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, PENDING, RUNNING
from threading import Condition, get_ident
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from actors import LazyFuture
from scaler.client.loops import in_loop_callback
from scaler.client.outcome import Canceller, CancelOutcome, ProfilingInfo, check_cancel
from scaler.client.rows import open_row, profile_of, reduced
from scaler.errors import ClientError
from scaler.limits import CANCEL_TIMEOUT_S
from scaler.protocol.tasks import RowStatus, TaskRow

__all__ = ["CancelOutcome", "Canceller", "ProfilingInfo", "ScalerFuture", "resolve_rows"]

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")

LOCK: Final = LazyFuture.LOCK
SECTION: Final = LazyFuture.SECTION
OPEN: Final = LazyFuture.OPEN
NO_CALLBACKS: Final = LazyFuture.NO_CALLBACKS
NO_WAITERS: Final = LazyFuture.NO_WAITERS

_SUCCEEDED: Final = RowStatus.SUCCEEDED
_INTERRUPTED: Final = RowStatus.INTERRUPTED

# Notified when a thread has opened a payload that others wait for.
_OPENED: Final = Condition(LOCK)

_SMALL_BYTES: Final = 512
"""A payload up to this size stays with its row: it is smaller than the work to drop it."""


class ScalerFuture(LazyFuture[T]):
    """The answer to one submitted task.

    All of `concurrent.futures` works on it, `asyncio.wrap_future` too, and `await future`. Made by
    `client.submit`. Thread-safe.

    Attributes:
        task_id: Number of the task, unique within the cluster's life.
        name: What people call the task: its function's name, or that of `client.options(name=)`.
        cancel_outcome: What the last cancel came to; `None` before any.
    """

    __slots__ = (
        "_is_input",
        "_opener",
        "_ran",
        "_row",
        "_session",
        "_submitted_s",
        "cancel_outcome",
        "name",
        "task_id",
    )
    __scaler_local__: ClassVar = "future"

    def __init__(self, task_id: int, session: Canceller, submitted_s: float = 0.0) -> None:
        """Make the future of a task that was submitted when the monotonic clock said so."""
        self.task_id = task_id
        self.cancel_outcome: CancelOutcome | None = None
        self.name = ""
        self._session = session
        self._submitted_s = submitted_s
        self._row: TaskRow | None = None
        self._ran: TaskRow | None = None
        self._is_input = False  # its result is an argument of a task: the pickle is kept
        self._opener = 0  # the thread that opens the payload, negative when others wait for it
        self._state = PENDING
        self._result = self._exception = None
        self._listeners = NO_WAITERS
        self._done_callbacks = NO_CALLBACKS

    @property
    def session(self) -> Canceller:
        """The client that submitted the task."""
        return self._session

    def __repr__(self) -> str:
        return f"<ScalerFuture task={self.task_id}{_called(self)} {_in_words(self)}>"

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return reduced(self)

    def profiling_info(self) -> ProfilingInfo:
        """Return where and how long the task ran, in its last attempt.

        Raises:
            ClientError: It has not ended yet, or no run of it came to an end.
        """
        pending = self._state in OPEN  # looked at first: a row comes before its state
        row = self._row or self._ran
        if row is not None and row.pid:
            return profile_of(row, self._submitted_s)
        early = pending and row is None
        why = " yet: wait for its result first" if early else ": no run of it came to an end"
        raise ClientError(f"task {self.task_id} has no profile{why}")

    def _answer(self) -> tuple[Any, BaseException | None]:
        if self._row is not None:
            self._open()
        return LazyFuture._answer(self)

    def _failed(self) -> bool:
        row = self._row
        return super()._failed() or (row is not None and row.status is not _SUCCEEDED)

    def _check_may_wait(self) -> None:
        self._session.check_may_wait()

    def _open(self) -> None:
        """Open the payload, in one thread, outside the lock: opening runs the user's code."""
        me = get_ident()
        try:  # all of it: Ctrl-C may come where a lock is let go
            with LOCK:
                while self._opener not in (0, me, -me) and self._row is not None:
                    self._opener = -abs(self._opener)
                    _OPENED.wait()
                row = self._row
                if row is None:
                    return
                self._opener = me
            self._result, self._exception = open_row(row, self.name, self._session.objects)
            with LOCK:
                keep = self._is_input or self._exception is not None  # not opened here
                self._drop_payload(row, keep=keep and self._state == FINISHED)
            if self._state != FINISHED:  # given up meanwhile
                self._result = self._exception = None
        finally:
            with LOCK:
                if self._opener in (me, -me):
                    if self._opener < 0:  # others wait
                        _OPENED.notify_all()
                    self._opener = 0

    def _drop_payload(self, row: TaskRow, *, keep: bool = False) -> None:
        if (row.objects or len(row.payload) > _SMALL_BYTES) and not keep:
            row = msgspec.structs.replace(row, payload=b"", objects=())
        self._ran = row
        self._row = None

    # Cancelling.

    def cancel(
        self, *, force: bool = True, timeout: float = CANCEL_TIMEOUT_S, grace: float | None = None
    ) -> bool:
        """Stop the task, wait for the confirm, and tell whether the future is cancelled now.

        Once this returned True nobody sees a result of the task, whatever arrives later. A future
        that is done gives its value up (unless the client has `cancel_finished=False`: then it
        stays as it is, and this returns False). `cancel_outcome` tells what happened.

        Args:
            force: Interrupt the task even if it runs already.
            timeout: Seconds to wait for the confirm; then the future is cancelled without it.
            grace: Seconds from the interrupt to the kill, 0 for at once; `None`: the client's.

        Raises:
            ValueError: The timeout is `None` or negative, or the grace is negative.

        Called from a callback of an event loop it does not block: the future is cancelled at once,
        with outcome `UNCONFIRMED` until the answer arrives. In coroutines prefer `acancel`.
        """
        timeout_s = check_cancel(timeout, grace)
        if self._state not in OPEN:
            return self.cancel_done()
        if not in_loop_callback():
            return self._session.cancel(self, force, timeout_s, grace)
        if not self.set_cancel_confirmed(CancelOutcome.UNCONFIRMED):
            return self.cancel_done()
        self._session.cancel_soon(self, force, grace)
        return True

    async def acancel(
        self,
        *,
        force: bool = True,
        timeout: float = CANCEL_TIMEOUT_S,  # noqa: ASYNC109 - the standard library's word
        grace: float | None = None,
    ) -> bool:
        """Do what `cancel` does, and let the event loop run meanwhile."""
        timeout_s = check_cancel(timeout, grace)
        if self._state not in OPEN:
            return self.cancel_done()
        return await self._session.acancel(self, force, timeout_s, grace)

    def cancel_done(self) -> bool:
        """Cancel a future that is done, which needs no message; whether it is cancelled now."""
        if self._session.cancel_finished:
            return self.release()
        with LOCK:
            if self._state == FINISHED:
                self.cancel_outcome = CancelOutcome.FINISHED
                return False
            return self.cancelled()

    def release(self) -> bool:
        """Give up the value of a done future, and free its memory; whether it is cancelled now."""
        with LOCK:
            if SECTION.holder:
                SECTION.await_end()
            if self._state == FINISHED:
                self._state = CANCELLED_AND_NOTIFIED
                self.cancel_outcome = CancelOutcome.RELEASED
                self._result = self._exception = None
                if (row := self._row or self._ran) is not None:  # kept, if a task needed it
                    self._drop_payload(row)
            return self.cancelled()

    # Changes of state, by the client. Each tells callbacks and waiters once, and returns whether it
    # was this call that made the future done; a future that is done keeps its answer.

    def set_running(self) -> bool:
        """Note that a worker runs the task now; whether that was news."""
        with LOCK:
            if news := self._state == PENDING:
                self._state = RUNNING
            return news

    def set_result_ready(self, row: TaskRow) -> bool:
        """Resolve with what the attempt came to: a value or an exception, still pickled."""
        with LOCK:
            if SECTION.holder:
                SECTION.await_end()
            done = self._take(row)
        return self._announce(done)

    def set_error(self, exception: BaseException) -> bool:
        """Resolve with an error that is not the task's own: of the cluster, the client."""
        with LOCK:
            if SECTION.holder:
                SECTION.await_end()
            done = self._state in OPEN
            if done:
                self._exception = exception
                self._finish(FINISHED)
            elif self.cancel_outcome is CancelOutcome.UNCONFIRMED:
                self.cancel_outcome = CancelOutcome.TIMEOUT  # nobody will answer any more
        return self._announce(done)

    def set_cancel_confirmed(self, outcome: CancelOutcome = CancelOutcome.CANCELED) -> bool:
        """Become cancelled. If it is so already, unconfirmed: note what the confirm says."""
        with LOCK:
            if SECTION.holder:
                SECTION.await_end()
            done = self._state in OPEN
            if done or self.cancel_outcome is CancelOutcome.UNCONFIRMED:
                self.cancel_outcome = outcome
            if done:
                self._finish(CANCELLED_AND_NOTIFIED)
        return self._announce(done)

    set_canceled = set_cancel_confirmed

    def set_cancel_refused(self, outcome: CancelOutcome = CancelOutcome.FAILED) -> None:
        """Note why a cancel did not cancel. A future that is cancelled keeps its outcome."""
        with LOCK:
            if not self.cancelled() or self.cancel_outcome is CancelOutcome.UNCONFIRMED:
                self.cancel_outcome = outcome

    def _take(self, row: TaskRow) -> bool:
        """Resolve with `row`, the lock being held; whether the future was still open."""
        if self._state not in OPEN:
            return False
        if row.status is _INTERRUPTED:
            self.cancel_outcome = CancelOutcome.CANCELED
            self._ran = row
            self._finish(CANCELLED_AND_NOTIFIED)
        else:
            self._row = row
            if self._listeners:
                self._finish(FINISHED)
            else:  # what `_finish` does, without a call
                self._state = FINISHED
        return True

    def _announce(self, done: bool) -> bool:
        if done and self._done_callbacks:
            self._session.call_back(self)
        return done


def cancel_all(futures: Iterable[ScalerFuture], outcome: CancelOutcome) -> list[ScalerFuture]:
    """Cancel each future that is still open, all under one hold of the lock.

    Returns:
        Those that have callbacks, in order: to be handed to the callback thread.
    """
    to_call = []
    with LOCK:
        if SECTION.holder:
            SECTION.await_end()
        for future in futures:
            done = future._state in OPEN
            if done or future.cancel_outcome is CancelOutcome.UNCONFIRMED:
                future.cancel_outcome = outcome
            if done:
                future._finish(CANCELLED_AND_NOTIFIED)
                if future._done_callbacks:
                    to_call.append(future)
    return to_call


def _called(future: ScalerFuture[Any]) -> str:
    return f" {future.name}" if future.name else ""


def _in_words(future: ScalerFuture[Any]) -> str:
    """The state of a future, for its `repr`."""
    state, exception, outcome = future._state, future._exception, future.cancel_outcome
    if state in OPEN:
        return "running" if state == RUNNING else "pending"
    if state != FINISHED:
        return f"cancelled ({outcome.value})" if outcome is not None else "cancelled"
    if exception is not None:
        return f"raised {type(exception).__name__}"
    return "failed" if future._failed() else "finished"


def resolve_rows(pairs: Sequence[tuple[ScalerFuture, TaskRow]]) -> list[ScalerFuture]:
    """Resolve each future that is still open with its row, all under one hold of the lock.

    Returns:
        Those that have callbacks, in order: to be handed to the callback thread.
    """
    to_call = []
    with LOCK:
        if SECTION.holder:
            SECTION.await_end()
        for future, row in pairs:
            if future._take(row) and future._done_callbacks:
                to_call.append(future)
    return to_call
