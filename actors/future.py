"""`AskFuture`: the reply to an ask from outside of actors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from actors.errors import WouldDeadlockError


class AskFuture(Future[Any]):
    """Ends with the reply, or with an error of `actors.errors`. Cannot be cancelled.

    Thread-safe. It always ends: at the latest when the ask's deadline passes.
    """

    def __init__(self, on_node_thread: Callable[[], bool]) -> None:
        """Make an open future; `on_node_thread` tells whether the caller may not wait here."""
        super().__init__()
        self._on_node_thread = on_node_thread

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the reply and return it.

        Args:
            timeout: seconds to wait here; `None` waits until the ask's own deadline.

        Raises:
            WouldDeadlockError: called on the thread that would have to deliver the reply.
            DeliveryError, ActorFailedError, AskTimeoutError: what became of the request.
            TimeoutError: `timeout` passed; the future is still open.
        """
        self._refuse_on_node_thread()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait like `result` and return the error, or `None` after a reply."""
        self._refuse_on_node_thread()
        return super().exception(timeout)

    def cancel(self) -> bool:
        """Return False: the request is on its way, and the actor may be handling it."""
        return False

    def settle(self, outcome: Any) -> None:
        """End the future with a reply, or with an error if `outcome` is one. First call counts."""
        with self._condition:
            if self.done():
                return
        if isinstance(outcome, Exception):
            self.set_exception(outcome)
        else:
            self.set_result(outcome)

    def _refuse_on_node_thread(self) -> None:
        if not self.done() and self._on_node_thread():
            raise WouldDeadlockError(
                f"waiting for a reply on {threading.current_thread().name}, the thread that would "
                "have to deliver it; use context.ask(..., then=...) inside actors"
            )
