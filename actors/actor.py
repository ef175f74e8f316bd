"""`Actor`, the class users subclass, and `ActorContext`, all that an actor may do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from actors.limits import ASK_TIMEOUT_S
from actors.ref import ActorRef
from actors.supervision import Stop, Supervision

Handler = TypeVar("Handler", bound=Callable[..., None])

DEFAULT_SUPERVISION: Supervision = Stop()


def handles(*message_types: type) -> Callable[[Handler], Handler]:
    """Mark a method as the handler of messages of exactly these types.

    `handles(object)` marks the one that takes what no other handler takes.
    """

    def mark(method: Handler) -> Handler:
        method.__dict__["handled_types"] = message_types
        return method

    return mark


class Actor:
    """Base of actors: private state, one message at a time.

    A handler is a plain method marked with `handles`. It runs to its end, never blocks, and acts
    only through `self.context`, so the same class runs in a thread, in a process and in a test:

        class Counter(Actor):
            def __init__(self) -> None:
                self.count = 0

            @handles(Increment)
            def on_increment(self, message: Increment) -> None:
                self.count += message.by
                self.context.reply(self.count)

    `context` is there from `on_start` on, not yet in `__init__`.
    """

    handlers: ClassVar[dict[type, Callable[..., None]]] = {}
    context: ActorContext

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # By name, so that a subclass may override a handler without marking it again.
        handlers = {kind: getattr(cls, method.__name__) for kind, method in cls.handlers.items()}
        for method in vars(cls).values():
            for message_type in getattr(method, "handled_types", ()):
                handlers[message_type] = method
        cls.handlers = handlers

    def on_start(self) -> None:
        """Run before the first message, and again in the new instance after a restart."""

    def on_stop(self) -> None:
        """Run once after the last message, when the children have ended. Not at a restart."""

    def end_of_turn(self) -> None:
        """Run after a run of messages, once however many there were."""


class DeferredReply(ABC):
    """An answer that is given later. The first `send` or `fail` counts, the rest does nothing."""

    __slots__ = ()

    @abstractmethod
    def send(self, message: object) -> None:
        """Answer the request."""

    @abstractmethod
    def fail(self, error: Exception) -> None:
        """Answer the request with an error."""


class ActorContext(ABC):
    """What an actor may do. To be used by its own handlers, on its own node's thread."""

    __slots__ = ()

    @property
    @abstractmethod
    def self_ref(self) -> ActorRef:
        """The actor's own ref."""

    @property
    @abstractmethod
    def sender(self) -> ActorRef | None:
        """Who sent the current message; `None` if it was no actor."""

    @abstractmethod
    def now(self) -> float:
        """Seconds on the node's monotonic clock."""

    @abstractmethod
    def tell(self, ref: ActorRef, message: object) -> None:
        """Send `message` to `ref`. Never raises; at most once; in order per receiver."""

    @abstractmethod
    def ask(
        self,
        ref: ActorRef,
        message: object,
        then: Callable[[Any], None],
        timeout_s: float = ASK_TIMEOUT_S,
    ) -> None:
        """Send a request; `then` is called once, with the reply, or with an exception.

        The exception is an `ActorsError` that says what became of the request, or one that the
        other actor replied. `then` runs like a handler of this actor. It is not called after a
        stop or a restart.
        """

    @abstractmethod
    def reply(self, message: object) -> None:
        """Answer the current message. Ignored when it was a tell. A handler that ends without
        a reply (and without `defer_reply`) answers `None`.
        """

    @abstractmethod
    def defer_reply(self) -> DeferredReply:
        """Take the duty to answer the current message later. If the actor ends before, the asker
        gets `ActorStoppedError`.
        """

    @abstractmethod
    def spawn(
        self,
        actor_class: type[Actor],
        *args: Any,
        name: str | None = None,
        supervision: Supervision = DEFAULT_SUPERVISION,
        mailbox_size: int | None = None,
        **kwargs: Any,
    ) -> ActorRef:
        """Start a child on this node. It is stopped before this actor is.

        Raises:
            ValueError: the name is taken.
            TypeError: an argument is of a wrong type.
            ActorFailedError: the constructor or `on_start` raised what is no `Exception`.
            Exception: whatever else they raised.
        """

    @abstractmethod
    def stop(self, ref: ActorRef | None = None) -> None:
        """Stop `ref`, or this actor after its current message."""

    @abstractmethod
    def watch(self, ref: ActorRef) -> None:
        """Be told `Terminated` once when `ref` has ended, at once if it already has."""

    @abstractmethod
    def unwatch(self, ref: ActorRef) -> None:
        """No `Terminated` of `ref` arrives any more."""

    @abstractmethod
    def start_timer(self, key: object, delay_s: float, message: object) -> None:
        """Have `message` handled here after `delay_s`; replaces the timer of the same key.

        Raises:
            ValueError: `delay_s` is negative or not a number.
        """

    @abstractmethod
    def cancel_timer(self, key: object) -> None:
        """The timer's message never arrives any more. Nothing happens if there is none."""

    @abstractmethod
    def after_turn(self, callback: Callable[[], None]) -> None:
        """Call back on this thread after the turn's messages went out: the last act before the
        node sleeps, the right place to wake waiting threads. What it raises is a failure of this
        actor, as if a handler had raised it.
        """
