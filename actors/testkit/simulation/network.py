"""`Network`: how messages get from actor to actor, and what becomes of those that cannot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from actors.core.guardian import guardian_address
from actors.core.node import OutsideRef
from actors.errors import ActorStoppedError, AskTimeoutError
from actors.messages import Envelope, Reply
from actors.ref import ActorRef, Address
from actors.signals import DeadLetterReason, Terminated
from actors.testkit.simulation.agenda import Agenda
from actors.testkit.simulation.cells import Receiver, SimulatedCore, SimulatedRef
from actors.testkit.simulation.events import EventKind

if TYPE_CHECKING:
    from actors.testkit.simulation.node import SimulatedNode


class Network:
    """Stands where links and sockets are in production.

    Attributes:
        source: the actor that runs now; what it sends has it as its sender.
        cores: every node that ever ran, by name; a restarted node has a new name.
    """

    def __init__(self, agenda: Agenda, *, direct_local: bool) -> None:
        """Make a network without nodes.

        Args:
            agenda: decides what arrives when.
            direct_local: messages within a node are delivered at once.
        """
        self.agenda = agenda
        self.source: ActorRef | None = None
        self.cores: dict[str, SimulatedCore] = {}
        self._direct_local = direct_local
        self._is_system = False
        self.outside: SimulatedCore
        """The node of all that is outside of actors; set by the simulation."""

    def enter(self, core: SimulatedCore) -> None:
        """Take in a node that begins."""
        core.lost = {name: None for name, other in self.cores.items() if other.crashed}
        self.cores[core.name] = core

    def find(self, address: Address) -> Receiver | None:
        """Return who lives at an address, `None` if it has ended."""
        core = self.cores.get(address.node)
        if core is None:
            return None
        if not address.number:
            return core.outside
        cell = core.cells.get(address.number)
        return None if cell is None else cell.ref

    # --- out --------------------------------------------------------------------------------

    def send(self, ref: Receiver, core: SimulatedCore, item: Envelope | Reply) -> None:
        """Put a message to an actor of `core` on its way."""
        source = self.source
        if type(item) is Envelope and item.sender is not None:
            source = item.sender
        elif type(item.message) is Terminated and not self._is_system:
            source = item.message.ref  # it comes after all that `ref` has sent
        elif source is None and self._is_system:
            self._hand_over(ref, core, None, item)
            return
        local = type(source) is SimulatedRef and source.cell.node is core
        if local and self._direct_local:
            self._hand_over(ref, core, source, item)
        elif core.crashed and core.name in self._core_of(source).lost:
            self._refuse(source, ref.address, item)
        else:
            self.agenda.send(ref, source, item, local=local)

    def send_to_guardian(self, node: str, message: object) -> None:
        """Have the actor that runs now tell the guardian of another node."""
        guardian = self.find(guardian_address(node))
        if guardian is not None:
            guardian.deliver(Envelope(message))

    def flush(self, core: SimulatedCore) -> None:
        """Send what a node tells to addresses: words between guardians, mostly."""
        own = self.find(guardian_address(core.name))
        for _ in range(len(core.outgoing)):
            address, item = core.outgoing.popleft()
            ref = self.find(address)
            if address.node in core.lost:
                self._refuse(own, address, item)
            elif ref is None:
                error = ActorStoppedError(f"actor {address.name} has stopped")
                with self.as_system():
                    core.undeliverable(address, item, error, DeadLetterReason.STOPPED)
            else:
                self.source = own
                ref.deliver(item)
                self.source = None

    @contextmanager
    def as_system(self) -> Iterator[None]:
        """Let what a node itself puts into its mailboxes arrive at once."""
        before = self.source, self._is_system
        self.source, self._is_system = None, True
        try:
            yield
        finally:
            self.source, self._is_system = before

    # --- in ---------------------------------------------------------------------------------

    def arrive(
        self, ref: Receiver, source: ActorRef | None, item: Envelope | Reply
    ) -> SimulatedNode | None:
        """Put a message into its mailbox; return the node if it is there to handle it."""
        core: SimulatedCore = ref.core
        if core.crashed:
            return None
        core.sleeping = False  # its turn follows: it need not be woken
        self._hand_over(ref, core, source, item)
        return core.life

    def _hand_over(
        self, ref: Receiver, core: SimulatedCore, source: ActorRef | None, item: Envelope | Reply
    ) -> None:
        if type(item) is not Reply:
            kind = EventKind.MESSAGE
        elif source is None and type(item.message) is AskTimeoutError:
            kind = EventKind.TIMEOUT
        else:
            kind = EventKind.REPLY
        core.life.note(kind, source, ref, item.message)
        ref.arrive(item)

    def _core_of(self, source: Any) -> SimulatedCore:
        if source is None or isinstance(source, OutsideRef):
            return self.outside
        return self.cores.get(source.address.node, self.outside)

    def _refuse(self, source: ActorRef | None, address: Address, item: Envelope | Reply) -> None:
        """Tell a sender what it knows already: the node is gone."""
        core = self._core_of(source)
        with self.as_system():
            core.unreachable(address, item, f"node {address.node} is gone")
