"""What must happen sometimes: a fault that no seed meets is a test that tests nothing."""

from __future__ import annotations

from collections.abc import Mapping

SOMETIMES: tuple[str, ...] = ()
"""Each in at least one of a thousand seeds."""

_ENOUGH = 1_000


def missing(marks: Mapping[str, int], seeds: int) -> list[str]:
    """Return what happened in less than one of a thousand seeds; nothing for too few seeds."""
    if seeds < _ENOUGH:
        return []
    return [mark for mark in SOMETIMES if marks.get(mark, 0) < seeds / _ENOUGH]


def table(marks: Mapping[str, int], seeds: int) -> str:
    """Return in how many seeds each thing happened, the rarest first."""
    lines = [f"{'seen in':>10}  of {seeds} seeds"]
    lines += [f"{times:10}  {mark}" for mark, times in sorted(marks.items(), key=lambda m: m[1])]
    return "\n".join(lines)
