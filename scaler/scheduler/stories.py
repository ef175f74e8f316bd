"""What a task went through, in words: the texts of its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaler.limits import BLAMELESS_LOSSES
from scaler.protocol.tasks import DEFAULT_POLICY
from scaler.protocol.timeouts import Limit, unpack_timeout

if TYPE_CHECKING:
    from scaler.protocol.tasks import TaskPolicy, TaskRow
    from scaler.scheduler.records import TaskPast, TaskRecord


def death_story(record: TaskRecord, past: TaskPast, *, is_final: bool = False) -> str:
    """Each attempt of a task that was lost with its executor, and how.

    Args:
        record: the task.
        past: what it went through.
        is_final: the last one may still hold what it held: it must not be tried again.
    """
    policy = record.task.policy or DEFAULT_POLICY
    times = "once" if len(past.losses) == 1 else f"{len(past.losses)} times"
    attempts = "attempt is" if policy.max_attempts == 1 else "attempts are"
    bound = f"{policy.max_attempts} {attempts} allowed (`max_attempts`)"
    if past.blameless >= BLAMELESS_LOSSES:
        bound = f"{BLAMELESS_LOSSES} losses by nobody's fault are too many"
    if is_final:
        bound = "it is not run again while the last one is there"
    head = f"{_title(record)} lost its executor {times}; {bound}"
    return "\n".join((head, *past.losses))


def timeout_story(record: TaskRecord, past: TaskPast, now_s: float, row: TaskRow | None) -> str:
    """Which limit a task met, where its time went, and how it was stopped.

    Args:
        record: the task.
        past: what it went through.
        now_s: the scheduler's clock.
        row: how its worker stopped it; `None`: it was waiting here.
    """
    policy = record.task.policy or DEFAULT_POLICY
    limit, how = (Limit.DEADLINE, "") if row is None else unpack_timeout(row.payload)
    if limit is Limit.TIMEOUT:
        head = f"{_title(record)} ran into its timeout of {policy.timeout_s:g} s"
    else:
        head = f"{_title(record)} met its deadline, {_deadline(policy)}"
    whole_s = now_s - past.submitted_s
    waited_s = max(0.0, whole_s - past.ran_s - past.postponed_s)
    where = f"{waited_s:.3g} s waiting for a worker, {past.ran_s:.3g} s running"
    if past.failures:
        where += f", {past.postponed_s:.3g} s between retries"
    begun = record.task.attempt if row is not None and row.pid else record.task.attempt - 1
    stop = f"attempt {row.attempt} on {row.worker}, pid {row.pid}: {how}" if row else ""
    if not how:
        stop = f"no attempt was running ({begun} had been made)" if begun else "it never started"
    return f"{head}: {where}; {stop}"


def _title(record: TaskRecord) -> str:
    return f"task {record.task.task_id}"  # its client knows by which name the user calls it


def _deadline(policy: TaskPolicy) -> str:
    if policy.map_deadline_s is not None:
        return f"{policy.map_deadline_s:g} s after its map began"
    return f"{policy.deadline_s:g} s after it was submitted"
