"""`ObjectStore`: the objects of one host, in the process of its node, and who still needs them.

An object lives as long as anything in this process holds a `Piece` of it: the task that has it
among its arguments, the row that came to it, a future, a reference, a view, or the port of an
executor that has it mapped. So whatever drops a row or a task frees its objects, and the garbage
collector keeps the count: a weak reference to each piece tells when it is gone.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from threading import Lock
from typing import Final

from scaler.limits import STORE_SHARE, WARM_BYTES
from scaler.objects.arena import PAGE_BYTES
from scaler.objects.capacity import memory_bytes
from scaler.objects.file import FILE_BYTES, SharedFile, open_shared_file
from scaler.objects.ledger import ObjectLedger, StoredObject
from scaler.objects.memory import ObjectMemory
from scaler.objects.room import Room, make_page
from scaler.objects.spill import SpillFile, open_spill_file
from scaler.objects.spiller import Spiller
from scaler.protocol.objects import RANGE_SHIFT, Body, Piece, Spilled

OWN: Final = 1
"""Number of the range that this process writes."""


class Holder(Enum):
    """What a piece belongs to, for people."""

    ARGUMENT = "argument"
    RESULT = "result"
    REFERENCE = "reference"
    EXECUTOR = "executor"
    VIEW = "view"
    SPILL = "spilling"


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

    def __init__(
        self, file: SharedFile, disk: SharedFile | None = None, limit_bytes: int = FILE_BYTES
    ) -> None:
        """Make an empty store.

        Args:
            file: the shared memory, which the store owns from now on.
            disk: where objects go when memory has no room, the store's as well; `None`: nowhere.
            limit_bytes: how much memory objects may take.

        Raises:
            ObjectStoreFullError: there is no memory at all.
        """
        make_page(file)
        super().__init__(file, OWN, WARM_BYTES, Room(file, limit_bytes), disk)
        self._closing = weakref.finalize(self, _close_files, file, disk)
        self._closing.atexit = False  # threads may still read then
        self._ledger = ObjectLedger()
        self.objects: Mapping[int, StoredObject] = self._ledger.objects
        """By their homes. For the node's thread."""
        self.disk = disk
        self._spiller = None if disk is None else Spiller(self, SpillFile(disk))
        self.on_dropped: Callable[[], None] = lambda: None
        """Called once for all pieces that die before the next `collect`. On any thread, in
        finalizers, too."""
        self._leases: dict[int, _Lease] = {}
        self._dropped: deque[_Lease] = deque()
        self._is_told = False
        self._table = Lock()
        self._producers: dict[int, Callable[[int, int], None]] = {}
        self._next_number = OWN + 1

    # --- room -------------------------------------------------------------------------------

    def press(self, size_bytes: int = 0) -> None:
        """Have objects freed or spilled until there is room for so much. Does not wait."""
        self.on_dropped()
        if self._spiller is not None:
            self._spiller.wake(max(0, self.room.limit_bytes - size_bytes))

    def victim(self, target_bytes: int) -> Piece | None:
        """Return an object to be spilled, `None` if no more than `target_bytes` are in memory."""
        with self._table:
            if self._ledger.used_bytes <= target_bytes:
                return None
            home = self._ledger.victim(self._mapped())
            if home is None:
                return None
            piece = Piece(home, home, self.objects[home].size_bytes)
            self._lease(piece, Holder.SPILL)  # it cannot be freed meanwhile
            return piece

    def _mapped(self) -> dict[int, None]:
        return {piece.home: None for piece in self.views.pieces()}

    def spilled(self, piece: Piece, place: Spilled | None) -> bool:
        """A victim was copied to disk, or could not be; return whether the copy is used."""
        with self._table:
            if place is None:
                self._ledger.objects[piece.home].is_refused = True
                return False
            is_used = self._ledger.spill(piece.home, place, self._mapped())
            self.room.tell_used(self._ledger.used_bytes)
            return is_used

    # --- leases -----------------------------------------------------------------------------

    def _enter(self, piece: Piece) -> None:
        self.lease((piece,))

    def _open(self, piece: Piece, *, copy: bool) -> bytes | bytearray | memoryview:
        with self._table:
            entry = self._ledger.use(piece.home)
            entry.pins += 1  # from now on it stays where it is
        try:
            return self.views.open(piece, entry.spilled, copy=copy)
        finally:
            with self._table:
                entry.pins -= 1  # if it is mapped now, the table of views says so

    def lease(self, pieces: Iterable[Piece], holder: Holder = Holder.ARGUMENT) -> None:
        """Watch pieces that have come to be here, of new objects and of those that are known.

        Their objects stay until the last piece is gone.

        Args:
            pieces: each once in its life.
            holder: what they belong to.
        """
        with self._table:
            for piece in pieces:
                self._lease(piece, holder)
            used = self._ledger.used_bytes
            self.room.tell_used(used)
        if used > self.room.limit_bytes:
            self.press()

    def _lease(self, piece: Piece, holder: Holder) -> None:
        self._ledger.hold(piece.home, piece.size_bytes, pins=holder is Holder.EXECUTOR)
        lease = _Lease(piece, self._on_dead)
        lease.home, lease.holder = piece.home, holder
        self._leases[id(lease)] = lease

    def hold(self, home: int, holder: Holder) -> Piece:
        """Return a piece of all of an object that is here."""
        piece = Piece(home, home, self.objects[home].size_bytes)
        self.lease((piece,), holder)
        return piece

    def place(self, piece: Piece) -> Piece:
        """Return `piece` as an executor is told of it: where it is now. It must be pinned."""
        entry = self.objects[piece.home]
        if entry.spilled is None:
            return piece
        return Piece(piece.home, piece.offset, piece.size_bytes, entry.spilled)

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
        dropped = self._dropped
        freed: list[tuple[int, StoredObject]] = []
        with self._table:
            for _ in range(len(dropped)):
                lease = dropped.popleft()
                del self._leases[id(lease)]
                entry = self._ledger.drop(lease.home, pins=lease.holder is Holder.EXECUTOR)
                if entry is not None:
                    freed.append((lease.home, entry))
            self.room.tell_used(self._ledger.used_bytes)
        for home, entry in freed:
            self._free(home, entry.size_bytes)
            if entry.spilled is not None and self._spiller is not None:
                self._spiller.free(entry.spilled)

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
        if self._spiller is not None:
            self._spiller.close()
        self.collect()
        self.cool()
        self.room.close()
        if not self.objects:
            self._closing()


def open_store(limit_bytes: int | None, spill_directory: str | None) -> ObjectStore:
    """Make the store of a host.

    Args:
        limit_bytes: memory that objects may take; `None`: `limits.STORE_SHARE` of what there is.
        spill_directory: where they go then; `None`: where temporary files are.

    Raises:
        OSError: there is no place to spill, or no descriptor left.
        ObjectStoreFullError: there is no memory at all.
    """
    file = open_shared_file()
    try:
        disk = open_spill_file(spill_directory)
    except BaseException:
        file.close()
        raise
    if limit_bytes is None:
        limit_bytes = int(STORE_SHARE * memory_bytes())
    return ObjectStore(file, disk, limit_bytes)


def _close_files(file: SharedFile, disk: SharedFile | None) -> None:
    file.close()
    if disk is not None:
        disk.close()
