"""`ObjectLedger`: which objects there are, how many hold them, and which may go to disk."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from enum import Enum
from threading import Lock

import msgspec

from scaler.objects.arena import whole_pages
from scaler.protocol.objects import RANGE_SHIFT, Piece, Spilled


class Holder(Enum):
    """What a piece belongs to, for people."""

    ARGUMENT = "argument"
    RESULT = "result"
    REFERENCE = "reference"
    EXECUTOR = "executor"
    VIEW = "view"
    SPILL = "spilling"


class Lease(weakref.ref[Piece]):
    """A piece that is watched."""

    __slots__ = ("holder", "home", "telling")

    home: int
    holder: Holder
    telling: weakref.ref[Piece]


class StoredObject(msgspec.Struct, gc=False):
    """One object."""

    size_bytes: int
    leases: int = 0
    """Pieces of it in the store's process."""
    pins: int = 0
    """Those who read it now, or may at any moment: it stays where it is."""
    spilled: Spilled | None = None
    """Where on disk it is; `None`: in memory."""
    is_refused: bool = False
    """The disk did not take it."""


class ObjectLedger:
    """The books of one host. Thread-safe.

    No call is made while the lock is held, as in `Arena`, but on threads that run no handlers.
    """

    def __init__(self) -> None:
        """Start with nothing."""
        self.objects: dict[int, StoredObject] = {}
        """By their homes, the one that was used longest ago first."""
        self.used_bytes = 0
        """Of those in memory."""
        self.leases: dict[int, Lease] = {}
        """Who holds them."""
        self.lock = Lock()

    def enter(self, lease: Lease, size_bytes: int, pins: int) -> None:
        """Note one more who holds an object, which is new perhaps."""
        home, key, new = lease.home, id(lease), StoredObject(size_bytes)
        with self.lock:
            if home in self.objects:
                new = self.objects[home]
            else:
                self.objects[home] = new
                self.used_bytes += size_bytes
            new.leases += 1
            new.pins += pins
            self.leases[key] = lease

    def hold(self, lease: Lease, entry: StoredObject) -> bool:
        """Note one more who holds an object, unless that was freed meanwhile."""
        home, key = lease.home, id(lease)
        with self.lock:
            is_there = home in self.objects and self.objects[home] is entry
            if is_there:
                entry.leases += 1
                self.leases[key] = lease
        return is_there

    def drop(self, home: int, *, pins: bool) -> StoredObject | None:
        """A piece is gone; return the object if that was the last one: it is to be freed."""
        with self.lock:
            entry = self.objects[home]
            entry.leases -= 1
            entry.pins -= pins
            if entry.leases:
                return None
            del self.objects[home]
            if entry.spilled is None:
                self.used_bytes -= entry.size_bytes
        return entry

    def pin(self, pieces: Iterable[Piece]) -> bool:
        """Keep objects where they are until `unpin`. Their pieces are held until then.

        Returns:
            Whether any of them is on disk.
        """
        entries = [self.objects[piece.home] for piece in pieces]
        with self.lock:
            for entry in entries:
                entry.pins += 1
        return any(entry.spilled is not None for entry in entries)

    def unpin(self, pieces: Iterable[Piece]) -> None:
        """Take that back."""
        entries = [self.objects[piece.home] for piece in pieces]
        with self.lock:
            for entry in entries:
                entry.pins -= 1

    def begin_read(self, home: int) -> StoredObject:
        """Note that an object is read; it stays where it is until its `pins` are one less."""
        objects, entry = self.objects, None
        try:
            with self.lock:
                entry = objects[home]
                del objects[home]
                objects[home] = entry
                entry.pins += 1
        except BaseException:  # Ctrl-C on the way out of the lock
            if entry is not None:
                with self.lock:
                    entry.pins -= 1
            raise
        return entry

    def listed(self) -> tuple[list[tuple[int, StoredObject]], list[tuple[int, Holder]]]:
        """Return the objects, and home and holder of each piece."""
        leases = list(self.leases.copy().values())
        held = [(lease.home, lease.holder) for lease in leases if lease()]
        return list(self.objects.copy().items()), held

    def gaps(self, number: int) -> list[tuple[int, int]]:
        """Return offset and size of each part of a range that holds no object."""
        objects = self.objects.copy()
        kept = sorted(home for home in objects if home >> RANGE_SHIFT == number)
        first, found = number << RANGE_SHIFT, []
        for home in [*kept, (number + 1) << RANGE_SHIFT]:
            if home > first:
                found.append((first, home - first))
            if home in objects:
                first = home + whole_pages(objects[home].size_bytes)
        return found

    def victim(self, mapped: Mapping[int, object]) -> int | None:
        """Return the object that was used longest ago and may go to disk, `None`: none may.

        Under the lock.

        Args:
            mapped: those that are mapped in the store's process: their memory stays anyway.
        """
        for home, entry in self.objects.items():
            is_here = entry.spilled is None and not entry.is_refused
            if is_here and not entry.pins and home not in mapped:
                return home
        return None

    def refuse(self, home: int) -> None:
        """The disk did not take an object: it is not tried again."""
        self.objects[home].is_refused = True

    def spill(self, home: int, place: Spilled, mapped: Mapping[int, object]) -> bool:
        """An object was copied to disk; return whether it is to be read from there from now on.

        It is not if somebody has begun to read it in memory meanwhile. `mapped` as for `victim`.
        Under the lock: who pins an object and maps it does so before this, or after.
        """
        entry = self.objects[home]
        if entry.pins or home in mapped:
            return False
        entry.spilled = place
        self.used_bytes -= entry.size_bytes
        return True
