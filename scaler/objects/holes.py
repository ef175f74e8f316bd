"""`Holes`: memory that is to be given back, some at a time: to give a GB back takes 0.15 s."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from scaler.objects.file import SharedFile


class _Hole(NamedTuple):
    file: SharedFile
    first: int
    end: int
    then: Callable[[], object]


class Holes:
    """Parts of files of which nobody needs the memory, the oldest first. Thread-safe."""

    def __init__(self) -> None:
        """Have none."""
        self._due: deque[_Hole] = deque()

    def add(
        self,
        file: SharedFile,
        first: int,
        size_bytes: int,
        then: Callable[[], object] = lambda: None,
    ) -> None:
        """Have whole pages of `file` given back; after that, `then` is called."""
        self._due.append(_Hole(file, first, first + size_bytes, then))

    def punch(self, size_bytes: int) -> bool:
        """Give so much back, at most; return whether there is more."""
        while size_bytes > 0:
            try:
                file, first, end, then = self._due.popleft()
            except IndexError:
                return False
            first = min(file.data_from(first), end)  # a range may have nothing in it for long
            stop = min(end, first + size_bytes)
            if first < stop:
                file.punch(first, stop - first)
            if stop < end:
                self._due.appendleft(_Hole(file, stop, end, then))
            else:
                then()
            size_bytes -= stop - first
        return bool(self._due)
