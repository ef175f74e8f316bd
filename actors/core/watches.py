"""Who is to be told the end of whom, also across nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.core.cell import CellState
from actors.core.guardian import UnwatchActor, WatchActor
from actors.core.refs import LocalRef
from actors.messages import Envelope
from actors.ref import ActorRef
from actors.signals import Terminated, TerminationReason

if TYPE_CHECKING:
    from actors.core.node import NodeCore


class Watches:
    """The watches of one node's actors. Those on actors of the same node are in their cells."""

    def __init__(self, node: NodeCore) -> None:
        """Serve `node`."""
        self._node = node
        self._remote: dict[ActorRef, dict[ActorRef, None]] = {}

    def add(self, ref: ActorRef, watcher: ActorRef) -> None:
        """Have `watcher` told when `ref` ends, at once if it already has."""
        if isinstance(ref, LocalRef) and ref.cell.state is not CellState.STOPPED:
            ref.cell.watchers[watcher] = None
        elif ref.address.node == self._node.name:
            watcher.deliver(Envelope(Terminated(ref, TerminationReason.UNKNOWN)))
        else:
            self._remote.setdefault(ref, {})[watcher] = None
            self._node.tell_guardian(ref.address.node, WatchActor(ref.address, watcher))

    def remove(self, ref: ActorRef, watcher: ActorRef) -> None:
        """Take `watcher` off the list of `ref`."""
        if isinstance(ref, LocalRef):
            ref.cell.watchers.pop(watcher, None)
        elif ref.address.node != self._node.name:
            self.forget(ref, watcher)
            self._node.tell_guardian(ref.address.node, UnwatchActor(ref.address, watcher))

    def forget(self, ref: ActorRef, watcher: ActorRef) -> None:
        """`watcher` waits no longer for an actor of another node: it has been told."""
        watchers = self._remote.get(ref)
        if watchers is not None:
            watchers.pop(watcher, None)
            if not watchers:
                del self._remote[ref]

    def node_lost(self, name: str, cause: str) -> None:
        """Another node is gone: tell the watchers of its actors."""
        for ref in [ref for ref in self._remote if ref.address.node == name]:
            lost = Terminated(ref, TerminationReason.NODE_LOST, cause)
            for watcher in self._remote.pop(ref):
                watcher.deliver(Envelope(lost))

    def refuse(self, watch: WatchActor, cause: str) -> None:
        """A watch came too late: the node of the actor is gone."""
        ref = self._node.resolve(watch.address)
        watch.watcher.deliver(Envelope(Terminated(ref, TerminationReason.NODE_LOST, cause)))

    def __len__(self) -> int:
        """Return how many actors of other nodes are watched."""
        return len(self._remote)
