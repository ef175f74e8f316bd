"""`NodeClock`: the time of a node, which stands still while its process is stalled."""

from __future__ import annotations

import math
from collections.abc import Callable

from actors.limits import LATE_TURN_S


class NodeClock:
    """Monotonic seconds without the stalls of this process, so that no deadline passes in one.

    Whoever runs the node's turns says by when the next one begins (`expect`). If it does not, the
    clock stands still from `LATE_TURN_S` after that moment on, for all who read it, until the turn
    that is late lets it run on (`go_on`) from there. `now` may be called from any thread, the rest
    belongs to the node's.
    """

    __slots__ = ("_read", "_stands_s", "lag_s")

    def __init__(self, read: Callable[[], float]) -> None:
        """Follow `read`, a monotonic clock in seconds, until something is expected."""
        self._read = read
        self._stands_s = math.inf
        self.lag_s = 0.0
        """For how long it stood still, in all."""

    def now(self) -> float:
        """Seconds on this clock."""
        at_s = self._read()
        stands_s = self._stands_s
        return (at_s if at_s < stands_s else stands_s) - self.lag_s  # noqa: FURB136 - one call less

    def expect(self, by_s: float) -> None:
        """Have the clock stand still if `go_on` is not called by `by_s`, as `read` counts."""
        self._stands_s = by_s + LATE_TURN_S

    def expect_now(self) -> None:
        """Expect `go_on` from now on, if it was not expected before."""
        self._stands_s = min(self._stands_s, self._read() + LATE_TURN_S)

    def go_on(self) -> float:
        """Let the clock run on if it stands, and expect nothing; return what `read` says."""
        at_s = self._read()
        if at_s > self._stands_s:
            self.lag_s += at_s - self._stands_s
        self._stands_s = math.inf
        return at_s
