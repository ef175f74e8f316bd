"""The context of an actor in a harness: the real one, but what would leave is recorded."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actors.actor import DEFAULT_SUPERVISION, Actor
from actors.core.asks import OpenAsk
from actors.core.context import CellContext, checked_delay_s, checked_key, checked_ref
from actors.core.node import check_spawn
from actors.errors import ActorsError
from actors.future import AskFuture
from actors.limits import ASK_TIMEOUT_S
from actors.messages import Envelope, Reply
from actors.ref import ActorRef, Address
from actors.signals import Terminated, TerminationReason
from actors.supervision import Supervision
from actors.testkit.effects import (
    Asked,
    AskState,
    Replied,
    Spawned,
    Stopped,
    Timer,
    TimerCancelled,
    Told,
    Unwatched,
    Watched,
)
from actors.testkit.inbox import InboxRef

if TYPE_CHECKING:
    from actors.core.cell import Cell
    from actors.testkit.harness import ActorHarness


class HarnessContext(CellContext):
    """What the actor may do; see `ActorContext`. Only messages to itself are delivered."""

    __slots__ = ("_kit",)

    def __init__(self, cell: Cell, kit: ActorHarness[Any]) -> None:
        super().__init__(cell)
        self._kit = kit

    @property
    def sender(self) -> ActorRef | None:
        """Who sent the current message."""
        sender = super().sender
        return sender.sender if isinstance(sender, Asker) else sender

    def tell(self, ref: ActorRef, message: object) -> None:
        """Record a message; one to the actor itself is handled after the current one."""
        if ref == self._ref:
            self._kit.record(Told(ref, message))
            ref.deliver(Envelope(message, ref))
            return
        crossed = self._kit._cross(message)
        self._kit.record(Told(ref, crossed))
        if isinstance(ref, InboxRef):
            ref.deliver(Envelope(crossed, self._ref))

    def ask(
        self,
        ref: ActorRef,
        message: object,
        then: Callable[[Any], None],
        timeout_s: float = ASK_TIMEOUT_S,
    ) -> None:
        """Record a request, to be answered by the test."""
        ask = OpenAsk(ref.address, then, self._cell)
        number = self._node.asks.open(ask, timeout_s, self._node.now())
        if ref == self._ref:
            ref.deliver(Envelope(message, ref, number))
            return
        kit = self._kit

        def settle(_asked: Asked, value: object, _state: AskState) -> None:
            kit.ref.deliver(Reply(number, kit._cross(value)))

        asked = Asked(ref, kit._cross(message), timeout_s, settle)
        kit.record(asked)
        kit._open_asks[number] = asked
        if isinstance(ref, InboxRef):
            ref.deliver(Envelope(asked.message, self._ref, number))
            ref.asked.append(asked)

    def spawn(
        self,
        actor_class: type[Actor],
        *args: Any,
        name: str | None = None,
        supervision: Supervision = DEFAULT_SUPERVISION,
        mailbox_size: int | None = None,
        **kwargs: Any,
    ) -> ActorRef:
        """Record a child; its ref is an `InboxRef`."""
        check_spawn(actor_class, name, supervision, mailbox_size)
        ref = InboxRef(name or f"{actor_class.__name__.lower()}-{len(self._kit.spawned) + 1}")
        self._kit._children[ref] = None
        self._kit.record(Spawned(actor_class, args, kwargs, ref, supervision, mailbox_size))
        return ref

    def stop(self, ref: ActorRef | None = None) -> None:
        """Record a stop; the actor itself ends after its current message."""
        stopped = self._ref if ref is None else checked_ref(ref)
        self._kit.record(Stopped(stopped))
        if stopped == self._ref or isinstance(stopped, InboxRef):
            stopped.stop()

    def watch(self, ref: ActorRef) -> None:
        """Record a watch; `ActorHarness.terminate` tells the end."""
        if checked_ref(ref) in self._cell.watching:
            return
        self._cell.watching[ref] = None
        self._kit.record(Watched(ref))
        if isinstance(ref, InboxRef) and ref.ended:
            self._ref.deliver(Envelope(Terminated(ref, TerminationReason.UNKNOWN), ref))

    def unwatch(self, ref: ActorRef) -> None:
        """Forget a watch."""
        if checked_ref(ref) in self._cell.watching:
            del self._cell.watching[ref]
            self._kit.record(Unwatched(ref))

    def start_timer(self, key: Any, delay_s: float, message: object) -> None:
        """Set a timer; `ActorHarness.advance` fires it."""
        now_s = self._node.now()
        due_s = now_s + checked_delay_s(delay_s)
        if self._kit._firing and due_s <= now_s:
            # Time stands still here: a timer without delay would fire for ever at this moment.
            due_s = math.nextafter(now_s, math.inf)
        timer = Timer(checked_key(key), due_s, message)
        self._kit._timers[key] = timer
        self._kit.record(timer)
        self._node.timers.start(self._cell, key, due_s, message)

    def cancel_timer(self, key: Any) -> None:
        """Forget the timer."""
        if checked_key(key) in self._cell.timers:
            self._kit.record(TimerCancelled(key))
        super().cancel_timer(key)


class PendingReply:
    """What the test gets for `kit.ask(...)`: the place where the answer appears.

    Attributes:
        message: the request.
        replied: whether an answer has come, a reply or an error.
        error: the error that came instead of a reply, else `None`.
    """

    __slots__ = ("_reply", "error", "message", "replied")

    def __init__(self, message: object) -> None:
        self.message = message
        self.replied = False
        self.error: Exception | None = None
        self._reply: Any = None

    @property
    def reply(self) -> Any:
        """The reply.

        Raises:
            AssertionError: there is no answer yet.
            Exception: `error`, if that was the answer.
        """
        if not self.replied:
            raise AssertionError(f"{self.message!r} has not been answered")
        if self.error is not None:
            raise self.error
        return self._reply

    def settle(self, outcome: object) -> None:
        """Take the answer; an exception is an error. For the harness."""
        self.replied = True
        if isinstance(outcome, Exception):
            self.error = outcome
        else:
            self._reply = outcome

    def __repr__(self) -> str:
        outcome = repr(self.error or self._reply) if self.replied else "not answered"
        return f"<PendingReply {self.message!r}: {outcome}>"


class Asker(ActorRef):
    """The sender of one request of the test. It takes the reply and passes on the rest."""

    __slots__ = ("_kit", "_message", "sender")

    def __init__(self, kit: ActorHarness[Any], message: object, sender: ActorRef | None) -> None:
        super().__init__(
            Address(kit.ref.address.node, 0, "test") if sender is None else sender.address
        )
        self._kit = kit
        self._message = message
        self.sender = sender

    def deliver(self, envelope: Envelope | Reply) -> None:
        """Record a reply and close its request."""
        if isinstance(envelope, Reply):
            crossed = self._kit._cross(envelope.message)
            self._kit.record(Replied(crossed, self._message))
            self._kit._outside.deliver(Reply(envelope.request, crossed))
        elif self.sender is not None:
            self.sender.deliver(envelope)

    def ask(self, message: object, timeout: float = ASK_TIMEOUT_S) -> AskFuture:
        """Ask the sender."""
        if self.sender is None:
            raise ActorsError("the test asked, and it cannot be asked back; pass a sender")
        return self.sender.ask(message, timeout)

    def stop(self) -> None:
        """Stop the sender."""
        if self.sender is not None:
            self.sender.stop()
