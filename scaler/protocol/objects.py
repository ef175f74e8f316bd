"""How values travel whose bytes are many: small ones in the message, large ones by their place.

The shared memory of a host is one sparse file (`scaler.objects.file`). Each process that writes it
has a range of its own, so a place is known by its offset alone, and never changes while anybody
holds a `Piece` of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from actors import Message

RANGE_SHIFT = 40
"""An offset shifted right by this is the number of the process that wrote there: 1 TiB for each,
and 4 million processes in the life of a store."""


class Spilled(Message, frozen=True, gc=False, array_like=True):
    """Where on disk an object is."""

    offset: int
    size_bytes: int
    """Of all of the object."""
    checksum: int
    """CRC-32."""


class Piece(Message, frozen=True, array_like=True, weakref=True):
    """An object in the shared memory of this host.

    In the process of the store the life of these instances is the life of the object: a task, a
    row, a reference and a mapped view hold one, and when the last is gone the object is freed.
    """

    home: int
    """Where it is: its name."""
    size_bytes: int
    spilled: Spilled | None = None
    """For an executor: the object is on disk. In the store's process the store knows."""


Pieces = tuple[Piece, ...]


class Body(Message, frozen=True, gc=False, array_like=True):
    """A pickled value."""

    payload: bytes
    """The pickle. Empty: it is the first of the objects."""
    objects: Pieces = ()
    """The buffers that the pickle leaves out, in their order."""


def size_of(payload: bytes, objects: Sequence[Piece]) -> int:
    """Return how many bytes a value takes, wherever they are."""
    return len(payload) + sum(piece.size_bytes for piece in objects)
