"""`ActorRef`: the only handle on an actor, valid in any thread and in any process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import msgspec

from actors.limits import ASK_TIMEOUT_S

if TYPE_CHECKING:
    from actors.future import AskFuture
    from actors.messages import Envelope, Reply


class Address(msgspec.Struct, frozen=True, array_like=True):
    """Where an actor lives. Numbers are never used twice, so an address means one actor."""

    node: str
    number: int
    name: str


class ActorRef(ABC):
    """A handle on an actor. Small, comparable, hashable; it can travel inside messages.

    Messages of one sender to one receiver arrive in order. Delivery is at most once: a message is
    handled once, or becomes a dead letter.
    """

    __slots__ = ("_hash", "address")

    def __init__(self, address: Address) -> None:
        self.address = address
        self._hash = hash((address.node, address.number))

    @property
    def name(self) -> str:
        """The actor's name, unique within its node."""
        return self.address.name

    def tell(self, message: object) -> None:
        """Send `message`; do not wait. Never raises: what cannot be delivered is a dead letter.

        Thread-safe. Inside an actor use `self.context.tell`, which also names the sender.
        From another thread it waits for room when the mailbox is full (`limits.MAILBOX_WAIT_S`).
        """
        from actors.messages import Envelope

        self.deliver(Envelope(message))

    @abstractmethod
    def ask(self, message: object, timeout: float = ASK_TIMEOUT_S) -> AskFuture:
        """Send `message` and return a future of the reply. For threads outside of actors.

        Args:
            message: the request.
            timeout: seconds until the future ends with `AskTimeoutError`, > 0.

        Returns:
            A `concurrent.futures.Future`; it ends with the reply, or with `DeliveryError`,
            `ActorFailedError` or `AskTimeoutError`.

        Thread-safe.
        """

    @abstractmethod
    def stop(self) -> None:
        """Ask the actor to stop: it finishes its current message, stops its children, then ends.

        This overtakes the messages that wait in its mailbox: they become dead letters. Thread-safe;
        a second call does nothing.
        """

    @abstractmethod
    def deliver(self, envelope: Envelope | Reply) -> None:
        """Put an envelope on its way (used by contexts and links, not by users)."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ActorRef):
            return NotImplemented
        own, others = self.address, other.address
        return own.number == others.number and own.node == others.node

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"<ActorRef {self.address.name} on {self.address.node}>"
