"""What a cancel came to, what a task cost, and what a future needs of its client."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

import msgspec

from scaler.settings import LONGEST_S, as_number

if TYPE_CHECKING:
    from scaler.client.future import ScalerFuture
    from scaler.objects.store import ObjectStore


class CancelOutcome(Enum):
    """What a cancel came to: `future.cancel_outcome`."""

    CANCELED = "canceled"
    """Confirmed: it never started, has unwound, or its process is gone."""
    NOT_FOUND = "not found"
    """Nobody knew the task any more. The future is cancelled."""
    RESULT = "result"
    """The result crossed the cancel. It was released (with `cancel_finished=False`: delivered)."""
    FAILED = "failed"
    """Not cancelled: it runs on, or its result came first and was delivered."""
    TIMEOUT = "timeout"
    """No answer in time. The future is cancelled; whether the task still runs is not known."""
    RELEASED = "released"
    """It was done already; its value has been given up."""
    UNCONFIRMED = "unconfirmed"
    """Cancelled at once from an event loop's callback; the answer will replace this."""
    FINISHED = "finished"
    """It was done already and stays so (`cancel_finished=False`)."""


class ProfilingInfo(msgspec.Struct, frozen=True, gc=False):
    """Where and how long a task ran, in its last attempt.

    Clock readings are of its host's monotonic clock.
    """

    queued_s: float
    """Seconds from `submit` to the start of the last attempt."""
    started_s: float
    """Clock reading before the arguments were unpickled."""
    ended_s: float
    """Clock reading after the result was pickled."""
    run_s: float
    """Seconds between the two."""
    cpu_s: float
    """User and system time of the executor meanwhile, seconds."""
    rss_bytes: int
    """Peak resident memory of the executor, up to the task's end."""
    worker: str
    pid: int
    attempt: int
    """Which start of the task it was, from 1."""


class Canceller(Protocol):
    """What a future needs of its client. Called from any thread, without any lock held."""

    cancel_finished: bool
    """Whether cancelling a future that is done gives its value up."""
    objects: ObjectStore
    """Where large results are."""

    def cancel(
        self, future: ScalerFuture, force: bool, timeout_s: float, grace_s: float | None
    ) -> bool:
        """Ask for the cancel, wait at most `timeout_s`; whether `future` is cancelled now."""

    async def acancel(
        self, future: ScalerFuture, force: bool, timeout_s: float, grace_s: float | None
    ) -> bool:
        """Do the same, without blocking the loop."""

    def cancel_soon(self, future: ScalerFuture, force: bool, grace_s: float | None) -> None:
        """Send the request; `future` is cancelled already."""

    def call_back(self, future: ScalerFuture) -> None:
        """Have the callbacks of `future`, which is done, called by the callback thread."""

    def check_may_wait(self) -> None:
        """Raise if this thread or process must not wait for a future of this client."""


def check_cancel(timeout: float | None, grace: float | None) -> float:
    """Return `timeout` as a float.

    Raises:
        TypeError: one is no number.
        ValueError: one is out of its range.
    """
    if timeout is None:
        raise ValueError("cancel(timeout=None): nothing waits without a bound; give seconds")
    timeout_s = as_number("cancel: timeout", timeout)
    if not timeout_s >= 0:
        raise ValueError(f"cancel(timeout={timeout!r}): the timeout must be 0 or more seconds")
    if timeout_s > LONGEST_S:
        raise ValueError(
            f"cancel(timeout={timeout!r}): nothing waits without a bound; at most {LONGEST_S:g} s"
        )
    if grace is not None and not as_number("cancel: grace", grace) >= 0:
        raise ValueError(f"cancel(grace={grace!r}): the grace must be 0 or more seconds")
    return timeout_s
