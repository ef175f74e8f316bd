"""`AskFuture`: the reply to an ask from outside of actors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures._base import FINISHED, PENDING
from typing import Any

from actors.errors import WouldDeadlockError
from actors.lazy_future import NO_CALLBACKS, NO_WAITERS, OPEN, LazyFuture
from actors.section import LOCK, SECTION


class AskFuture(LazyFuture[Any]):
    """Ends with the reply, or with an error of `actors.errors`. Cannot be cancelled.

    Thread-safe. It always ends: at the latest when the ask's deadline passes. Callbacks run on the
    node's thread and must not block.
    """

    __slots__ = ("_on_node_thread",)

    def __init__(self, on_node_thread: Callable[[], bool]) -> None:
        """Make an open future; `on_node_thread` tells whether the caller may not wait here."""
        self._on_node_thread = on_node_thread
        self._state = PENDING
        self._result = None
        self._exception = None
        self._listeners = NO_WAITERS
        self._done_callbacks = NO_CALLBACKS

    def cancel(self) -> bool:
        """Return False: the request is on its way, and the actor may be handling it."""
        return False

    def settle(self, outcome: Any) -> None:
        """End the future with a reply, or with an error if `outcome` is one. First call counts."""
        settle_all([(self, outcome)])

    def _check_may_wait(self) -> None:
        if self._on_node_thread():
            raise WouldDeadlockError(
                f"waiting for a reply on {threading.current_thread().name}, the thread that would "
                "have to deliver it; use context.ask(..., then=...) inside actors"
            )

    def _settle(self, outcome: Any) -> None:
        if self._state in OPEN:
            if isinstance(outcome, BaseException):
                self._exception = outcome
            else:
                self._result = outcome
            self._finish(FINISHED)


def settle_all(outcomes: Iterable[tuple[AskFuture, Any]]) -> None:
    """End futures with replies or errors, under one hold of the lock. The first end counts."""
    with_callbacks = []
    with LOCK:
        if SECTION.holder:
            SECTION.await_end()
        for future, outcome in outcomes:
            future._settle(outcome)
            if future._done_callbacks:
                with_callbacks.append(future)
    for future in with_callbacks:
        future._invoke_callbacks()
