"""`Windows`: parts of the shared file that stay mapped, also while nobody looks at them.

The same places are used again and again, and to map a place costs more than to copy 100 KB. A
window shows what the file has now, whatever was freed and written there since it was opened: who
may look at what is not its business.
"""

from __future__ import annotations

import mmap
from functools import cache
from typing import Any, Final, NamedTuple

from scaler.limits import MAP_BYTES
from scaler.objects.arena import rounded_bytes
from scaler.objects.file import SharedFile

_SHARED_BYTES: Final = 1 << 26
_WINDOWS_MAX: Final = 256


class Window(NamedTuple):
    """A part of the file in the memory of this process, for as long as this is held."""

    mapping: mmap.mmap
    buffer: memoryview
    """All of it."""
    address: int


class Windows:
    """Windows by offset and size. Thread-safe: each change is one operation on a dict."""

    def __init__(self, file: SharedFile, *, writable: bool) -> None:
        """Open windows of `file` when they are needed."""
        self._file = file
        self._writable = writable
        self._keeps = True
        self._open: dict[tuple[int, int], Window] = {}

    def find(self, offset: int, size_bytes: int) -> tuple[Window, int]:
        """Return the window in which an object is, and where in it that begins.

        Raises:
            OSError: it cannot be mapped: there is no room in the address space.
        """
        first, window_bytes = offset, rounded_bytes(size_bytes)
        if size_bytes < MAP_BYTES:
            start = offset % _SHARED_BYTES
            if start + size_bytes <= _SHARED_BYTES:  # otherwise it lies across two
                first, window_bytes = offset - start, _SHARED_BYTES
        window = self._open.get((first, window_bytes))
        if window is None:
            window = open_window(self._file, first, window_bytes, writable=self._writable)
            self._keep(first, window_bytes, window)
        return window, offset - first

    def _keep(self, first: int, window_bytes: int, window: Window) -> None:
        while len(self._open) >= _WINDOWS_MAX:
            self._open.pop(list(self._open)[0], None)  # noqa: RUF015 - other threads change it
        if self._keeps:
            self._open[first, window_bytes] = window

    def drop(self, offset: int, size_bytes: int) -> None:
        """The memory of a place is given back: who may write there maps it anew."""
        self._open.pop((offset, size_bytes), None)

    def close(self) -> None:
        """Keep none from now on; what somebody looks at stays mapped until he does not."""
        self._keeps = False
        self._open.clear()


def open_window(
    file: SharedFile, offset: int, size_bytes: int, *, writable: bool = False
) -> Window:
    """Map a part of a file.

    Raises:
        OSError: there is no room in the address space.
    """
    mapped = file.map(offset, size_bytes, writable=writable)
    buffer = memoryview(mapped)
    return Window(mapped, buffer, mapping().address_of(buffer))


@cache
def mapping() -> Any:
    """Return the module of mappings, which is imported when it is needed: ctypes takes 8 ms."""
    from scaler.objects import mapping as module

    return module
