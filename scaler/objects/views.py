"""`Views`: the objects that this process looks at, for as long as anything does.

An array, or a slice of one, holds the buffer it was made of, and that the object which handed it
out: when that is gone nobody reads there any more. (CPython's `memoryview` slices share their
exporter, so a weak reference to it is enough to notice that;
https://docs.python.org/3/c-api/buffer.html.) Each opening of an object has an exporter of its own
on a window that many use.
"""

from __future__ import annotations

import weakref
import zlib
from functools import partial
from itertools import count
from typing import Any, Final, NamedTuple

from scaler.objects.file import SharedFile
from scaler.objects.windows import Window, Windows, mapping, open_window
from scaler.protocol.objects import Piece, Spilled

_CHUNK_BYTES: Final = 1 << 20

VIEWS_MAX: Final = 1 << 14
"""As many are there at a time: each may have a mapping of its own, of the 65,530 that Linux allows
a process. Then there are copies."""


class SpillError(OSError):
    """What is on disk is not what was written there."""


class _View(NamedTuple):
    piece: Piece
    address: int
    exporter: weakref.ref[Any]


class Views:
    """Opens pieces. Thread-safe: each change of the table is one operation on a dict."""

    def __init__(self, file: SharedFile, disk: SharedFile | None, view_bytes: int) -> None:
        """Look at parts of `file`, or of `disk` what was spilled there.

        Args:
            file: the memory.
            disk: where spilled objects are; `None`: there are none.
            view_bytes: of smaller objects there are copies.
        """
        self._file = file
        self._disk = disk
        self._view_bytes = view_bytes
        self._windows = Windows(file, writable=False)
        self._views: dict[int, _View] = {}
        """By their numbers, which count up."""
        self._numbers = count(1)

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
        file, offset, size_bytes = self._file, piece.home, piece.size_bytes
        if place is not None:
            assert self._disk is not None
            _check(self._disk, place)
            file, offset = self._disk, place.offset
        if copy:
            return _copied(file, offset, size_bytes)
        if size_bytes < self._view_bytes:
            return file.read(offset, size_bytes)
        if len(self._views) >= VIEWS_MAX:
            return memoryview(_copied(file, offset, size_bytes)).toreadonly()
        try:
            if place is None:
                window, start = self._windows.find(offset, size_bytes)
            else:
                window, start = open_window(file, offset, size_bytes), 0
        except OSError:  # this process has no room for it, or too many mappings of its own
            return memoryview(_copied(file, offset, size_bytes)).toreadonly()
        return self._watched(piece, window, window.address + start)

    def _watched(self, piece: Piece, window: Window, address: int) -> memoryview:
        exporter = mapping().exporter_of(address, piece.size_bytes, window)
        view = memoryview(exporter).toreadonly().cast("B")
        number = next(self._numbers)
        # Forgotten by functions of C: an interrupt, which is lost in a finalizer, would keep it.
        watched = weakref.ref(exporter, partial(self._views.pop, number))
        self._views[number] = _View(piece, address, watched)
        return view

    def find(self, buffer: memoryview) -> Piece | None:
        """Return the piece that a read-only buffer is all of, if it is open here."""
        if not self._views or buffer.nbytes < self._view_bytes or not buffer.readonly:
            return None
        address = mapping().address_of(buffer)
        for piece, start, exporter in list(self._views.values()):
            is_it = address == start and buffer.nbytes == piece.size_bytes
            if is_it and exporter() is not None:
                return piece
        return None

    def after(self, number: int) -> dict[int, int]:
        """Return the homes of views of higher numbers than this, by their numbers."""
        found = {}
        for latest in reversed(list(self._views)):
            if latest <= number:
                break
            view = self._views.get(latest)
            if view is not None:
                found[latest] = view.piece.home
        return found

    def __contains__(self, number: int) -> bool:
        """Whether anybody looks at what this view has."""
        return number in self._views

    def close(self) -> None:
        """Unmap what nobody looks at, from now on at once."""
        self._windows.close()

    def homes(self) -> list[int]:
        """Return what is looked at now, once for each view."""
        return [view.piece.home for view in list(self._views.values())]

    def __len__(self) -> int:
        """Return how many views there are."""
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
