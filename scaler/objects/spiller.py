"""`Spiller`: the thread that moves objects to disk while memory has no room for others."""

from __future__ import annotations

import threading
import weakref
from queue import SimpleQueue
from typing import TYPE_CHECKING

from scaler.limits import CLOSE_TIMEOUT_S
from scaler.objects.holes import Holes
from scaler.objects.spill import SpillFile
from scaler.objects.spilling import Spilling

if TYPE_CHECKING:
    from scaler.objects.store import ObjectStore
    from scaler.protocol.objects import Spilled


class Spiller:
    """Spills what was used longest ago, until enough is free. The thread starts at first need."""

    def __init__(self, store: ObjectStore, disk: SpillFile) -> None:
        """Move objects of `store` to `disk`."""
        self._store = weakref.ref(store)
        self._spilling = Spilling(disk)
        # Written in C: a signal's handler may call while its thread is in a call.
        self._woken: SimpleQueue[None] = SimpleQueue()
        self._first = threading.Lock()
        """Taken by the thread for good: a signal's handler may have started two."""
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def wake(self, target_bytes: int) -> None:
        """Have objects spilled until at most so much is in memory. Any thread, no finalizer."""
        if self._is_closed:
            return
        self._spilling.want(target_bytes)
        self._woken.put(None)
        if self._thread is None:
            threading.Thread(target=self._run, name="scaler-spiller", daemon=True).start()

    def free_in(self, holes: Holes, place: Spilled) -> None:
        """An object on disk is needed no more: its place is one of `holes`."""
        self._spilling.disk.free_in(holes, place.offset)

    def close(self) -> None:
        """End the thread. Bounded; twice is fine."""
        self._is_closed = True
        self._woken.put(None)
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        if not self._first.acquire(blocking=False):
            return
        self._thread = threading.current_thread()
        while (store := self._next_store()) is not None:
            target_bytes = self._spilling.take_target()
            if target_bytes is not None:
                for _ in self._spilling.steps(store, target_bytes):
                    if self._is_closed:
                        return
            del store

    def _next_store(self) -> ObjectStore | None:
        self._woken.get()
        return None if self._is_closed else self._store()
