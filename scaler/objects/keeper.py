"""`ObjectKeeper`: the actor that has the objects of a host freed, on its node's thread."""

from __future__ import annotations

from actors import Actor, LocalMessage, handles
from scaler.objects.store import ObjectStore


class ObjectsDropped(LocalMessage, frozen=True):
    """Pieces of objects are gone. Sent once for all that die before they are looked at."""


class ObjectKeeper(Actor):
    """Frees what nobody needs."""

    def __init__(self, store: ObjectStore) -> None:
        """Keep `store`."""
        self.store = store

    def on_start(self) -> None:
        """Be told when something was dropped."""
        tell, dropped = self.context.self_ref.tell, ObjectsDropped()
        self.store.on_dropped = lambda: tell(dropped)

    @handles(ObjectsDropped)
    def on_objects_dropped(self, message: ObjectsDropped) -> None:
        """Free them."""
        self.store.collect()

    def on_stop(self) -> None:
        """Nobody listens any more."""
        self.store.on_dropped = lambda: None
