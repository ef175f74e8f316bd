"""`Views`: the objects that this process has mapped, for as long as anything looks at them.

An array, or a slice of one, holds the buffer it was made of, and that the mapping: when a mapping
is gone nobody reads there any more. (CPython's `memoryview` slices share their exporter, so a weak
reference to the mapping is enough to notice that; https://docs.python.org/3/c-api/buffer.html.)
"""

from __future__ import annotations

import mmap
import weakref
from typing import Final, NamedTuple

from scaler.objects.arena import PAGE_BYTES
from scaler.objects.file import SharedFile
from scaler.protocol.objects import Piece

MAP_BYTES: Final = 1 << 20
"""Smaller pieces are read: for 100 KB that takes a third of the time of a mapping."""


class _View(NamedTuple):
    piece: Piece
    address: int
    mapping: weakref.ref[mmap.mmap]


class Views:
    """Opens pieces. Thread-safe: each change of the table is one operation on a dict."""

    def __init__(self, file: SharedFile) -> None:
        """Map parts of `file`."""
        self._file = file
        self._views: dict[int, _View] = {}

    def open(self, piece: Piece, *, copy: bool = False) -> bytes | bytearray | memoryview:
        """Return the bytes of `piece`: a copy of a small one, a read-only view of a large one.

        Args:
            piece: held until the view is gone.
            copy: return a `bytearray`.
        """
        self._file.check_open()
        if copy:
            buffer = bytearray(piece.size_bytes)
            self._file.read_into(buffer, piece.offset)
            return buffer
        if piece.size_bytes < MAP_BYTES:
            return self._file.read(piece.offset, piece.size_bytes)
        from scaler.objects.address import address_of  # ctypes takes 8 ms

        start = piece.offset % PAGE_BYTES
        mapping = self._file.map(piece.offset - start, start + piece.size_bytes)
        view = memoryview(mapping)[start:]
        key = id(mapping)
        watched = weakref.ref(mapping, lambda _: self._views.pop(key, None))
        self._views[key] = _View(piece, address_of(view), watched)
        return view

    def find(self, buffer: memoryview) -> tuple[Piece, int] | None:
        """Find a read-only buffer within the views that are open here.

        Returns:
            The piece it is most of, and the offset of its first byte in the file. A small part of
            a large object is not found: it would keep all of it.
        """
        size = buffer.nbytes
        if not self._views or size < MAP_BYTES or not buffer.readonly:
            return None
        from scaler.objects.address import address_of

        address = address_of(buffer)
        for piece, start, mapping in list(self._views.values()):
            within = address - start
            if within < 0 or within + size > piece.size_bytes or 2 * size < piece.size_bytes:
                continue
            if mapping() is not None:
                return piece, piece.offset + within
        return None

    def pieces(self) -> list[Piece]:
        """Return what is mapped now, once for each mapping."""
        return [view.piece for view in list(self._views.values())]

    def __len__(self) -> int:
        """Return how many mappings there are."""
        return len(self._views)
