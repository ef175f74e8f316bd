"""What a client needs of a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from actors import Actor, ActorRef

if TYPE_CHECKING:
    from scaler.client.session import ClientSession
    from scaler.objects.store import ObjectStore


class Connection(Protocol):
    """The cluster, seen from a client. Thread-safe."""

    scheduler: ActorRef
    slots: int
    """Workers there are."""
    objects: ObjectStore
    """The shared memory of this host."""

    def next_client_number(self) -> int:
        """Return a number that no other client of this cluster has."""

    def spawn(self, actor_class: type[Actor], *args: Any, name: str) -> ActorRef:
        """Start an actor in this process, on the node that talks to the scheduler."""

    def on_node_thread(self) -> bool:
        """Whether the caller is that node's thread."""

    def attach(self, session: ClientSession) -> None:
        """Have `session.break_off` called if the cluster breaks."""

    def detach(self, session: ClientSession) -> None:
        """Undo `attach`."""

    def client_dropped(self, session: ClientSession, end: Callable[[], None]) -> None:
        """Nobody holds this client: call `end` on some thread when nobody waits for it either.

        For finalizers: it takes no lock and waits for nothing.
        """

    def close(self) -> None:
        """End the cluster."""
