"""What an actor did, as values: the test kit records one of these for every act."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import msgspec

from actors.actor import Actor
from actors.errors import ActorsError, AskTimeoutError
from actors.ref import ActorRef
from actors.supervision import Supervision


class Told(msgspec.Struct, frozen=True):
    """`context.tell(ref, message)`."""

    ref: ActorRef
    message: Any


class Replied(msgspec.Struct, frozen=True):
    """An answer to a request: at once, deferred, or the `None` of a handler without a reply."""

    message: Any
    """The reply, or the error."""
    request: Any
    """The message that is answered."""


class Spawned(msgspec.Struct, frozen=True):
    """`context.spawn(actor_class, *args, **kwargs)`. No child runs: `ref` records."""

    actor_class: type[Actor]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    ref: ActorRef
    supervision: Supervision
    mailbox_size: int | None = None


class Stopped(msgspec.Struct, frozen=True):
    """`context.stop(ref)`; of a child also when its parent ends."""

    ref: ActorRef


class Watched(msgspec.Struct, frozen=True):
    """`context.watch(ref)`."""

    ref: ActorRef


class Unwatched(msgspec.Struct, frozen=True):
    """`context.unwatch(ref)`."""

    ref: ActorRef


class Timer(msgspec.Struct, frozen=True):
    """`context.start_timer(key, delay_s, message)`."""

    key: Any
    due_s: float
    """On the harness's clock."""
    message: Any


class TimerCancelled(msgspec.Struct, frozen=True):
    """`context.cancel_timer(key)` of a timer that was open."""

    key: Any


class Failed(msgspec.Struct, frozen=True):
    """A handler, `on_start`, `on_stop` or `end_of_turn` raised."""

    error: Exception


class AskState(Enum):
    """What became of an ask."""

    OPEN = "open"
    ANSWERED = "answered"
    FAILED = "failed"
    EXPIRED = "expired"
    DROPPED = "dropped"
    """The asking actor ended or was restarted."""


class Asked:
    """A request that waits for an answer of the test. Closed once, by one of its verbs.

    Attributes:
        ref: who was asked.
        message: the request.
        timeout_s: its deadline, from when it was asked.
        state: an `AskState`.
    """

    __slots__ = ("_settle", "message", "ref", "state", "timeout_s")

    def __init__(
        self,
        ref: ActorRef,
        message: Any,
        timeout_s: float,
        settle: Callable[[Asked, Any, AskState], None],
    ) -> None:
        self.ref = ref
        self.message = message
        self.timeout_s = timeout_s
        self.state = AskState.OPEN
        self._settle = settle

    @property
    def open(self) -> bool:
        """Whether it still waits."""
        return self.state is AskState.OPEN

    def answer(self, reply: object = None) -> None:
        """Give the reply. After `expire` it is too late: the reply becomes a dead letter.

        Raises:
            RuntimeError: it has been answered before; no real actor can do that.
        """
        self._close(AskState.ANSWERED, reply)

    def fail(self, error: ActorsError) -> None:
        """Give an error of `actors.errors` instead of a reply."""
        self._close(AskState.FAILED, error)

    def expire(self) -> None:
        """Let the deadline pass without moving the clock."""
        text = f"{self.ref.name} did not answer {type(self.message).__name__}"
        self._close(AskState.EXPIRED, AskTimeoutError(f"{text} within {self.timeout_s} s"))

    def _close(self, state: AskState, value: object) -> None:
        if self.state in (AskState.ANSWERED, AskState.FAILED):
            raise RuntimeError(f"{self} has had its answer: an actor answers a request once")
        before, self.state = self.state, state
        self._settle(self, value, before)

    def __repr__(self) -> str:
        return f"<Asked {self.ref.name} {self.message!r}, {self.state.value}>"


Effect = (
    Told
    | Asked
    | Replied
    | Spawned
    | Stopped
    | Watched
    | Unwatched
    | Timer
    | TimerCancelled
    | Failed
)
