"""Rows that a worker makes itself: of attempts whose executor can tell nothing any more."""

from __future__ import annotations

from scaler.protocol.tasks import RowStatus, Task, TaskRow


def attempt_row(
    task: Task,
    status: RowStatus,
    payload: bytes,
    *,
    now_s: float,
    ran_s: float = 0.0,
    ordinal: int = 0,
    worker: str,
    pid: int = 0,
) -> TaskRow:
    """Return the row of an attempt that has just ended, or of a task that never began.

    Args:
        task: what was attempted.
        status: how it ended.
        payload: what belongs to that status.
        now_s: when it ended, on the node's clock.
        ran_s: how long it had been running, seconds.
        ordinal: which task of its executor it was; 0 if it was sent to none.
        worker: the worker's name.
        pid: of the executor; 0 if the task never began.
    """
    return TaskRow(
        ordinal=ordinal,
        task_id=task.task_id,
        status=status,
        payload=payload,
        started_s=now_s - ran_s,
        ended_s=now_s,
        cpu_s=0.0,
        rss_bytes=0,
        worker=worker,
        pid=pid,
        attempt=task.attempt,
    )


def death_text(task: Task, item: int, cause: str, worker: str, pid: int) -> str:
    """Say whose executor died while it ran `task`, and how; further lines of `cause` stay last."""
    where = f", at item {item} of its chunk" if task.chunked else ""
    return f"on {worker}, pid {pid}{where}: {cause}"
