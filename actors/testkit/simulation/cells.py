"""The cell, the ref and the node core of production, with the network between them simulated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.core.cell import Cell
from actors.core.context import CellContext
from actors.core.guardian import StopActor
from actors.core.node import NodeCore, OutsideRef
from actors.core.refs import LocalRef, RemoteRef
from actors.core.watches import Watches
from actors.future import AskFuture
from actors.limits import ASK_TIMEOUT_S
from actors.messages import Envelope, Reply
from actors.ref import ActorRef, Address
from actors.testkit.simulation.events import EventKind

if TYPE_CHECKING:
    from actors.testkit.simulation.node import SimulatedNode


class SimulatedRef(LocalRef):
    """A ref to an actor, the same object on every node: what it is given travels a lane."""

    __slots__ = ("arrivals_s", "core")

    def __init__(self, address: Address, cell: SimulatedCell) -> None:
        super().__init__(address, cell)
        self.core = cell.node
        self.arrivals_s: dict[ActorRef | None, float] = {}
        """When the last message of each sender arrives: the next one arrives later."""

    def ask(self, message: object, timeout: float = ASK_TIMEOUT_S) -> AskFuture:
        """Send a request from outside of actors; see `ActorRef.ask`. Do not wait for it."""
        outside = self.core.life.sim.network.outside
        return outside.ask_from_outside(self, message, timeout)

    def stop(self) -> None:
        """Stop the actor; from another node the request travels."""
        network = self.core.life.sim.network
        if network.source is not None and network.source.address.node != self.address.node:
            network.send_to_guardian(self.address.node, StopActor(self.address.number))
        else:
            super().stop()

    def deliver(self, envelope: Envelope | Reply) -> None:
        """Put `envelope` on its way."""
        core = self.core
        core.life.sim.network.send(self, core, envelope)

    def arrive(self, envelope: Envelope | Reply) -> None:
        """Put `envelope` into the mailbox."""
        super().deliver(envelope)


class SimulatedOutsideRef(OutsideRef):
    """The sender of asks that come from outside of actors: replies to it travel too."""

    __slots__ = ("arrivals_s", "core")

    def __init__(self, node: SimulatedCore) -> None:
        super().__init__(node)
        self.core = node
        self.arrivals_s: dict[ActorRef | None, float] = {}

    def deliver(self, envelope: Envelope | Reply) -> None:
        """Put `envelope` on its way."""
        core = self.core
        core.life.sim.network.send(self, core, envelope)

    def arrive(self, envelope: Envelope | Reply) -> None:
        """Close the ask that `envelope` answers."""
        super().deliver(envelope)


Receiver = SimulatedRef | SimulatedOutsideRef


class SimulatedCell(Cell):
    """The cell of production; it says on whose behalf messages are sent, and who failed."""

    __slots__ = ()
    node: SimulatedCore
    ref: SimulatedRef

    def __init__(self, node: SimulatedCore, address: Address, *args: Any, **kwargs: Any) -> None:
        super().__init__(node, address, *args, **kwargs)
        self.ref = SimulatedRef(address, self)
        self.context = CellContext(self)

    def run(self) -> None:
        """Handle the messages present now."""
        network = self.node.life.sim.network
        before, network.source = network.source, self.ref
        try:
            super().run()
        finally:
            network.source = before

    def handle(self, item: Envelope | Reply) -> None:
        """Handle one message, reply or timer."""
        life = self.node.life
        network = life.sim.network
        if network.source is self.ref:  # within a run
            super().handle(item)
            return
        life.note(EventKind.TIMER, self.ref, self.ref, item.message)
        before, network.source = network.source, self.ref
        try:
            super().handle(item)
        finally:
            network.source = before

    def end_run(self) -> None:
        """Run the actor's `end_of_turn`."""
        network = self.node.life.sim.network
        before, network.source = network.source, self.ref
        try:
            super().end_run()
        finally:
            network.source = before

    def terminate(self) -> None:
        """End the actor."""
        network = self.node.life.sim.network
        before, network.source = network.source, self.ref
        try:
            super().terminate()
        finally:
            network.source = before

    def failed(self, error: Exception) -> None:
        """The actor raised: the simulation learns of it."""
        self.node.life.sim.failed(self.ref, error)
        super().failed(error)


class SimulatedWatches(Watches):
    """The watches of production; refs to other nodes are known by their address."""

    _node: SimulatedCore

    def add(self, ref: ActorRef, watcher: ActorRef) -> None:
        """Have `watcher` told when `ref` ends."""
        super().add(self._placed(ref), watcher)

    def remove(self, ref: ActorRef, watcher: ActorRef) -> None:
        """Take `watcher` off the list of `ref`."""
        super().remove(self._placed(ref), watcher)

    def _placed(self, ref: ActorRef) -> ActorRef:
        local = ref.address.node == self._node.name
        return ref if local else RemoteRef(ref.address, self._node)


class SimulatedCore(NodeCore):
    """The node of production, on virtual time."""

    cells: dict[int, SimulatedCell]  # type: ignore[assignment]
    outside: SimulatedOutsideRef

    def __init__(self, name: str, life: SimulatedNode) -> None:
        """Make an empty node; `life` runs its turns."""
        self.life = life
        self.crashed = False
        self.lost: dict[str, None] = {}
        """Nodes that this one knows to have crashed."""
        super().__init__(
            name,
            clock=life.sim.now,
            wake=self._wake,
            on_own_thread=lambda: True,
            wait_for_room=lambda _cell: False,
        )
        self.cell_type = SimulatedCell
        self.sleeping = True
        self.outside = SimulatedOutsideRef(self)
        self.watches = SimulatedWatches(self)

    def resolve(self, address: Address) -> ActorRef:
        """Return the ref for an address, wherever the actor lives."""
        return self.life.sim.network.find(address) or RemoteRef(address, self)

    def _wake(self) -> None:
        self.sleeping = False
        self.life.sim.woken.append(self.life)
