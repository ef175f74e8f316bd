"""`ManualClock`: time that moves only when a test says so."""

from __future__ import annotations


class ManualClock:
    """A monotonic clock in seconds. One clock may be shared by several harnesses."""

    __slots__ = ("_now_s",)

    def __init__(self, start_s: float = 0.0) -> None:
        self._now_s = start_s

    def now(self) -> float:
        """Seconds since an arbitrary moment."""
        return self._now_s

    def advance(self, seconds: float) -> None:
        """Move on by `seconds`, >= 0. Fires nothing: use `ActorHarness.advance` for timers."""
        if seconds < 0:
            raise ValueError(f"time only moves forward, not by {seconds} s")
        self._now_s += seconds

    def move_to(self, at_s: float) -> None:
        """Move on to `at_s`; a moment that has passed changes nothing."""
        self._now_s = max(self._now_s, at_s)

    def __repr__(self) -> str:
        return f"<ManualClock at {self._now_s} s>"
