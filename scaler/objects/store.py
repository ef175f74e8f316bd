"""`ObjectStore`: the objects of one host, in the process of its node, and who still needs them.

An object lives as long as anything in this process holds a `Piece` of it: the task that has it
among its arguments, the row that came to it, a future, a reference, a view, or the port of an
executor that has it mapped. So whatever drops a row or a task frees its objects, and the garbage
collector keeps the count: a weak reference to each piece tells when it is gone.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum
from threading import Lock
from typing import Final

import msgspec

from scaler.limits import WARM_BYTES
from scaler.objects.arena import PAGE_BYTES
from scaler.objects.file import SharedFile
from scaler.objects.memory import ObjectMemory
from scaler.protocol.objects import RANGE_SHIFT, Body, Piece

OWN: Final = 1
"""Number of the range that this process writes."""


class Holder(Enum):
    """What a piece belongs to, for people."""

    ARGUMENT = "argument"
    RESULT = "result"
    REFERENCE = "reference"
    EXECUTOR = "executor"
    VIEW = "view"


class StoredObject(msgspec.Struct, gc=False):
    """One object."""

    size_bytes: int
    leases: int = 0
    """Pieces of it in this process."""


class _Lease(weakref.ref[Piece]):
    """A piece that is watched."""

    __slots__ = ("holder", "home")

    home: int
    holder: Holder


class ObjectStore(ObjectMemory):
    """Objects, counted by the pieces of them that live in this process. Thread-safe.

    A piece that dies takes no lock, since that may happen in a finalizer, on any thread: it is
    noted, and `collect`, called by the node's thread, does the rest.
    """

    def __init__(self, file: SharedFile) -> None:
        """Make an empty store that owns `file`."""
        super().__init__(file, OWN, WARM_BYTES)
        self._closing = weakref.finalize(self, file.close)
        self._closing.atexit = False  # threads may still read then
        self.objects: dict[int, StoredObject] = {}
        """By their homes."""
        self.on_dropped: Callable[[], None] = lambda: None
        """Called once for all pieces that die before the next `collect`. On any thread, in
        finalizers, too."""
        self._leases: dict[int, _Lease] = {}
        self._dropped: deque[_Lease] = deque()
        self._is_told = False
        self._table = Lock()
        self._producers: dict[int, Callable[[int, int], None]] = {}
        self._next_number = OWN + 1

    # --- leases -----------------------------------------------------------------------------

    def _enter(self, piece: Piece) -> None:
        self.lease((piece,))

    def lease(self, pieces: Iterable[Piece], holder: Holder = Holder.ARGUMENT) -> None:
        """Watch pieces that have come to be here, of new objects and of those that are known.

        Their objects stay until the last piece is gone.

        Args:
            pieces: each once in its life.
            holder: what they belong to.
        """
        with self._table:
            for piece in pieces:
                home = piece.home
                entry = self.objects.get(home)
                if entry is None:
                    entry = self.objects[home] = StoredObject(piece.size_bytes)
                entry.leases += 1
                lease = _Lease(piece, self._on_dead)
                lease.home, lease.holder = home, holder
                self._leases[id(lease)] = lease

    def hold(self, home: int) -> Piece:
        """Return a piece of all of an object that is here."""
        piece = Piece(home, home, self.objects[home].size_bytes)
        self.lease((piece,), Holder.EXECUTOR)
        return piece

    def share(self, body: Body, holder: Holder) -> Body:
        """Return the same value for another holder; the one that `body` is of may go."""
        if not body.objects:
            return body
        pieces = [Piece(one.home, one.offset, one.size_bytes) for one in body.objects]
        self.lease(pieces, holder)
        return Body(body.payload, tuple(pieces))

    def sizes(self) -> list[tuple[int, int]]:
        """Return home and size of each object."""
        with self._table:
            return [(home, entry.size_bytes) for home, entry in self.objects.items()]

    def holders(self) -> list[tuple[int, Holder]]:
        """Return home and holder of each piece, and of each view that is open in this process."""
        with self._table:
            held = [(lease.home, lease.holder) for lease in self._leases.values() if lease()]
        return held + [(piece.home, Holder.VIEW) for piece in self.views.pieces()]

    def _on_dead(self, lease: weakref.ref[Piece]) -> None:
        self._dropped.append(lease)  # type: ignore[arg-type]
        if not self._is_told:
            self._is_told = True
            self.on_dropped()

    def collect(self) -> None:
        """Free the objects of which no piece is left. Not for finalizers."""
        self._is_told = False
        dropped, freed = self._dropped, []
        with self._table:
            for _ in range(len(dropped)):
                lease = dropped.popleft()
                del self._leases[id(lease)]
                entry = self.objects[lease.home]
                entry.leases -= 1
                if not entry.leases:
                    del self.objects[lease.home]
                    freed.append((lease.home, entry.size_bytes))
        for home, size_bytes in freed:
            self._free(home, size_bytes)

    def _free(self, home: int, size_bytes: int) -> None:
        number = home >> RANGE_SHIFT
        if number == OWN:
            self.free(home)
        elif (producer := self._producers.get(number)) is not None:
            producer(home, size_bytes)
        else:
            self.file.punch(home, size_bytes)

    # --- processes that write ---------------------------------------------------------------

    def enter(self, on_freed: Callable[[int, int], None]) -> int:
        """Return the number of a range for another process.

        Args:
            on_freed: gets home and size of each object of it that is freed.
        """
        number = self._next_number
        self._next_number += 1
        self._producers[number] = on_freed
        return number

    def leave(self, number: int) -> None:
        """A process that wrote is gone: what it wrote for nobody is, too."""
        del self._producers[number]
        first = number << RANGE_SHIFT
        with self._table:
            kept = sorted(
                (home, entry.size_bytes)
                for home, entry in self.objects.items()
                if home >> RANGE_SHIFT == number
            )
        for home, size_bytes in [*kept, ((number + 1) << RANGE_SHIFT, 0)]:
            if home > first:
                self.file.punch(first, home - first)
            first = home + -(-size_bytes // PAGE_BYTES) * PAGE_BYTES

    # --- the end ----------------------------------------------------------------------------

    def close(self) -> None:
        """Take no more; what is left can be read as long as somebody holds it. Twice is fine."""
        self.collect()
        self.cool()
        if not self.objects:
            self._closing()
