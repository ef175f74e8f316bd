"""What a worker says of a task that it stopped at a limit: the payload of a `TIMED_OUT` row."""

from __future__ import annotations

from enum import Enum


class Limit(Enum):
    """Which limit a task met."""

    TIMEOUT = "timeout"
    """`TaskPolicy.timeout_s`: this attempt ran for too long."""
    DEADLINE = "deadline"
    """`TaskPolicy.deadline_s`: too long ago was it submitted."""


def pack_timeout(limit: Limit, how: str) -> bytes:
    """Return the payload of a `TIMED_OUT` row.

    Args:
        limit: which was met.
        how: how the task was stopped, in words; empty if it had not begun.
    """
    return f"{limit.value}\n{how}".encode()


def unpack_timeout(payload: bytes) -> tuple[Limit, str]:
    """Return limit and words of a payload that `pack_timeout` made.

    Raises:
        ValueError: it is none.
    """
    limit, _, how = payload.decode().partition("\n")
    return Limit(limit), how
