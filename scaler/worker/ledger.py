"""What a worker has sent to one incarnation of its executor, keyed by ordinal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from scaler.limits import FUNCTIONS_KNOWN
from scaler.protocol.tasks import Function, Task
from scaler.worker.port import ExecutorPort


class Entry(msgspec.Struct, gc=False):
    """A task that is here."""

    task: Task
    expected_us: int
    due_s: float = math.inf
    """Its deadline, on the node's clock."""


class Held(msgspec.Struct, frozen=True, gc=False):
    """A task that no executor has yet."""

    function: Function
    entry: Entry


class Ledger:
    """The tasks that one executor has, and the functions it knows. A new executor, a new ledger."""

    def __init__(self) -> None:
        """Start with nothing sent."""
        self.sent: dict[int, Entry] = {}
        """What it has and has not answered, in order."""
        self.ordinals: dict[int, int] = {}
        """Ordinal of each of these, by task id."""
        self.used = 0
        """How many tasks it has or had; those taken back do not count."""
        self._last = 0
        self._known: dict[bytes, None] = {}
        self._dropped: list[int] = []

    def send(
        self, executor: ExecutorPort, functions: Iterable[Function], entries: Sequence[Entry]
    ) -> None:
        """Send tasks under the next ordinals, and what else the executor must learn or forget."""
        first, count = self._last + 1, len(entries)
        self._last += count
        self.used += count
        for ordinal, entry in enumerate(entries, first):
            self.sent[ordinal] = entry
            self.ordinals[entry.task.task_id] = ordinal
        new = [function for function in functions if function.function_id not in self._known]
        for function in new:
            self._known[function.function_id] = None
        dropped, self._dropped = self._dropped, []
        tasks = [entry.task for entry in entries]
        executor.send(range(first, first + count), tasks, new, dropped, self._forget())

    def strike(self, ordinal: int) -> Task:
        """The executor has answered, or is gone: the task is no longer here."""
        task = self.sent.pop(ordinal).task
        del self.ordinals[task.task_id]
        return task

    def drop(self, ordinals: Sequence[int]) -> list[Task]:
        """Strike tasks that were taken back; return them. The executor is told later."""
        self._dropped += ordinals
        self.used -= len(ordinals)
        return [self.strike(ordinal) for ordinal in ordinals]

    def _forget(self) -> list[bytes]:
        """Forget the oldest functions above the bound that no task here names."""
        excess = len(self._known) - FUNCTIONS_KNOWN
        if excess <= 0:
            return []
        used = {entry.task.function_id: None for entry in self.sent.values()}
        forgotten = [key for key in self._known if key not in used][:excess]
        for key in forgotten:
            del self._known[key]
        return forgotten
