"""`Arena`: which parts of its range of the shared file one process uses.

The file is sparse, so addresses cost nothing and are never joined: each size has its own list of
free places, and what is freed beyond a bound has its memory given back and keeps its address.
Sizes are rounded up to 8 steps between powers of two (as jemalloc does): 12 % are lost at most.
"""

from __future__ import annotations

from threading import Lock
from typing import Final

PAGE_BYTES: Final = 4096
_STEPS: Final = 8


class Arena:
    """A range of addresses: places are taken and given back. Thread-safe.

    No call is made while the lock is held: with one comes Ctrl-C, which would leave half of what is
    done, or the handler of a signal, which may take a place, too, or wait for a thread that does.
    """

    def __init__(self, first: int, warm_bytes_max: int, warm_one_max: int = 0) -> None:
        """Use the addresses from `first` on.

        Args:
            first: offset of the range, a multiple of the page.
            warm_bytes_max: memory of free places that is kept to be written again.
            warm_one_max: the same of a single place, when it is the only one.
        """
        self._lock = Lock()
        self._next = first
        self._warm_bytes_max = warm_bytes_max
        self._warm_one_max = warm_one_max
        self._warm: dict[int, list[int]] = {}
        """Free places with memory, by their size: the latest is used first, it is in the caches."""
        self._cold: dict[int, list[int]] = {}
        self.taken: dict[int, int] = {}
        """Size of each place that is in use, by its offset."""
        self.warm_bytes = 0
        self.used_bytes = 0

    def take(self, size_bytes: int) -> tuple[int, bool]:
        """Return a place for so many bytes, and whether it has memory already."""
        rounded = rounded_bytes(size_bytes)
        warm, cold = self._places(rounded)
        offset, is_warm = -1, False
        try:
            with self._lock:
                if warm:
                    offset, is_warm = warm[-1], True
                    del warm[-1]
                    self.warm_bytes -= rounded
                elif cold:
                    offset = cold[-1]
                    del cold[-1]
                else:
                    offset = self._next
                    self._next += rounded
                self.taken[offset] = rounded
                self.used_bytes += rounded
        except BaseException:  # Ctrl-C on the way out of the lock
            if offset >= 0:
                self.free(offset, is_cold=not is_warm)
            raise
        return offset, is_warm

    def _places(self, rounded: int) -> tuple[list[int], list[int]]:
        return self._warm.setdefault(rounded, []), self._cold.setdefault(rounded, [])

    def free(self, offset: int, *, is_cold: bool = False) -> tuple[int, int] | None:
        """Give a place back; return offset and size if its memory is to be given back first.

        Such a place is not taken again until `cooled` is called with what was returned.

        Args:
            offset: of the place.
            is_cold: its memory was given back already.

        Raises:
            KeyError: it is not in use.
        """
        rounded = self.taken[offset]
        warm, cold = self._places(rounded)
        place, hole = (offset,), (offset, rounded)
        with self._lock:
            del self.taken[offset]
            self.used_bytes -= rounded
            is_kept = self.warm_bytes + rounded <= self._warm_bytes_max
            if is_cold:
                cold += place
            elif not is_kept and (self.warm_bytes or rounded > self._warm_one_max):
                return hole
            else:
                warm += place
                self.warm_bytes += rounded
        return None

    def cooled(self, offset: int, size_bytes: int) -> None:
        """The memory of a free place was given back: it may be taken again."""
        _, cold = self._places(size_bytes)
        cold.append(offset)

    def cool(self) -> tuple[int, int] | None:
        """Take a free place that has memory, `None`: there is none; return what `free` does."""
        for size, places in list(self._warm.items()):
            offset = -1
            with self._lock:
                if places:
                    offset = places[-1]
                    del places[-1]
                    self.warm_bytes -= size
            if offset >= 0:
                return offset, size
        return None


def whole_pages(size_bytes: int) -> int:
    """Return the size of the pages that so many bytes touch, from the start of one."""
    return -(-size_bytes // PAGE_BYTES) * PAGE_BYTES


def rounded_bytes(size_bytes: int) -> int:
    """Return the size of the place that holds so many bytes."""
    step = max(PAGE_BYTES, (1 << max(size_bytes - 1, 1).bit_length()) // (2 * _STEPS))
    return -(-max(size_bytes, 1) // step) * step
