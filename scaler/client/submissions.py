"""Where callers' threads leave new tasks for the future manager: one wake-up per batch."""

from __future__ import annotations

from collections import deque

import msgspec

from actors import LocalMessage
from scaler.client.future import ScalerFuture
from scaler.protocol.tasks import Function, Task


class Submission(msgspec.Struct, frozen=True, gc=False):
    """One task, its function, and the future that waits for it."""

    future: ScalerFuture
    function: Function
    task: Task


class SubmissionsReady(LocalMessage, frozen=True):
    """There are new submissions. Sent once for all that come before they are taken."""


class Submissions:
    """A queue from many threads to the node's. No locks: appends and pops are atomic."""

    __slots__ = ("_announced", "_waiting")

    def __init__(self) -> None:
        """Make an empty queue."""
        self._waiting: deque[Submission] = deque()
        self._announced = False

    def put(self, submission: Submission) -> bool:
        """Add a task; whether the future manager must be told. Thread-safe, bounded by credit."""
        self._waiting.append(submission)
        if self._announced:
            return False
        self._announced = True
        return True

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def take_all(self) -> list[Submission]:
        """Take what is there. The flag falls first: what is put from now on is announced."""
        self._announced = False
        waiting = self._waiting
        return [waiting.popleft() for _ in range(len(waiting))]
