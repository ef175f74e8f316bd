"""`Spiller`: the thread that moves objects to disk while memory has no room for others."""

from __future__ import annotations

import logging
import threading
import weakref
from queue import SimpleQueue
from typing import TYPE_CHECKING

from scaler.errors import ObjectStoreFullError
from scaler.limits import CLOSE_TIMEOUT_S
from scaler.objects.arena import whole_pages
from scaler.objects.holes import Holes
from scaler.objects.spill import SpillFile

if TYPE_CHECKING:
    from scaler.objects.store import ObjectStore
    from scaler.protocol.objects import Piece, Spilled

_log = logging.getLogger("scaler")


class Spiller:
    """Spills what was used longest ago, until enough is free. The thread starts at first need."""

    def __init__(self, store: ObjectStore, disk: SpillFile) -> None:
        """Move objects of `store` to `disk`."""
        self._store = weakref.ref(store)
        self._disk = disk
        # Written in C: a signal's handler may call while its thread is in a call.
        self._wanted: SimpleQueue[int] = SimpleQueue()
        self._first = threading.Lock()
        """Taken by the thread for good: a signal's handler may have started two."""
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._has_warned = False

    def wake(self, target_bytes: int) -> None:
        """Have objects spilled until at most so much is in memory. Any thread, no finalizer."""
        if self._is_closed:
            return
        self._wanted.put(target_bytes)
        if self._thread is None:
            threading.Thread(target=self._run, name="scaler-spiller", daemon=True).start()

    def free_in(self, holes: Holes, place: Spilled) -> None:
        """An object on disk is needed no more: its place is one of `holes`."""
        self._disk.free_in(holes, place.offset)

    def close(self) -> None:
        """End the thread. Bounded; twice is fine."""
        self._is_closed = True
        self._wanted.put(0)
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        if not self._first.acquire(blocking=False):
            return
        self._thread = threading.current_thread()
        while True:
            target_bytes = self._next_target()
            store = self._store()
            if store is None or not self._spill_to(store, target_bytes):
                return
            del store

    def _next_target(self) -> int:
        target_bytes = self._wanted.get()
        while not self._wanted.empty():
            target_bytes = min(target_bytes, self._wanted.get())
        return target_bytes

    def _spill_to(self, store: ObjectStore, target_bytes: int) -> bool:
        """Spill until so much is in memory, or nothing may be spilled; False: it is the end."""
        while not self._is_closed:
            piece = store.victim(target_bytes)
            if piece is None:
                return True
            self._spill(store, piece)
            del piece
        return False

    def _spill(self, store: ObjectStore, piece: Piece) -> None:
        try:
            place = self._disk.write(store.file, piece.home, piece.size_bytes)
        except (OSError, MemoryError, ObjectStoreFullError) as error:
            store.spilled(piece, None)
            if not self._has_warned:
                self._has_warned = True
                # As text: who keeps the record must not keep the object with the traceback.
                text = str(error) or type(error).__name__
                _log.warning("an object cannot be spilled, so it stays in memory: %s", text)
            return
        if store.spilled(piece, place):
            store.file.punch(piece.home, whole_pages(piece.size_bytes))
        else:
            self._disk.free(place.offset)
