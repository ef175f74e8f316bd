"""Open requests of a node and their deadlines."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec

from actors.errors import AskTimeoutError

if TYPE_CHECKING:
    from actors.core.cell import Cell
    from actors.ref import Address

_TIMEOUT_CLASSES = 16


class OpenAsk(msgspec.Struct, eq=False):
    """One request that has no answer yet."""

    target: Address
    then: Callable[[Any], None]
    cell: Cell | None
    """The asking actor; `None` if the ask came from outside."""


class Asks:
    """Requests by number. Requests of one timeout expire in the order they were made, so each
    timeout has a queue and nothing is sorted.

    `open` may be called from any thread, the rest from the node's: what was opened waits in one
    queue, for the node to sort it in.
    """

    def __init__(self) -> None:
        self._open: dict[int, OpenAsk] = {}
        self._opened: deque[tuple[float, float, int]] = deque()
        self._deadlines: dict[float, deque[tuple[float, int]]] = {}
        self._numbers = count(1)

    def open(self, ask: OpenAsk, timeout_s: float, now_s: float) -> int:
        """Enter a request and return its number."""
        if not timeout_s > 0:  # a nan, too
            raise ValueError(f"the timeout of an ask must be > 0 seconds, got {timeout_s}")
        number = next(self._numbers)
        self._open[number] = ask
        self._opened.append((timeout_s, now_s + timeout_s, number))
        return number

    def _sort_in(self) -> None:
        opened = self._opened
        for _ in range(len(opened)):
            timeout_s, deadline_s, number = opened.popleft()
            if number in self._open:
                queue = self._deadlines.get(timeout_s)
                if queue is None:
                    queue = self._deadlines[timeout_s] = deque()
                queue.append((deadline_s, number))

    def take(self, number: int) -> OpenAsk | None:
        """Close a request; `None` if it is closed already."""
        return self._open.pop(number, None)

    def next_deadline_s(self) -> float | None:
        """The earliest deadline of an open request, `None` if none is open."""
        self._sort_in()
        earliest: float | None = None
        for timeout_s, queue in list(self._deadlines.items()):
            while queue and queue[0][1] not in self._open:
                queue.popleft()
            if not queue:
                if len(self._deadlines) > _TIMEOUT_CLASSES:
                    del self._deadlines[timeout_s]
            elif earliest is None or queue[0][0] < earliest:
                earliest = queue[0][0]
        return earliest

    def expired(self, now_s: float) -> list[tuple[int, OpenAsk]]:
        """The open requests whose deadline has passed, by number. They stay open."""
        self._sort_in()
        late: list[tuple[int, OpenAsk]] = []
        for queue in self._deadlines.values():
            while queue and (queue[0][0] <= now_s or queue[0][1] not in self._open):
                number = queue.popleft()[1]
                if number in self._open:
                    late.append((number, self._open[number]))
        return late

    def forget(self, cell: Cell) -> None:
        """Drop the open requests that `cell` made: it ends, or begins anew."""
        for number in [number for number, ask in list(self._open.items()) if ask.cell is cell]:
            self.take(number)

    def to_node(self, node: str) -> list[tuple[int, OpenAsk]]:
        """The open requests to actors of `node`, by number."""
        return [
            (number, ask) for number, ask in list(self._open.items()) if ask.target.node == node
        ]

    def all(self) -> list[int]:
        """Numbers of all open requests."""
        return list(self._open)

    def __len__(self) -> int:
        return len(self._open)


def late_error(target: Address) -> AskTimeoutError:
    """Return the outcome of a request to `target` whose deadline has passed."""
    return AskTimeoutError(
        f"actor {target.name} on {target.node} did not answer in time; "
        "it may still handle the request"
    )
