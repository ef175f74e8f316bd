"""`ObjectKeeper`: the actor that has the objects of a host freed, on its node's thread."""

from __future__ import annotations

from actors import Actor, LocalMessage, handles
from scaler.objects.store import ObjectStore


class ObjectsDropped(LocalMessage, frozen=True):
    """Pieces of objects are gone. Sent once for all that die before they are looked at."""


class CollectMore(LocalMessage, frozen=True):
    """Time for the next step."""


class ObjectKeeper(Actor):
    """Frees what nobody needs; what takes long in steps, one in each turn of the node."""

    def __init__(self, store: ObjectStore) -> None:
        """Keep `store`."""
        self.store = store
        self._has_more = False

    def on_start(self) -> None:
        """Be told when something was dropped."""
        tell, dropped = self.context.self_ref.tell, ObjectsDropped()
        self.store.on_dropped = lambda: tell(dropped)

    @handles(ObjectsDropped)
    def on_objects_dropped(self, message: ObjectsDropped) -> None:
        """Free them, or go on in steps."""
        if not self._has_more:
            self._collect()

    @handles(CollectMore)
    def on_collect_more(self, message: CollectMore) -> None:
        """Go on."""
        self._collect()

    def _collect(self) -> None:
        self._has_more = self.store.collect(in_steps=True)
        if self._has_more:  # by a timer, which comes with the next turn, as a message might not
            self.context.start_timer("more", 0.0, CollectMore())

    def on_stop(self) -> None:
        """Nobody listens any more."""
        self.store.on_dropped = lambda: None
