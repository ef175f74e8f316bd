"""`Mailbox`: the bounded queue in front of an actor, with its counters."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from actors.limits import MAILBOX_MESSAGES

if TYPE_CHECKING:
    from actors.messages import Envelope, Reply


class MailboxStatistics(msgspec.Struct, frozen=True):
    """Counters of a mailbox at one moment. Numbers of messages since the actor was spawned."""

    waiting: int
    handled: int
    rejected: int
    """Turned away because the mailbox was full."""
    peak: int
    """Most messages seen waiting at the start of a run."""
    size: int
    """The bound."""


class Mailbox:
    """A bounded FIFO queue. Any thread appends, the actor's node takes.

    `deque.append` and `popleft` are atomic in CPython, so no lock is needed.
    """

    __slots__ = ("handled", "peak", "queue", "rejected", "size")

    def __init__(self, size: int | None = None) -> None:
        """Make an empty mailbox of at most `size` messages (default `limits.MAILBOX_MESSAGES`)."""
        if size is not None and size < 1:
            raise ValueError(f"mailbox_size must be at least 1, got {size}")
        self.queue: deque[Envelope | Reply] = deque()
        self.size = MAILBOX_MESSAGES if size is None else size
        self.handled = 0
        self.rejected = 0
        self.peak = 0

    def statistics(self) -> MailboxStatistics:
        """Return the counters. Thread-safe; each is exact for some moment during the call."""
        return MailboxStatistics(
            waiting=len(self.queue),
            handled=self.handled,
            rejected=self.rejected,
            peak=max(self.peak, len(self.queue)),
            size=self.size,
        )
