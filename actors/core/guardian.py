"""`Guardian`: the first actor of every node, through which others spawn, stop and watch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from actors.actor import Actor, handles
from actors.errors import NodeUnreachableError
from actors.messages import Envelope, LocalMessage, Message
from actors.ref import ActorRef, Address
from actors.signals import Terminated, TerminationReason
from actors.supervision import Restart, Supervision

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.core.node import NodeCore

GUARDIAN_NUMBER = 1


def guardian_address(node: str) -> Address:
    """Where the guardian of `node` lives."""
    return Address(node, GUARDIAN_NUMBER, "guardian")


class SpawnActor(msgspec.Struct, frozen=True):
    """Start an actor here and reply its ref. Travels as an opaque body: it holds a class."""

    actor_class: type[Actor]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    name: str | None
    supervision: Supervision
    mailbox_size: int | None


class PingNode(Message, frozen=True):
    """Reply (`None`) when the node is up."""


class StopNode(Message, frozen=True):
    """Stop all actors, then end the node."""


class StopActor(Message, frozen=True):
    """Stop the actor of this number."""

    number: int


class WatchActor(Message, frozen=True):
    """Tell `watcher` when the actor at `address` ends."""

    address: Address
    watcher: ActorRef


class UnwatchActor(Message, frozen=True):
    """`watcher` no longer wants to be told."""

    address: Address
    watcher: ActorRef


class NodeGone(Message, frozen=True):
    """The node `name` has ended: told by the one that had the link to it."""

    name: str
    cause: str


class CallOnNode(LocalMessage, frozen=True):
    """Call a function on the node's thread and reply what it returns."""

    function: Callable[[], Any]


class Guardian(Actor):
    """Acts for other nodes and threads on its node."""

    def __init__(self, node: NodeCore, finish: Callable[[], None]) -> None:
        self._node = node
        self._finish = finish

    @handles(SpawnActor)
    def on_spawn(self, message: SpawnActor) -> None:
        """Start an actor; the constructor's exception is the reply if it raises."""
        try:
            ref: object = self._node.spawn(
                message.actor_class,
                message.args,
                message.kwargs,
                name=message.name,
                supervision=message.supervision,
                mailbox_size=message.mailbox_size,
                parent=None,
            )
        except Exception as error:
            ref = error
        self.context.reply(ref)

    @handles(CallOnNode)
    def on_call(self, message: CallOnNode) -> None:
        """Call the function; what it raises is the reply."""
        try:
            outcome = message.function()
        except Exception as error:
            outcome = error
        self.context.reply(outcome)

    @handles(PingNode)
    def on_ping(self, message: PingNode) -> None:
        """Answer."""

    @handles(StopNode)
    def on_stop_node(self, message: StopNode) -> None:
        """End the node after this turn."""
        self._finish()

    @handles(StopActor)
    def on_stop_actor(self, message: StopActor) -> None:
        """Stop an actor, if it still lives."""
        cell = self._node.cells.get(message.number)
        if cell is not None:
            cell.ref.stop()

    @handles(WatchActor)
    def on_watch(self, message: WatchActor) -> None:
        """Enter a watcher, or tell it at once that the actor has ended."""
        cell = self._node.cells.get(message.address.number)
        if cell is not None:
            cell.watchers[message.watcher] = None
            return
        ref = self._node.resolve(message.address)
        message.watcher.deliver(Envelope(Terminated(ref, TerminationReason.UNKNOWN)))

    @handles(NodeGone)
    def on_node_gone(self, message: NodeGone) -> None:
        """End the asks to a node, tell the watchers of its actors."""
        self._node.node_lost(message.name, NodeUnreachableError(message.cause))

    @handles(UnwatchActor)
    def on_unwatch(self, message: UnwatchActor) -> None:
        """Strike a watcher."""
        cell = self._node.cells.get(message.address.number)
        if cell is not None:
            cell.watchers.pop(message.watcher, None)


GUARDIAN_SUPERVISION = Restart(times=1_000, within_s=1.0)
