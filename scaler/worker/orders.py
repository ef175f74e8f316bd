"""What a worker keeps for each task it sent, and for each it was told to stop."""

from __future__ import annotations

import math

import msgspec

from actors import DeferredReply
from scaler.protocol.tasks import RowStatus, Task, TaskRow


class Sent(msgspec.Struct, frozen=True, gc=False):
    """A task that the executor has."""

    task: Task
    expected_us: int


class CancelOrder(msgspec.Struct):
    """A cancel that waits for its task to end."""

    task_id: int
    replies: list[DeferredReply]
    force: bool
    grace_s: float | None
    due_s: float = math.inf
    """When its grace ends."""
    unwound: bool = False
    """The task has unwound, and left something behind that dies with the executor."""


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
