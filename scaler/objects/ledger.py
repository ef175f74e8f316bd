"""`ObjectLedger`: which objects there are, how many hold them, and which may go to disk."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from scaler.objects.arena import whole_pages
from scaler.protocol.objects import RANGE_SHIFT, Spilled


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
    """The books of one host. Not thread-safe: its store has the lock, and enters objects."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.objects: dict[int, StoredObject] = {}
        """By their homes, the one that was used longest ago first."""
        self.used_bytes = 0
        """Of those in memory."""

    def drop(self, home: int, *, pins: bool) -> StoredObject | None:
        """A piece is gone; return the object if that was the last one: it is to be freed."""
        entry = self.objects[home]
        entry.leases -= 1
        entry.pins -= pins
        if entry.leases:
            return None
        del self.objects[home]
        if entry.spilled is None:
            self.used_bytes -= entry.size_bytes
        return entry

    def use(self, home: int) -> StoredObject:
        """Note that an object is read."""
        objects = self.objects
        entry = objects[home]
        del objects[home]  # no call, with which Ctrl-C comes, while it is not there
        objects[home] = entry
        return entry

    def gaps(self, number: int) -> list[tuple[int, int]]:
        """Return offset and size of each part of a range that holds no object."""
        kept = sorted(home for home in self.objects if home >> RANGE_SHIFT == number)
        first, found = number << RANGE_SHIFT, []
        for home in [*kept, (number + 1) << RANGE_SHIFT]:
            if home > first:
                found.append((first, home - first))
            if home in self.objects:
                first = home + whole_pages(self.objects[home].size_bytes)
        return found

    def victim(self, mapped: Mapping[int, object]) -> int | None:
        """Return the object that was used longest ago and may go to disk, `None`: none may.

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
        """
        entry = self.objects[home]
        if entry.pins or home in mapped:
            return False
        entry.spilled = place
        self.used_bytes -= entry.size_bytes
        return True
