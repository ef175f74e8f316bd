"""What a future manager keeps of cancels that have no answer yet."""

from __future__ import annotations

from collections.abc import Hashable

from actors import DeferredReply, LocalMessage
from scaler.client.future import CancelOutcome, ScalerFuture


class CancelFutures(LocalMessage, frozen=True):
    """Asked by a caller's thread: cancel these. Reply (`None`) when each is decided."""

    futures: tuple[ScalerFuture, ...]
    force: bool
    timeout_s: float
    """0: the futures are cancelled at once, and the request travels all the same."""
    grace_s: float | None
    unconfirmed: bool = False
    """They are cancelled already (from an event loop's callback); the answer is only noted."""


class Waiter:
    """One call of `cancel` that waits until all its futures are decided."""

    __slots__ = ("_left", "_reply")

    def __init__(self, reply: DeferredReply, futures: tuple[ScalerFuture, ...]) -> None:
        self._reply = reply
        self._left = len(futures)
        if not futures:
            reply.send(None)

    def settled(self) -> None:
        """One more of the futures is decided."""
        self._left -= 1
        if not self._left:
            self._reply.send(None)


class OpenCancel:
    """A cancel that travels: one request, however many callers wait for it."""

    __slots__ = ("force", "timers", "waiters")

    def __init__(self) -> None:
        self.force = False
        self.waiters: list[tuple[Waiter, bool]] = []
        """Who waits, and whether with force."""
        self.timers: list[Hashable] = []
        """Keys of the timers of callers who joined later."""


def crossed(force: bool, cancel_finished: bool) -> tuple[CancelOutcome, bool]:
    """What a result that came before the confirm does: the outcome, and whether it is delivered."""
    if not force:
        return CancelOutcome.FAILED, True
    return CancelOutcome.RESULT, not cancel_finished
