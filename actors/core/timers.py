"""Keyed timers of all actors of a node: one heap, cancelled lazily."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actors.core.cell import Cell

_COMPACT_ABOVE = 64


class Timers:
    """Due times of messages. A cancelled or replaced timer's message never arrives.

    Each cell holds `{key: (serial, message)}`; a heap entry whose serial is not its key's any more
    is dead. Dead entries are dropped when they come up, or when they outnumber the live ones.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Cell, Hashable]] = []
        self._serial = 0
        self._live = 0

    def start(self, cell: Cell, key: Hashable, due_s: float, message: Any) -> None:
        """Set the timer `key` of `cell`, in place of the one it had."""
        self._serial += 1
        if key not in cell.timers:
            self._live += 1
        cell.timers[key] = (self._serial, message)
        heapq.heappush(self._heap, (due_s, self._serial, cell, key))
        if len(self._heap) > _COMPACT_ABOVE + 2 * self._live:
            self._compact()

    def cancel(self, cell: Cell, key: Hashable) -> None:
        """Forget the timer `key` of `cell`, if there is one."""
        if cell.timers.pop(key, None) is not None:
            self._live -= 1

    def cancel_all(self, cell: Cell) -> None:
        """Forget all timers of `cell`."""
        self._live -= len(cell.timers)
        cell.timers.clear()

    def next_due_s(self) -> float | None:
        """When the next timer is due, `None` if there is none."""
        while self._heap:
            due_s, serial, cell, key = self._heap[0]
            if cell.timers.get(key, (0,))[0] == serial:
                return due_s
            heapq.heappop(self._heap)
        return None

    @property
    def last_serial(self) -> int:
        """Serial of the timer started last."""
        return self._serial

    def take_due(self, now_s: float, last_serial: int) -> tuple[Cell, Any] | None:
        """Take the next timer due at `now_s` and not started after `last_serial`.

        The second bound ends a turn in which a timer without delay starts itself again.
        """
        due_s = self.next_due_s()
        if due_s is None or due_s > now_s or self._heap[0][1] > last_serial:
            return None
        _, _, cell, key = heapq.heappop(self._heap)
        self._live -= 1
        return cell, cell.timers.pop(key)[1]

    def _compact(self) -> None:
        self._heap = [
            entry for entry in self._heap if entry[2].timers.get(entry[3], (0,))[0] == entry[1]
        ]
        heapq.heapify(self._heap)
