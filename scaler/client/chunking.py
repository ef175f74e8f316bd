"""How many items of a map ride in one task. Decides only: no clock, no threads.

One task per item would cost more than most items; one task per slot would leave slots idle at the
end. So a chunk aims at some milliseconds of work. How long an item takes is measured by the
executors; while it is not known, chunks grow from one item, so that the first answer, and with it
the first measurement, comes at once, and a cheap first item proves little about the rest.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sized
from typing import Any, Final

CHUNK_S: Final = 0.015
"""What a chunk should take, seconds."""

CHUNK_ITEMS: Final = 4_096
"""Items in one chunk, at most."""

CHUNKS_PER_SLOT: Final = 4
"""A map of known length makes at least so many, so that the slots end together."""

GROWTH: Final = 8
"""How much larger than any chunk measured so far the next may be."""

OPEN_PER_SLOT: Final = 4
"""Chunks in flight for each slot: the slots stay busy while the caller looks away."""

SINGLES_PER_SLOT: Final = 64
"""The same where each chunk must be one item: some are done at once, some wait for a retry."""

FUNCTIONS_MEASURED: Final = 1_000
"""Functions whose times are remembered, the latest used."""


class ItemTimes:
    """Seconds per item of each function, from its latest chunks. One client's memory."""

    def __init__(self, functions_max: int = FUNCTIONS_MEASURED) -> None:
        self._functions_max = functions_max
        self._seen: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def seconds_per_item(self, function_id: bytes) -> float | None:
        """Return the mean over the latest items, `None` if the function was never measured."""
        seen = self._seen.get(function_id)
        return None if seen is None else seen[1] / seen[0]

    def record(self, function_id: bytes, items: int, seconds: float) -> None:
        """Take in that a chunk of `items` items ran for `seconds`.

        Older chunks count half as much with each newer one. A large chunk outweighs a small one,
        whose time is mostly the start of a task.
        """
        if items < 1:
            return
        before_items, before_s = self._seen.pop(function_id, (0.0, 0.0))
        self._seen[function_id] = before_items / 2 + items, before_s / 2 + max(seconds, 0.0)
        if len(self._seen) > self._functions_max:
            self._seen.popitem(last=False)


class Chunker:
    """Sizes the chunks of one map.

    Args:
        times: What is known of functions; this map's measurements go there.
        function_id: The function that is mapped.
        slots: Workers there are, at least 1.
        total: Items there will be at most, `None` if not known.
        single: Each chunk must be one item, and its task's value is the item's.
    """

    def __init__(
        self,
        times: ItemTimes,
        function_id: bytes,
        slots: int,
        total: int | None,
        *,
        single: bool = False,
    ) -> None:
        self._times = times
        self._function_id = function_id
        self._slots = max(slots, 1)
        self.single = single
        self._items_max = 1 if single else CHUNK_ITEMS
        if total is not None and not single:
            even = -(-total // (self._slots * CHUNKS_PER_SLOT))
            self._items_max = min(CHUNK_ITEMS, max(even, 1))
        known = times.seconds_per_item(function_id) is not None
        self._trusted = CHUNK_ITEMS if known else 1

    @property
    def open_max(self) -> int:
        """How many chunks should be in flight."""
        return self._slots * (SINGLES_PER_SLOT if self.single else OPEN_PER_SLOT)

    def next_size(self) -> int:
        """Return how many items the next chunk should have, at least 1."""
        size = min(self._items_max, self._trusted)
        seconds = self._times.seconds_per_item(self._function_id)
        if seconds is not None and seconds * size > CHUNK_S:
            size = int(CHUNK_S / seconds)
        return max(size, 1)

    def ended(self, items: int, seconds: float) -> None:
        """Take in that a chunk of `items` items ran for `seconds`."""
        self._times.record(self._function_id, items, seconds)
        self._trusted = max(self._trusted, items * GROWTH)


def known_total(iterables: Iterable[Any]) -> int | None:
    """Return the most items that a map over these can have: the shortest length that is known."""
    lengths = [_length(one) for one in iterables if isinstance(one, Sized)]
    return min((length for length in lengths if length is not None), default=None)


def _length(sized: Sized) -> int | None:
    try:
        return len(sized)
    except TypeError:  # such as an array of no dimension
        return None
