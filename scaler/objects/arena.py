"""`Arena`: which parts of its range of the shared file one process uses.

The file is sparse, so addresses cost nothing and are never joined: each size has its own list of
free places, and what is freed beyond a bound has its memory given back and keeps its address.
Sizes are rounded up to 8 steps between powers of two (as jemalloc does): 12 % are lost at most.
"""

from __future__ import annotations

from typing import Final

PAGE_BYTES: Final = 4096
_STEPS: Final = 8


class Arena:
    """A range of addresses: places are taken and given back. Not thread-safe."""

    def __init__(self, first: int, warm_bytes_max: int) -> None:
        """Use the addresses from `first` on.

        Args:
            first: offset of the range, a multiple of the page.
            warm_bytes_max: memory of free places that is kept to be written again.
        """
        self._next = first
        self._warm_bytes_max = warm_bytes_max
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
        warm, cold = self._warm.get(rounded), self._cold.get(rounded)
        # No call from here on: an interrupt, which comes with one, would cost the place.
        if warm:
            offset, is_warm = warm[-1], True
            del warm[-1]
            self.warm_bytes -= rounded
        elif cold:
            offset, is_warm = cold[-1], False
            del cold[-1]
        else:
            offset, is_warm = self._next, False
            self._next += rounded
        self.taken[offset] = rounded
        self.used_bytes += rounded
        return offset, is_warm

    def free(self, offset: int, *, is_cold: bool = False) -> tuple[int, int] | None:
        """Give a place back; return offset and size if its memory is to be given back, too.

        Args:
            offset: of the place.
            is_cold: its memory was given back already.

        Raises:
            KeyError: it is not in use.
        """
        rounded = self.taken.pop(offset)
        self.used_bytes -= rounded
        if is_cold or self.warm_bytes + rounded > self._warm_bytes_max:
            self._cold.setdefault(rounded, []).append(offset)
            return offset, rounded
        self._warm.setdefault(rounded, []).append(offset)
        self.warm_bytes += rounded
        return None

    def cool(self) -> list[tuple[int, int]]:
        """Return offset and size of each free place that has memory: it is to be given back."""
        cooled = [(offset, size) for size, places in self._warm.items() for offset in places]
        for size, places in self._warm.items():
            self._cold.setdefault(size, []).extend(places)
        self._warm.clear()
        self.warm_bytes = 0
        return cooled


def whole_pages(size_bytes: int) -> int:
    """Return the size of the pages that so many bytes touch, from the start of one."""
    return -(-size_bytes // PAGE_BYTES) * PAGE_BYTES


def rounded_bytes(size_bytes: int) -> int:
    """Return the size of the place that holds so many bytes."""
    step = max(PAGE_BYTES, (1 << max(size_bytes - 1, 1).bit_length()) // (2 * _STEPS))
    return -(-max(size_bytes, 1) // step) * step
