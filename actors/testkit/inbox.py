"""`InboxRef`: a ref with nobody behind it. It records what it is sent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from typing import Any, TypeVar

from actors.future import AskFuture
from actors.limits import ASK_TIMEOUT_S
from actors.messages import Envelope, Reply
from actors.ref import ActorRef, Address
from actors.testkit.effects import Asked

M = TypeVar("M")

NODE = "testkit"
"""Name of the node that all refs of the test kit pretend to live on."""

_numbers = count(1)


def new_address(name: str) -> Address:
    """Return an address that no other ref of the test kit has."""
    return Address(NODE, next(_numbers), name)


class InboxRef(ActorRef):
    """A fake actor: give it to the code under test, then read what it got.

        manager = InboxRef("manager")
        Door(manager).knock()                       # calls manager.tell(Knocked())
        assert manager.messages == [Knocked()]

    Code that waits for `ref.ask(...)` in the test's own thread needs its answer at once:

        manager = InboxRef("manager", respond=lambda message: "open")

    Attributes:
        envelopes: all that was delivered, in order, asks included.
        asked: requests made with `ref.ask`, or by an actor in a harness; answer them.
        stopped: whether `stop` was called.
        ended: whether `ActorHarness.terminate` has ended it.
    """

    __slots__ = ("_thread", "asked", "ended", "envelopes", "respond", "stopped")

    def __init__(
        self, name: str = "inbox", *, respond: Callable[[Any], object] | None = None
    ) -> None:
        """Make an empty inbox.

        Args:
            name: for people; need not be unique.
            respond: answers each `ref.ask` at once; an exception that it returns is the error.
        """
        super().__init__(new_address(name))
        self._thread = threading.get_ident()
        self.envelopes: list[Envelope] = []
        self.asked: list[Asked] = []
        self.respond = respond
        self.stopped = False
        self.ended = False

    @property
    def messages(self) -> list[Any]:
        """The messages of all `envelopes`."""
        return [envelope.message for envelope in self.envelopes]

    def take(self, message_type: type[M]) -> M:
        """Remove and return the oldest message of exactly this type.

        Raises:
            AssertionError: there is none; the text lists what is there.
        """
        for index, envelope in enumerate(self.envelopes):
            if type(envelope.message) is message_type:
                del self.envelopes[index]
                found: M = envelope.message
                return found
        raise AssertionError(
            f"{self.name} has no {message_type.__name__}; it has {self.messages or 'nothing'}"
        )

    def answer(self, reply: object = None) -> Asked:
        """Answer the oldest open request and return it.

        Raises:
            AssertionError: no request is open.
        """
        for asked in self.asked:
            if asked.open:
                asked.answer(reply)
                return asked
        raise AssertionError(f"{self.name} has no open request")

    def clear(self) -> None:
        """Forget what was recorded."""
        self.envelopes.clear()
        self.asked.clear()

    def ask(self, message: object, timeout: float = ASK_TIMEOUT_S) -> AskFuture:
        """Record a request; the future ends when the test answers it (or by `respond`).

        Waiting for it raises `WouldDeadlockError` in the thread that made the inbox: nobody else
        would answer. Other threads may wait.
        """
        future = AskFuture(lambda: threading.get_ident() == self._thread)
        self.deliver(Envelope(message))
        asked = Asked(self, message, timeout, lambda _asked, value, _state: future.settle(value))
        self.asked.append(asked)
        if self.respond is not None:
            asked.answer(self.respond(message))
        return future

    def stop(self) -> None:
        """Record that it was asked to stop."""
        self.stopped = True

    def deliver(self, envelope: Envelope | Reply) -> None:
        """Record an envelope."""
        if isinstance(envelope, Envelope):
            self.envelopes.append(envelope)
