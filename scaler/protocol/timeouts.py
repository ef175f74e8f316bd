"""What the row of a task that was stopped at a limit says: which limit, and how it ended."""

from __future__ import annotations

from enum import StrEnum


class Limit(StrEnum):
    """What stopped a task."""

    TIMEOUT = "timeout"
    """The `timeout_s` of its policy: one attempt ran for too long."""
    DEADLINE = "deadline"
    """The `deadline_s` of its policy: too much time has passed since it was submitted."""


def pack_timeout(limit: Limit, how: str) -> bytes:
    """Return the payload of a `TIMED_OUT` row.

    Args:
        limit: the one that was hit.
        how: how the attempt ended, a clause without a full stop.
    """
    return f"{limit.value}\n{how}".encode()


def unpack_timeout(payload: bytes) -> tuple[Limit, str]:
    """Return what `pack_timeout` was given. Never raises: what else comes counts as a timeout."""
    text = payload.decode(errors="replace")
    first, _, how = text.partition("\n")
    if first in (Limit.TIMEOUT, Limit.DEADLINE):
        return Limit(first), how
    return Limit.TIMEOUT, text
