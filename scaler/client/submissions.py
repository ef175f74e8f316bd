"""Where callers' threads leave new tasks for the future manager: one wake-up per batch."""

from __future__ import annotations

from collections import deque
from contextlib import suppress

import msgspec

from actors import ActorRef, LocalMessage
from scaler.client.future import ScalerFuture
from scaler.protocol.tasks import Function, Task


class Submission(msgspec.Struct, frozen=True, gc=False):
    """One task, its function, and the future that waits for it."""

    future: ScalerFuture
    function: Function
    task: Task
    needs: tuple[ScalerFuture, ...] = ()
    """Futures among the arguments whose results are not in `task.inputs`."""


class SubmissionsReady(LocalMessage, frozen=True):
    """There are new submissions. Sent once for all that come before they are taken."""


class Submissions:
    """A queue from many threads to the node's. No locks: appends and pops are atomic."""

    __slots__ = ("_announced", "_taken", "waiting")

    def __init__(self) -> None:
        """Make an empty queue."""
        self.waiting: deque[Submission] = deque()
        """Bounded by the client's credit."""
        self._taken = 0
        """How often the queue was emptied."""
        self._announced = -1
        """The same, when the last message about it was sent."""

    def announce(self, manager: ActorRef) -> None:
        """Tell `manager` of a task that was added, if nobody has told it. Thread-safe."""
        taken = self._taken
        if self._announced != taken:
            manager.tell(SubmissionsReady())
            self._announced = taken  # only now: a Ctrl-C in between costs a second message

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self.waiting)

    def take_all(self) -> list[Submission]:
        """Take what is there. The count goes up first: what is put from now on is announced."""
        self._taken += 1
        waiting, taken = self.waiting, []
        with suppress(IndexError):  # a thread that closes the client takes some too
            for _ in range(len(waiting)):
                taken.append(waiting.popleft())  # noqa: PERF401 - keeps those before an error
        return taken
