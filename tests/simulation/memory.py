"""The shared memory of a world: a real file, in which each object has a name in place of its bytes.

A name is in no other object of the world, so whoever reads an object sees whether it is the right
one. Nothing here holds a `Piece`: that would keep the object. Homes and names do.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from scaler.objects.file import FILE_BYTES, SharedFile, open_shared_file
from scaler.objects.store import ObjectStore
from scaler.protocol.objects import RANGE_SHIFT, Piece, Pieces

if TYPE_CHECKING:
    from tests.simulation.truth import Truth

NAME_BYTES = 16
LARGEST_BYTES = 16 << 20

_BUFFER = memoryview(bytearray(LARGEST_BYTES))
"""What every object is written from."""


class Memory:
    """The objects of one world, as they really are.

    Workers of several hosts share it, and so do clients elsewhere: pieces are handed over as they
    are, where another host would be given copies.
    """

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self.names: dict[int, bytes] = {}
        """Objects that are there, by their homes: written, and freed by nobody."""
        self.file = SimFile(self)
        self.store = SimStore(self)
        self._count = 0

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
            if home in self.store.objects:
                self.truth.fail("leases", f"{self.names[home]!r} is gone, and somebody needs it")
            self._check_unread(home, "gone")
            del self.names[home]

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
        if self.truth.broken_s <= self.truth.now():
            return
        for executor in self.truth.alive.values():
            if executor.is_alive and executor.objects.looks_at(home):
                self.truth.fail("in use", f"{home} is {what}, and {executor} looks at it")
        if home in self.store.views.homes():
            self.truth.fail("in use", f"{home} is {what}, and a client looks at it")


class SimFile(SharedFile):
    """A real file of the shared memory, made when it is needed; of each object it has the name."""

    def __init__(self, memory: Memory) -> None:
        super().__init__(-1)
        self._memory = memory

    def check_open(self) -> None:
        if self.fd < 0:
            real = open_shared_file()
            self.fd = os.dup(real.fd)
            real.close()

    def map(self, offset: int, size_bytes: int, *, writable: bool = False) -> mmap.mmap:
        if writable and offset:
            raise OSError("what is written shall be seen")
        if writable:  # the page of the room, of which each process has its own here
            return mmap.mmap(-1, size_bytes)
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
    """The store of production; what it frees is noted."""

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory.file)
        self._memory = memory

    def _free(self, home: int, size_bytes: int, *, is_cold: bool) -> None:
        self._memory.freed(home)
        super()._free(home, size_bytes, is_cold=is_cold)

    def leave(self, number: int) -> None:
        super().leave(number)
        self._holes.punch(FILE_BYTES)
        self._memory.left(number)


def homes_of(pieces: Iterable[Piece]) -> dict[int, None]:
    """Return where the objects of pieces are."""
    return dict.fromkeys(piece.home for piece in pieces)


def travelled(pieces: Pieces) -> Pieces:
    """Return pieces as they come out of a pipe: others, which the store does not watch."""
    return tuple([Piece(piece.home, piece.size_bytes) for piece in pieces])


def names_in(buffers: Sequence[Any]) -> tuple[bytes, ...]:
    """Return the names that are read in opened objects."""
    return tuple([bytes(buffer[:NAME_BYTES]) for buffer in buffers])
