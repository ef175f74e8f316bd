"""`Views`: the objects that this process has mapped, for as long as anything looks at them.

An array, or a slice of one, holds the buffer it was made of, and that the mapping: when a mapping
is gone nobody reads there any more. (CPython's `memoryview` slices share their exporter, so a weak
reference to the mapping is enough to notice that; https://docs.python.org/3/c-api/buffer.html.)
"""

from __future__ import annotations

import weakref
import zlib
from typing import Any, Final, NamedTuple

from scaler.objects.arena import PAGE_BYTES
from scaler.objects.file import SharedFile
from scaler.protocol.objects import Piece, Spilled

MAP_BYTES: Final = 1 << 20
"""Smaller pieces are read: for 100 KB that takes a third of the time of a mapping."""


class SpillError(OSError):
    """What is on disk is not what was written there."""


class _View(NamedTuple):
    piece: Piece
    address: int
    mapping: weakref.ref[Any]


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

        Args:
            piece: held until the view is gone.
            place: where on disk its object is; `None`: in memory.
            copy: return a `bytearray`.

        Raises:
            OSError: the memory was closed in this process, or has no room to be mapped here.
            SpillError: what is on disk is not what was written.
        """
        self._file.check_open()
        if place is not None:
            return self._open_spilled(piece, place, copy)
        if copy:
            buffer = bytearray(piece.size_bytes)
            self._file.read_into(buffer, piece.offset)
            return buffer
        if piece.size_bytes < MAP_BYTES:
            return self._file.read(piece.offset, piece.size_bytes)
        start = piece.offset % PAGE_BYTES
        size = start + piece.size_bytes
        return self._watched(piece, self._file.map(piece.offset - start, size), start)

    def _open_spilled(
        self, piece: Piece, place: Spilled, copy: bool
    ) -> bytes | bytearray | memoryview:
        assert self._disk is not None
        mapping = self._disk.map(place.offset, place.size_bytes)
        if zlib.crc32(mapping) != place.checksum:
            raise SpillError(
                f"an object of {place.size_bytes} bytes was spilled to disk and came back damaged"
            )
        start = piece.offset - piece.home
        if not copy and piece.size_bytes >= MAP_BYTES:
            return self._watched(piece, mapping, start)
        with memoryview(mapping) as all_of_it:
            part = all_of_it[start : start + piece.size_bytes]
            return bytearray(part) if copy else bytes(part)

    def _watched(self, piece: Piece, mapping: Any, start: int) -> memoryview:
        """Return the view of a mapping that begins with the piece at `start`."""
        from scaler.objects.mapping import address_of, view_of

        view = view_of(mapping)[start : start + piece.size_bytes]
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
        from scaler.objects.mapping import address_of

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
