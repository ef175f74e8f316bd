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
from functools import partial
from typing import Any, Final

from scaler.limits import WARM_BYTES
from scaler.objects.arena import whole_pages
from scaler.objects.file import FILE_BYTES, SharedFile
from scaler.objects.holes import Holes
from scaler.objects.ledger import Holder, Lease, ObjectLedger, StoredObject
from scaler.objects.memory import ObjectMemory
from scaler.objects.repeated import Repeated
from scaler.objects.room import Room, make_page
from scaler.objects.spill import SpillFile
from scaler.objects.spiller import Spiller
from scaler.objects.waiting import Steps
from scaler.protocol.objects import RANGE_SHIFT, Body, Piece, Spilled

OWN: Final = 1
"""Number of the range that this process writes."""

_STEP_BYTES: Final = 1 << 24
_STEP_PIECES: Final = 256
"""What is freed at a time while others wait for the thread: some 5 ms of each."""


class ObjectStore(ObjectMemory):
    """Objects, counted by the pieces of them that live in this process. Thread-safe.

    A piece that dies takes no lock, for that may be in a finalizer: `collect` does the rest.
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
        self.room = Room(file, limit_bytes)
        super().__init__(file, OWN, WARM_BYTES, disk)
        self.disk = disk
        self._closing = weakref.finalize(self, _close_files, file, disk)
        self._closing.atexit = False  # threads may still read then
        self.ledger = ObjectLedger()
        self.objects: Mapping[int, StoredObject] = self.ledger.objects
        """By their homes. For the node's thread."""
        self.on_dropped: Callable[[], object] = lambda: None  # once before each `collect`
        self._repeated = Repeated(self)
        self._dropped: deque[Lease] = deque()
        self._note: Callable[[Any], None] = self._dropped.append
        self._is_told = False
        self._producers: dict[int, Callable[[int, int, bool], None]] = {}
        self._next_number = OWN + 1
        self._holes = Holes()
        """Punched on the thread that collects: the node's, at the end the one that closes."""
        self._spiller = None if disk is None else Spiller(self, SpillFile(disk))

    def _keeping(self, buffer: memoryview, *, by_content: bool = False) -> Steps[Piece]:
        piece = self.views.find(buffer)
        return piece or (yield from self._repeated.keeping(buffer, by_content=by_content))

    # --- leases -----------------------------------------------------------------------------

    def _enter(self, piece: Piece) -> None:
        self.lease((piece,), pins=1)  # what is not written yet cannot be copied to disk

    def _written(self, piece: Piece) -> None:
        entry = self.objects[piece.home]
        with self.ledger.lock:
            entry.pins -= 1

    def _give_up(self, home: int) -> None:
        if home not in self.objects:  # otherwise it goes with its piece
            self.free(home)

    def lease(
        self, pieces: Iterable[Piece], holder: Holder = Holder.ARGUMENT, pins: int = 0
    ) -> None:
        """Watch pieces, each once in its life: their objects stay until the last one is gone."""
        pins += int(holder is Holder.EXECUTOR)
        for piece in pieces:
            self.ledger.enter(self._lease(piece, holder), piece.size_bytes, pins)
        self.room.tell_used(self.ledger)
        if self.ledger.used_bytes > self.room.limit_bytes:
            self.press()

    def _lease(self, piece: Piece, holder: Holder) -> Lease:
        # The older of two weak references is told later. That the piece is gone is noted by a
        # function of C: Ctrl-C, which is lost in a finalizer, costs the telling only.
        telling = weakref.ref(piece, self._tell)
        lease = Lease(piece, self._note)
        lease.home, lease.holder, lease.telling = piece.home, holder, telling
        return lease

    def hold(self, home: int, holder: Holder = Holder.EXECUTOR) -> Piece:
        """Return a piece of an object that is here."""
        piece = Piece(home, self.objects[home].size_bytes)
        self.lease((piece,), holder)
        return piece

    def hold_if(
        self, home: int, entry: StoredObject, holder: Holder = Holder.ARGUMENT
    ) -> Piece | None:
        """Return a piece of an object, `None`: it was freed meanwhile. Any thread."""
        piece = Piece(home, entry.size_bytes)
        return piece if self.ledger.hold(self._lease(piece, holder), entry) else None

    def share(self, body: Body, holder: Holder) -> Body:
        """Return the same value for another holder; the one that `body` is of may go."""
        if not body.objects:
            return body
        pieces = [Piece(one.home, one.size_bytes) for one in body.objects]
        self.lease(pieces, holder)
        return Body(body.payload, tuple(pieces))

    def _tell(self, _: weakref.ref[Piece]) -> None:
        if self._is_told or self.file.is_forked:  # a fork, whose node is its parent's
            return
        self._is_told = True
        try:
            self.on_dropped()
        except BaseException:  # Ctrl-C: the next piece that dies tells
            self._is_told = False
            raise

    def collect(self, *, in_steps: bool = False) -> bool:
        """Free the objects of which no piece is left; return whether there is more to do.

        Not for finalizers. `in_steps`: do so much of it as takes some milliseconds.
        """
        self._is_told = False
        for home, entry in self._strike_dropped(_STEP_PIECES if in_steps else None):
            self._free(home, entry.size_bytes, is_cold=entry.spilled is not None)
            if entry.spilled is not None and self._spiller is not None:
                self._spiller.free_in(self._holes, entry.spilled)
        return self._holes.punch(_STEP_BYTES if in_steps else FILE_BYTES) or bool(self._dropped)

    def _strike_dropped(self, count_max: int | None = None) -> list[tuple[int, StoredObject]]:
        """Return what nobody holds any more."""
        dropped, freed = self._dropped, []
        for _ in range(min(len(dropped), count_max or len(dropped))):
            try:
                lease = dropped.popleft()
            except IndexError:  # another thread takes them, too
                break
            if self.ledger.leases.pop(id(lease), None) is None:
                continue  # Ctrl-C came before it was counted
            entry = self.ledger.drop(lease.home, pins=lease.holder is Holder.EXECUTOR)
            if entry is not None:
                self._repeated.forget(lease.home)
                freed.append((lease.home, entry))
        self.room.tell_used(self.ledger)
        return freed

    def _free(self, home: int, size_bytes: int, *, is_cold: bool) -> None:
        number = home >> RANGE_SHIFT
        if number == OWN:
            hole = self._arena.free(home, is_cold=is_cold)
            if hole is not None:
                self._holes.add(self.file, *hole, partial(self._cooled, hole))
        elif (producer := self._producers.get(number)) is not None:
            producer(home, size_bytes, is_cold)
        else:
            self._holes.add(self.file, home, whole_pages(size_bytes))

    # --- room -------------------------------------------------------------------------------

    def _waits(self, size_bytes: int, now: Callable[[], float]) -> Steps[None]:
        """See `Room.waits`."""
        return self.room.waits(size_bytes, self.press, now)

    def press(self, size_bytes: int = 0) -> None:
        """Have objects freed or spilled until there is room for so much. Does not wait."""
        self.on_dropped()
        if self._spiller is not None:
            self._spiller.wake(max(0, self.room.limit_bytes - size_bytes))

    def victim(self, target_bytes: int) -> Piece | None:
        """Return an object to be spilled, `None` if no more than `target_bytes` are in memory."""
        while self.ledger.used_bytes > target_bytes:
            with self.ledger.lock:
                home = self.ledger.victim(dict.fromkeys(self.views.homes()))
                if home is None:
                    return None
                entry = self.objects[home]
            piece = self.hold_if(home, entry, Holder.SPILL)
            if piece is not None:
                return piece  # it cannot be freed meanwhile
        return None

    def refused(self, piece: Piece) -> None:
        """A victim could not be copied to disk."""
        self.room.tell_disk(is_full=True)
        self.ledger.refuse(piece.home)

    def spilled(self, piece: Piece, place: Spilled, target_bytes: int) -> tuple[bool, bool]:
        """A victim was copied to disk; return whether the copy is used, and whether it is enough.

        That is said before anybody knows of the room: who waits for it takes it at once.
        """
        self.room.tell_disk(is_full=False)
        with self.ledger.lock:
            is_used = self.ledger.spill(piece.home, place, dict.fromkeys(self.views.homes()))
            is_enough = self.ledger.used_bytes <= target_bytes
        self.room.tell_used(self.ledger)
        return is_used, is_enough

    def place(self, piece: Piece) -> Piece:
        """Return `piece` as an executor is told of it: where it is now. It must be pinned."""
        spilled = self.objects[piece.home].spilled
        return piece if spilled is None else Piece(piece.home, piece.size_bytes, spilled)

    def _open(self, piece: Piece, *, copy: bool) -> bytes | bytearray | memoryview:
        entry = None
        try:
            entry = self.ledger.begin_read(piece.home)  # from now on it stays where it is
            return self.views.open(piece, entry.spilled, copy=copy)
        finally:
            if entry is not None:
                with self.ledger.lock:
                    entry.pins -= 1  # if it is mapped now, the table of views says so

    # --- processes that write ---------------------------------------------------------------

    def enter(self, on_freed: Callable[[int, int, bool], None]) -> int:
        """Return the number of a range for another process.

        Args:
            on_freed: gets home and size of each that is freed, and whether it was spilled.
        """
        number = self._next_number
        self._next_number += 1
        self._producers[number] = on_freed
        return number

    def leave(self, number: int) -> None:
        """A process that wrote is gone: what it wrote for nobody is, too."""
        del self._producers[number]
        for offset, size_bytes in self.ledger.gaps(number):
            self._holes.add(self.file, offset, size_bytes)
        self.on_dropped()

    # --- the end ----------------------------------------------------------------------------

    def close(self) -> None:
        """Take no more; what is left can be read as long as somebody holds it. Twice is fine."""
        if self._spiller is not None:
            self._spiller.close()
        self.on_dropped = self._collect_late
        self._repeated.clear()
        self.collect()
        self.cool()
        self.room.close()
        if not self.objects:
            self._closing()

    def _collect_late(self) -> None:
        """Free what dies after the end, in its finalizer; what a lock keeps goes with the next."""
        self._is_told = False
        if self.ledger.lock.locked():
            return
        for home, entry in self._strike_dropped():
            self.file.punch(home, whole_pages(entry.size_bytes))
        self._holes.punch(FILE_BYTES)
        if not self.objects:
            self._closing()


def _close_files(file: SharedFile, disk: SharedFile | None) -> None:
    file.close()
    if disk is not None:
        disk.close()
