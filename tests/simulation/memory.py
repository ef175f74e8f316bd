"""The shared memory of a world: a real file, in which each object has a name in place of its bytes.

A name is in no other object of the world, so whoever reads an object sees whether it is the right
one. Nothing here holds a `Piece`: that would keep the object. Homes and names do.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from scaler.objects.arena import PAGE_BYTES
from scaler.objects.file import FILE_BYTES, SharedFile, open_shared_file
from scaler.objects.ledger import Holder
from scaler.objects.store import ObjectStore
from scaler.objects.waiting import Steps
from scaler.protocol.objects import RANGE_SHIFT, Piece, Pieces, Spilled
from tests.simulation.disk import NAME_BYTES, SimDisk, SimSpiller, SimSpillFile

if TYPE_CHECKING:
    from tests.simulation.plans import Options
    from tests.simulation.truth import Truth

LARGEST_BYTES = 16 << 20

_BUFFER = memoryview(bytearray(LARGEST_BYTES))
"""What every object is written from."""


class Memory:
    """The objects of one world, as they really are.

    Workers of several hosts share it, and so do clients elsewhere: pieces are handed over as they
    are, where another host would be given copies.
    """

    def __init__(
        self, truth: Truth, options: Options, random: Random, after: Callable[..., object]
    ) -> None:
        """Make it; what is done on the node's side by itself is done by `after`."""
        self.truth = truth
        self.random = random
        self.names: dict[int, bytes] = {}
        """Objects that are there, by their homes: written, and freed by nobody."""
        self.file = SimFile(self)
        self.disk = SimDisk() if options.object_store_bytes else None
        self.store = SimStore(self, options)
        if self.disk is not None:
            places = SimSpillFile(self, self.disk, options, random)
            self.store.spill_by(SimSpiller(self.store, places, after, random), places)
        self._count = 0

    @property
    def is_bounded(self) -> bool:
        """Whether there is a bound on what objects take."""
        return self.disk is not None

    def new(self, size_bytes: int) -> tuple[memoryview, bytes]:
        """Return the bytes of an object that is to be written, and its name."""
        self._count += 1
        name = b"object %09d" % self._count
        _BUFFER[:NAME_BYTES] = name
        return _BUFFER[:size_bytes], name

    # --- what is done to the file -----------------------------------------------------------

    def written(self, home: int, name: bytes) -> None:
        """An object begins."""
        if home in self.names:
            self.truth.fail("reuse", f"{name!r} is written over {self.names[home]!r} at {home}")
        self._check_unread(home, "written over")
        self.names[home] = name

    def punched(self, first: int, end: int) -> None:
        """The memory of a part of the file is given back."""
        for home in [home for home in self.names if first <= home < end]:
            entry = self.store.objects.get(home)
            if entry is None:
                self._check_unread(home, "gone")
                del self.names[home]
            elif entry.spilled is None:
                self.truth.fail("leases", f"{self.names[home]!r} is gone, and somebody needs it")
            elif self._executor_at(home, in_memory=True) is not None:
                self.truth.fail("in use", f"{home} is on disk, and somebody looks at its memory")

    def freed(self, home: int) -> None:
        """The store says that nobody needs an object any more."""
        if self.names.pop(home, None) is None:
            self.truth.fail("freed", f"the object at {home} is freed again")
        self._check_unread(home, "freed")

    def given_up(self, home: int) -> None:
        """An executor takes a place back: nobody knew of it, or the store has freed it."""
        if self.names.pop(home, None) is not None and home in self.store.objects:
            self.truth.fail("leases", f"an executor frees what is needed, at {home}")

    def left(self, number: int) -> None:
        """The executor that wrote a range is gone."""
        for home in self.names:
            if home >> RANGE_SHIFT == number and home not in self.store.objects:
                self.truth.fail("left", f"{self.names[home]!r} stays, of an executor that is gone")

    def _check_unread(self, home: int, what: str) -> None:
        """Nobody may look at a place that changes. Who ends with the cluster is not waited for."""
        executor = self._executor_at(home)
        if executor is not None:
            self.truth.fail("in use", f"{home} is {what}, and {executor} looks at it")
        if self.truth.now() < self.truth.broken_s and home in self.store.views.homes():
            self.truth.fail("in use", f"{home} is {what}, and a client looks at it")

    def is_looked_at(self, home: int) -> bool:
        """Whether somebody looks at an object, wherever it is."""
        return home in self.store.views.homes() or self._executor_at(home) is not None

    def _executor_at(self, home: int, *, in_memory: bool = False) -> object | None:
        """Return an executor that looks at an object, or only at what of it is in memory."""
        if self.truth.broken_s <= self.truth.now():
            return None
        for executor in self.truth.alive.values():
            if executor.is_alive and executor.objects.looks_at(home, in_memory=in_memory):
                return executor
        return None


class SimFile(SharedFile):
    """A real file of the shared memory, made when it is needed; of each object it has the name."""

    def __init__(self, memory: Memory) -> None:
        super().__init__(-1)
        self._memory = memory
        self._page = mmap.mmap(-1, PAGE_BYTES)
        """That of the room, which all processes share."""

    def check_open(self) -> None:
        if self.fd < 0:
            real = open_shared_file()
            self.fd = os.dup(real.fd)
            real.close()

    def map(self, offset: int, size_bytes: int, *, writable: bool = False) -> mmap.mmap:
        if writable and offset:
            raise OSError("what is written shall be seen")
        if writable:
            return self._page
        return super().map(offset, size_bytes)

    def write(self, data: memoryview, offset: int) -> None:
        if not offset:
            return
        self.check_open()
        name = data[:NAME_BYTES]
        self._memory.written(offset, bytes(name))
        super().write(name, offset)

    def read(self, offset: int, size_bytes: int) -> bytes:
        return super().read(offset, NAME_BYTES)

    def punch(self, offset: int, size_bytes: int) -> None:
        self._memory.punched(offset, offset + size_bytes)
        if self.fd >= 0:
            super().punch(offset, size_bytes)


class SimStore(ObjectStore):
    """The store of production; what it frees and spills is noted."""

    def __init__(self, memory: Memory, options: Options) -> None:
        super().__init__(memory.file, memory.disk, options.object_store_bytes or FILE_BYTES)
        self._memory = memory
        self.truth = memory.truth
        self.places: SimSpillFile | None = None
        self.was_enough = False
        """As much was spilled as was asked for; who waited may have taken that room since."""

    def spill_by(self, spiller: SimSpiller, places: SimSpillFile) -> None:
        """Have objects spilled so."""
        self._spiller, self.places = spiller, places

    def stop_spilling(self) -> None:
        """The node has ended, and with it its threads."""
        if self._spiller is not None:
            self._spiller.close()

    def _await_room(self, size_bytes: int) -> Steps[None]:
        for _ in self._waits(size_bytes, self.truth.now):
            self.truth.fail("room", "a user waits twice")
        yield from ()

    def lease(
        self, pieces: Iterable[Piece], holder: Holder = Holder.ARGUMENT, pins: int = 0
    ) -> None:
        super().lease(pieces, holder, pins)
        if self.room.used_bytes() > self.room.limit_bytes:
            self._check_pressed(0)

    def press(self, size_bytes: int = 0) -> None:
        super().press(size_bytes)
        self._check_pressed(size_bytes)

    def _check_pressed(self, size_bytes: int) -> None:
        """As much is about to be spilled as is wanted."""
        spiller, wanted = self._spiller, self.room.limit_bytes - size_bytes
        assert isinstance(spiller, SimSpiller)
        if not spiller.wants(wanted):
            self.truth.fail("room", f"nobody makes room for {size_bytes}")

    def refused(self, piece: Piece) -> None:
        super().refused(piece)
        self.truth.marks["an object was not spilled"] += 1

    def spilled(self, piece: Piece, place: Spilled, target_bytes: int) -> tuple[bool, bool]:
        entry = self.objects[piece.home]
        is_read = entry.pins > 0 or self._memory.is_looked_at(piece.home)
        is_used, is_enough = super().spilled(piece, place, target_bytes)
        self.was_enough |= is_enough
        if is_used and is_read:
            self.truth.fail("pinned", f"{piece} is spilled, and somebody reads it")
        self.truth.marks["an object was spilled" if is_used else "an object was not spilled"] += 1
        self.check_used()
        return is_used, is_enough

    def collect(self, *, in_steps: bool = False) -> bool:
        is_more = super().collect(in_steps=in_steps)
        if self._memory.is_bounded:
            self.check_used()
        return is_more

    def check_used(self) -> None:
        """The books tell what is in memory, and who wants to write is told so."""
        here = sum([one.size_bytes for one in self.objects.values() if one.spilled is None])
        if here != self.ledger.used_bytes or here != self.room.used_bytes():
            books = self.ledger.used_bytes, self.room.used_bytes()
            self.truth.fail("books", f"{here} bytes are in memory, not {books}")

    def _free(self, home: int, size_bytes: int, *, is_cold: bool) -> None:
        self._memory.freed(home)
        super()._free(home, size_bytes, is_cold=is_cold)

    def leave(self, number: int) -> None:
        super().leave(number)
        self._holes.punch(FILE_BYTES)
        self._memory.left(number)


def homes_of(pieces: Iterable[Piece]) -> dict[int, Spilled | None]:
    """Return the objects of pieces, and where on disk they are read."""
    return {piece.home: piece.spilled for piece in pieces}


def travelled(pieces: Pieces) -> Pieces:
    """Return pieces as they come out of a pipe: others, which the store does not watch."""
    return tuple([Piece(piece.home, piece.size_bytes, piece.spilled) for piece in pieces])


def names_in(buffers: Sequence[Any]) -> tuple[bytes, ...]:
    """Return the names that are read in opened objects."""
    return tuple([bytes(buffer[:NAME_BYTES]) for buffer in buffers])
