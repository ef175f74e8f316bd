"""`Holders`: which workers have seen which large objects, to send further tasks with these there.

An executor keeps what it has mapped for a while, so a task that comes after another one with the
same object finds it mapped, and its pages in place. This is a guess, from what was sent: nothing
hangs on it but time. A place that was freed and written again is mapped there just the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final

from scaler.limits import MAP_BYTES
from scaler.protocol.tasks import Task
from scaler.scheduler.records import WorkerEntry

_HOMES_MAX: Final = 1_024
_WORKERS_MAX: Final = 4


class Holders:
    """The latest of these, in bounded space."""

    def __init__(self) -> None:
        """Know of none."""
        self._workers: dict[int, list[WorkerEntry]] = {}
        """Those that a task with an object went to, the latest last, by the object's home."""

    def __len__(self) -> int:
        """Return how many objects are known."""
        return len(self._workers)

    def note(self, task: Task, worker: WorkerEntry) -> None:
        """A task goes to a worker."""
        for home in large_homes(task):
            workers = self._workers.pop(home, [])
            if worker in workers:
                workers.remove(worker)
            self._workers[home] = [*workers[1 - _WORKERS_MAX :], worker]
        while len(self._workers) > _HOMES_MAX:
            del self._workers[next(iter(self._workers))]

    def of(self, task: Task) -> Sequence[WorkerEntry]:
        """Return workers that have seen an object of this task, the most likely first."""
        found = [self._workers.get(home, ()) for home in large_homes(task)]
        return [*dict.fromkeys(reversed([*chain.from_iterable(found)]))]


def large_homes(task: Task) -> list[int]:
    """Return the homes of the objects that the executor of a task maps, rather than reads."""
    inputs = [body.objects for body in task.inputs if body is not None]
    pieces = chain(task.objects, *inputs)
    return [piece.home for piece in pieces if piece.size_bytes >= MAP_BYTES]
