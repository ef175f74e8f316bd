"""`Probe`: an actor in a live system whose mailbox a test reads."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from actors.actor import Actor, DeferredReply, handles
from actors.messages import LocalMessage
from actors.ref import ActorRef
from actors.signals import Terminated

if TYPE_CHECKING:
    from actors.system import ActorSystem

M = TypeVar("M")


class ProbeMessage:
    """A message that a probe got.

    Attributes:
        message: what was told or asked.
        sender: who sent it; `None` if it was no actor.
    """

    __slots__ = ("_deferred", "_probe", "message", "sender")

    def __init__(
        self, probe: ActorRef, message: Any, sender: ActorRef | None, deferred: DeferredReply
    ) -> None:
        self.message = message
        self.sender = sender
        self._probe = probe
        self._deferred = deferred

    def reply(self, message: object) -> None:
        """Answer it, if it was asked; an exception is an error. The first answer counts."""
        self._probe.tell(_Do(lambda: self._deferred.send(message)))

    def __repr__(self) -> str:
        return repr(self.message)


class Probe:
    """Reads what arrives at a ref of a live system. Every wait is bounded.

        with ActorSystem() as system:
            probe = Probe(system)
            system.spawn(Door, probe.ref).tell(Knock())
            assert probe.expect(Opened).by == "knock"

    A request to the probe stays open until it is answered: `probe.take(Price).reply(3)`.

    For one thread at a time.

    Attributes:
        ref: the probe's own ref.
    """

    def __init__(self, system: ActorSystem, name: str | None = None) -> None:
        """Spawn the probe on the thread node of `system`; it ends with the system."""
        self._inbox: queue.SimpleQueue[ProbeMessage] = queue.SimpleQueue()
        self.ref: ActorRef = system.spawn(_ProbeActor, self._inbox.put, name=name)

    def expect(self, message_type: type[M], *, timeout: float = 3.0) -> M:
        """Return the next message, which must be of exactly this type.

        Raises:
            AssertionError: it is of another type, or none came within `timeout` seconds.
        """
        message: M = self.take(message_type, timeout=timeout).message
        return message

    def take(self, message_type: type, *, timeout: float = 3.0) -> ProbeMessage:
        """Like `expect`; returns the message with its sender, so that it can be answered."""
        try:
            got = self._inbox.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(
                f"{self.ref.name} got no message within {timeout} s;"
                f" a {message_type.__name__} was expected"
            ) from None
        if type(got.message) is not message_type:
            raise AssertionError(
                f"{self.ref.name} got {got.message!r}; a {message_type.__name__} was expected"
            )
        return got

    def expect_terminated(self, ref: ActorRef, *, timeout: float = 3.0) -> Terminated:
        """Return the next message, which must be the end of `ref`; `watch` it before.

        Raises:
            AssertionError: it is something else, or nothing came within `timeout` seconds.
        """
        terminated = self.expect(Terminated, timeout=timeout)
        if terminated.ref != ref:
            raise AssertionError(f"{terminated.ref} has ended; the end of {ref} was expected")
        return terminated

    def expect_nothing(self, *, during: float = 0.05) -> None:
        """Wait `during` seconds.

        Raises:
            AssertionError: a message came.
        """
        try:
            got = self._inbox.get(timeout=during)
        except queue.Empty:
            return
        raise AssertionError(f"{self.ref.name} got {got.message!r}; nothing was expected")

    def watch(self, ref: ActorRef) -> None:
        """Have the probe told `Terminated` when `ref` ends."""
        self.ref.tell(_Watch(ref))

    def stop(self) -> None:
        """Stop the probe's actor. A second call does nothing."""
        self.ref.stop()

    def __repr__(self) -> str:
        return f"<Probe {self.ref.name}, {self._inbox.qsize()} waiting>"


class _Do(LocalMessage, frozen=True):
    """Run this on the probe's thread."""

    action: Callable[[], None]


class _Watch(LocalMessage, frozen=True):
    """Watch this ref."""

    ref: ActorRef


class _ProbeActor(Actor):
    def __init__(self, receive: Callable[[ProbeMessage], None]) -> None:
        self._receive = receive

    @handles(_Do)
    def on_do(self, message: _Do) -> None:
        message.action()

    @handles(_Watch)
    def on_watch(self, message: _Watch) -> None:
        self.context.watch(message.ref)

    @handles(object)
    def on_message(self, message: object) -> None:
        context = self.context
        deferred = context.defer_reply()
        self._receive(ProbeMessage(context.self_ref, message, context.sender, deferred))
