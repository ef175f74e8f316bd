"""`Spiller`: the thread that moves objects to disk while memory has no room for others."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import TYPE_CHECKING

from scaler.errors import ObjectStoreFullError
from scaler.limits import CLOSE_TIMEOUT_S
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
        self._wanted = threading.Condition()
        self._target_bytes: int | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._has_warned = False

    def wake(self, target_bytes: int) -> None:
        """Have objects spilled until at most so much is in memory. Any thread, no finalizer."""
        with self._wanted:
            if self._is_closed:
                return
            if self._target_bytes is None or target_bytes < self._target_bytes:
                self._target_bytes = target_bytes
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="scaler-spiller", daemon=True
                )
                self._thread.start()
            self._wanted.notify()

    def free(self, place: Spilled) -> None:
        """An object on disk is needed no more."""
        self._disk.free(place.offset)

    def close(self) -> None:
        """End the thread. Bounded; twice is fine."""
        with self._wanted:
            self._is_closed = True
            self._wanted.notify()
            thread = self._thread
        if thread is not None:
            thread.join(CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        while (target_bytes := self._next_target()) is not None:
            store = self._store()
            if store is None:
                return
            while not self._is_closed and (piece := store.victim(target_bytes)) is not None:
                self._spill(store, piece)
                del piece
            del store

    def _next_target(self) -> int | None:
        with self._wanted:
            while self._target_bytes is None and not self._is_closed:
                self._wanted.wait()
            target_bytes, self._target_bytes = self._target_bytes, None
            return None if self._is_closed else target_bytes

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
            store.file.punch(piece.home, piece.size_bytes)
        else:
            self.free(place)
