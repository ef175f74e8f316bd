"""`Views`: the objects that this process has mapped, for as long as anything looks at them.

An array, or a slice of one, holds the buffer it was made of, and that the mapping: when a mapping
is gone nobody reads there any more. (CPython's `memoryview` slices share their exporter, so a weak
reference to the mapping is enough to notice that; https://docs.python.org/3/c-api/buffer.html.)
"""

from __future__ import annotations

import mmap
import weakref
import zlib
from functools import partial
from typing import Final, NamedTuple

from scaler.objects.file import SharedFile
from scaler.protocol.objects import Piece, Spilled

MAP_BYTES: Final = 1 << 20
"""Smaller pieces are read: for 100 KB that takes a third of the time of a mapping."""

_CHUNK_BYTES: Final = 1 << 20

MAPPINGS_MAX: Final = 1 << 14
"""As many are made at a time, of the 65,530 that Linux allows a process; then there are copies."""


class SpillError(OSError):
    """What is on disk is not what was written there."""


class _View(NamedTuple):
    piece: Piece
    address: int
    mapping: weakref.ref[mmap.mmap]


class Views:
    """Opens pieces. Thread-safe: each change of the table is one operation on a dict."""

    def __init__(self, file: SharedFile, disk: SharedFile | None = None) -> None:
        """Map parts of `file`, or of `disk` what was spilled there."""
        self._file = file
        self._disk = disk
        self._views: dict[int, _View] = {}

    def open(
        self, piece: Piece, place: Spilled | None = None, *, copy: bool = False
    ) -> bytes | bytearray | memoryview:
        """Return the bytes of `piece`: a copy of a small one, a read-only view of a large one.

        Where there are too many views already it is a copy, too.

        Args:
            piece: held until the view is gone.
            place: where on disk it is; `None`: in memory.
            copy: return a `bytearray`.

        Raises:
            OSError: the memory was closed in this process, or what is on disk is damaged.
        """
        self._file.check_open()
        if place is not None:
            assert self._disk is not None
            _check(self._disk, place)
        file = self._file if place is None or self._disk is None else self._disk
        offset = piece.home if place is None else place.offset
        if copy:
            return _copied(file, offset, piece.size_bytes)
        if piece.size_bytes < MAP_BYTES:
            return file.read(offset, piece.size_bytes)
        if len(self._views) >= MAPPINGS_MAX:
            return memoryview(_copied(file, offset, piece.size_bytes)).toreadonly()
        try:
            mapping = file.map(offset, piece.size_bytes)
        except OSError:  # this process has no room for it, or too many mappings of its own
            return memoryview(_copied(file, offset, piece.size_bytes)).toreadonly()
        return self._watched(piece, mapping)

    def _watched(self, piece: Piece, mapping: mmap.mmap) -> memoryview:
        from scaler.objects.mapping import address_of  # ctypes takes 8 ms

        view = memoryview(mapping)
        key = id(mapping)
        # Forgotten by functions of C: an interrupt, which is lost in a finalizer, would keep it.
        watched = weakref.ref(mapping, partial(self._views.pop, key))
        self._views[key] = _View(piece, address_of(view), watched)
        return view

    def find(self, buffer: memoryview) -> Piece | None:
        """Return the piece that a read-only buffer is all of, if it is open here."""
        if not self._views or buffer.nbytes < MAP_BYTES or not buffer.readonly:
            return None
        from scaler.objects.mapping import address_of

        address = address_of(buffer)
        for piece, start, mapping in list(self._views.values()):
            is_it = address == start and buffer.nbytes == piece.size_bytes
            if is_it and mapping() is not None:
                return piece
        return None

    def homes(self) -> list[int]:
        """Return what is mapped now, once for each mapping."""
        return [view.piece.home for view in list(self._views.values())]

    def __len__(self) -> int:
        """Return how many mappings there are."""
        return len(self._views)


def _copied(file: SharedFile, offset: int, size_bytes: int) -> bytearray:
    buffer = bytearray(size_bytes)
    file.read_into(buffer, offset)
    return buffer


def _check(disk: SharedFile, place: Spilled) -> None:
    """Raise if a spilled object is damaged.

    Raises:
        SpillError: it is.
    """
    checksum, size = 0, place.size_bytes
    for done in range(0, size, _CHUNK_BYTES):
        chunk = disk.read(place.offset + done, min(_CHUNK_BYTES, size - done))
        checksum = zlib.crc32(chunk, checksum)
    if checksum != place.checksum:
        raise SpillError(f"an object of {size} bytes was spilled to disk and came back damaged")
