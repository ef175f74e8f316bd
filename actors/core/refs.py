"""The two kinds of ref in a running node: to an actor of this node, and to one elsewhere."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from actors.core.guardian import StopActor
from actors.errors import ActorsError
from actors.future import AskFuture
from actors.limits import ASK_TIMEOUT_S
from actors.messages import Envelope, Reply
from actors.ref import ActorRef, Address

if TYPE_CHECKING:
    from actors.core.cell import Cell
    from actors.core.node import NodeCore

CURRENT_NODE: ContextVar[NodeCore] = ContextVar("CURRENT_NODE")
"""The node whose thread this is: where refs inside opened messages belong."""


class LocalRef(ActorRef):
    """A ref to an actor of this node: its messages are put straight into the mailbox."""

    __slots__ = ("cell", "queue", "size")

    def __init__(self, address: Address, cell: Cell) -> None:
        super().__init__(address)
        self.cell = cell
        self.queue = cell.mailbox.queue
        self.size = cell.mailbox.size

    def tell(self, message: object) -> None:
        """Send `message`; see `ActorRef.tell`."""
        self.deliver(Envelope(message))

    def ask(self, message: object, timeout: float = ASK_TIMEOUT_S) -> AskFuture:
        """Send a request; see `ActorRef.ask`."""
        return self.cell.node.ask_from_outside(self, message, timeout)

    def stop(self) -> None:
        """Stop the actor; see `ActorRef.stop`."""
        cell = self.cell
        cell.stop_requested = True
        cell.node.schedule(cell)

    def deliver(self, envelope: Envelope | Reply) -> None:
        """Put `envelope` into the mailbox. Thread-safe.

        The flag `scheduled` makes one entry per run in the node's ready list: the node clears it
        before it looks at the queue, so an append is either seen by that run or schedules another.
        """
        queue = self.queue
        if len(queue) >= self.size and not self.cell.node.make_room(self.cell, envelope):
            return
        queue.append(envelope)
        if not self.cell.scheduled:
            self.announce()

    def announce(self) -> None:
        """Have the node run the actor, which has a message. Thread-safe."""
        cell = self.cell
        node = cell.node
        cell.scheduled = True
        node.ready.append(cell)
        if node.sleeping:
            node.wake()
        if node.closed:
            node.drain()

    def __reduce__(self) -> tuple[Any, ...]:
        return restore_ref, (self.address,)


class RemoteRef(ActorRef):
    """A ref to an actor of another process: its messages leave with the turn's flush."""

    __slots__ = ("node",)

    def __init__(self, address: Address, node: NodeCore) -> None:
        super().__init__(address)
        self.node = node

    def ask(self, message: object, timeout: float = ASK_TIMEOUT_S) -> AskFuture:
        """Send a request; see `ActorRef.ask`."""
        return self.node.ask_from_outside(self, message, timeout)

    def stop(self) -> None:
        """Stop the actor; see `ActorRef.stop`."""
        self.node.tell_guardian(self.address.node, StopActor(self.address.number))

    def deliver(self, envelope: Envelope | Reply) -> None:
        """Put `envelope` on its way. Thread-safe."""
        node = self.node
        node.outgoing.append((self.address, envelope))
        if node.sleeping:
            node.wake()
        if node.closed:
            node.drain()

    def __reduce__(self) -> tuple[Any, ...]:
        return restore_ref, (self.address,)


def restore_ref(address: Address) -> ActorRef:
    """Make a ref from its address, within the node that is opening a message."""
    node = CURRENT_NODE.get(None)
    if node is None:
        raise ActorsError(
            f"a ref to {address.name!r} was opened outside of any node; "
            "refs travel inside messages between actors only"
        )
    return node.resolve(address)
