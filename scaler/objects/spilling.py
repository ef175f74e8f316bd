"""`Spilling`: which objects go to disk, and whether their copies are used. It has no thread."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from scaler.errors import ObjectStoreFullError
from scaler.objects.arena import whole_pages
from scaler.objects.spill import SpillFile

if TYPE_CHECKING:
    from scaler.objects.store import ObjectStore
    from scaler.protocol.objects import Piece, Spilled

_log = logging.getLogger("scaler")


class Spilling:
    """What a spiller does, step by step: between two of them others do theirs."""

    def __init__(self, disk: SpillFile) -> None:
        """Spill to `disk`."""
        self.disk = disk
        self._wanted: deque[int] = deque()
        self._has_warned = False

    @property
    def target_bytes(self) -> int | None:
        """So much shall be left in memory; `None`: nobody wants anything."""
        return min(self._wanted.copy(), default=None)

    def want(self, target_bytes: int) -> None:
        """Have at most so much left in memory, or less if somebody wants that. Any thread."""
        self._wanted.append(target_bytes)

    def take_target(self) -> int | None:
        """Return what is wanted, once."""
        taken = [self._wanted.popleft() for _ in range(len(self._wanted))]
        return min(taken, default=None)

    def steps(self, store: ObjectStore, target_bytes: int) -> Iterator[None]:
        """Spill what was used longest ago, until no more than `target_bytes` are in memory.

        Yields after each step. Who goes no further leaves all in order.
        """
        while (piece := store.victim(target_bytes)) is not None:
            yield
            place = self._copied(store, piece)
            if place is None:
                store.refused(piece)
            elif (yield from self._moved(store, piece, place, target_bytes)):
                self._forget_met(store, target_bytes)
                return
            del piece
            yield

    def _forget_met(self, store: ObjectStore, target_bytes: int) -> None:
        """Who has waited asked again meanwhile perhaps, and takes the room now."""
        for _ in range(len(self._wanted)):
            wanted_bytes = self._wanted.popleft()
            if wanted_bytes < target_bytes or wanted_bytes >= store.room.limit_bytes:
                self._wanted.append(wanted_bytes)  # who still waits asks again, too

    def _copied(self, store: ObjectStore, piece: Piece) -> Spilled | None:
        try:
            return self.disk.write(store.file, piece.home, piece.size_bytes)
        except (OSError, MemoryError, ObjectStoreFullError) as error:
            if not self._has_warned:
                self._has_warned = True
                # As text: who keeps the record must not keep the object with the traceback.
                text = str(error) or type(error).__name__
                _log.warning("an object cannot be spilled, so it stays in memory: %s", text)
            return None

    def _moved(
        self, store: ObjectStore, piece: Piece, place: Spilled, target_bytes: int
    ) -> Generator[None, None, bool]:
        """Use the copy, unless somebody reads the object now; return whether it was enough."""
        is_used = is_enough = False
        try:
            yield
            is_used, is_enough = store.spilled(piece, place, target_bytes)
        finally:
            if not is_used:
                self.disk.free(place.offset)
        if is_used:
            yield
            store.file.punch(piece.home, whole_pages(piece.size_bytes))
        return is_enough
