"""What a worker has sent to one incarnation of its executor, keyed by ordinal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from scaler.limits import FUNCTIONS_KNOWN
from scaler.protocol.tasks import Function, RowStatus, Task, TaskRow
from scaler.worker.port import ExecutorPort


class Sent(msgspec.Struct, frozen=True, gc=False):
    """A task that the executor has."""

    task: Task
    expected_us: int


class Ledger:
    """The tasks that one executor has, and the functions it knows. A new executor, a new ledger."""

    def __init__(self) -> None:
        """Start with nothing sent."""
        self.sent: dict[int, Sent] = {}
        """What it has and has not answered, in order."""
        self.ordinals: dict[int, int] = {}
        """Ordinal of each of these, by task id."""
        self._last = 0
        self._known: dict[bytes, None] = {}
        self._dropped: list[int] = []

    def send(
        self,
        executor: ExecutorPort,
        functions: Iterable[Function],
        tasks: Sequence[Task],
        expected_us: Sequence[int],
    ) -> None:
        """Send tasks under the next ordinals, and what else the executor must learn or forget."""
        ordinals = range(self._last + 1, self._last + len(tasks) + 1)
        self._last += len(tasks)
        for ordinal, task, expected in zip(ordinals, tasks, expected_us, strict=True):
            self.sent[ordinal] = Sent(task, expected)
            self.ordinals[task.task_id] = ordinal
        new = [function for function in functions if function.function_id not in self._known]
        for function in new:
            self._known[function.function_id] = None
        dropped, self._dropped = self._dropped, []
        executor.send(ordinals, tasks, new, dropped, self._forget())

    def strike(self, ordinal: int) -> Task:
        """The executor has answered, or is gone: the task is no longer here."""
        task = self.sent.pop(ordinal).task
        del self.ordinals[task.task_id]
        return task

    def drop(self, ordinals: Iterable[int]) -> tuple[int, ...]:
        """Strike tasks that were taken back; return their ids. The executor is told later."""
        ordinals = tuple(ordinals)
        self._dropped += ordinals
        return tuple([self.strike(ordinal).task_id for ordinal in ordinals])

    def _forget(self) -> list[bytes]:
        """Forget the oldest functions above the bound that no task here names."""
        excess = len(self._known) - FUNCTIONS_KNOWN
        if excess <= 0:
            return []
        used = {sent.task.function_id: None for sent in self.sent.values()}
        forgotten = [key for key in self._known if key not in used][:excess]
        for key in forgotten:
            del self._known[key]
        return forgotten


def death_row(
    task: Task, ordinal: int, item: int, cause: str, worker: str, pid: int, now_s: float
) -> TaskRow:
    """The row of an attempt whose executor died."""
    where = f" at item {item} of its chunk" if task.chunked else ""
    text = (
        f"the executor (worker {worker}, pid {pid}) died while it ran task {task.task_id}"
        f"{where}, attempt {task.attempt}: {cause}"
    )
    return TaskRow(
        ordinal=ordinal,
        task_id=task.task_id,
        status=RowStatus.WORKER_DIED,
        payload=text.encode(),
        started_s=now_s,
        ended_s=now_s,
        cpu_s=0.0,
        rss_bytes=0,
        worker=worker,
        pid=pid,
        attempt=task.attempt,
    )
