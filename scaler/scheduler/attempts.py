"""What the end of an attempt means for its task: it is over, or it is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from actors import LocalMessage
from scaler.limits import BLAMELESS_LOSSES
from scaler.protocol.tasks import (
    DEFAULT_POLICY,
    RowStatus,
    Task,
    TaskCancelConfirmType,
    TaskPolicy,
    TaskRow,
)
from scaler.scheduler.records import TaskPast, fault_row
from scaler.scheduler.stories import death_story, timeout_story
from scaler.scheduler.transitions import TaskEvent, TaskState

if TYPE_CHECKING:
    from scaler.scheduler.records import TaskRecord, WorkerEntry
    from scaler.scheduler.scheduler import Scheduler

_DOUBLINGS_MAX = 60

# A member of an enumeration costs 70 ns to look up by its class (CPython 3.11).
_ROW_SUCCEEDED = RowStatus.SUCCEEDED
_EVENT_SUCCEEDED = TaskEvent.SUCCEEDED
_SUCCEEDED = TaskState.SUCCEEDED


class RetryDue(LocalMessage, frozen=True):
    """The time of a task's next attempt has come."""

    task_id: int


class DeadlineDue(LocalMessage, frozen=True):
    """A task should have ended by now."""

    task_id: int


class Attempts:
    """The scheduler's side of retries, losses, timeouts and deadlines."""

    def __init__(self, scheduler: Scheduler) -> None:
        """Serve `scheduler`, whose records and context this uses."""
        self._scheduler = scheduler

    def begin(self, record: TaskRecord, policy: TaskPolicy) -> None:
        """A task with a policy of its own was submitted: watch its deadline."""
        past = self._past(record)
        if policy.deadline_s is not None:
            past.deadline_s = past.submitted_s + policy.deadline_s
            due = DeadlineDue(record.task.task_id)
            key = ("deadline", due.task_id)
            self._scheduler.context.start_timer(key, policy.deadline_s, due)

    def forget(self, record: TaskRecord) -> None:
        """A task has ended: nothing of it comes due any more."""
        for kind in ("deadline", "retry"):
            self._scheduler.context.cancel_timer((kind, record.task.task_id))

    def end(self, worker: WorkerEntry, record: TaskRecord, row: TaskRow) -> None:
        """One attempt ended with `row`: deliver it, confirm a cancel, or try again."""
        scheduler = self._scheduler
        if row.status is _ROW_SUCCEEDED:
            record.entry.observe(row.ended_s - row.started_s)
            event = _EVENT_SUCCEEDED
        else:
            event, row = self._judge(record, row)
        worker.blocked = False
        waiting = record.cancels
        if not scheduler.apply(record, event):
            return
        state = record.state
        if state is _SUCCEEDED:  # first, since it is the one that most go through
            scheduler.deliveries.deliver(record, waiting, row)
        elif state is TaskState.CANCELED:
            scheduler.cancels.confirm(record, waiting, TaskCancelConfirmType.Canceled)
        elif state is TaskState.WAITING:
            self._wait(record)
        elif state is TaskState.QUEUED:
            self._next_attempt(record)
            self.put_back(record)
        else:
            scheduler.deliveries.deliver(record, waiting, row)

    def lose(self, worker: WorkerEntry, record: TaskRecord, cause: str) -> None:
        """Nobody answers for a task any more. Whether it has begun is not known."""
        scheduler = self._scheduler
        if record.state is not TaskState.CANCELING:
            row = fault_row(record.task, RowStatus.LOST, cause, scheduler.context.now())
            self.end(worker, record, row)
            return
        waiting = record.cancels
        if scheduler.apply(record, TaskEvent.CANCEL_MISSED):
            scheduler.cancels.confirm(record, waiting, TaskCancelConfirmType.CancelNotFound)

    def put_back(self, record: TaskRecord) -> None:
        """Queue a task again, before all others: it has waited longest."""
        self._scheduler.placement.put_back(record)
        past = record.past
        if past is not None and past.deadline_s <= self._scheduler.context.now():
            self._expire(record)

    def retry_due(self, task_id: int) -> None:
        """Queue a task whose wait is over, behind the others."""
        record = self._scheduler.records.get(task_id)
        if record is not None and self._scheduler.apply(record, TaskEvent.DUE):
            self._next_attempt(record)
            self._scheduler.placement.enqueue(record)

    def deadline_due(self, task_id: int) -> None:
        """End a task that waits here; one that was sent is its worker's to stop."""
        record = self._scheduler.records.get(task_id)
        if record is not None and record.state <= TaskState.QUEUED:
            self._expire(record)

    # --- what a row means -------------------------------------------------------------------

    def _judge(self, record: TaskRecord, row: TaskRow) -> tuple[TaskEvent, TaskRow]:
        """What happened to the task, and the row to deliver should it be over."""
        past = self._past(record)
        past.ran_s += max(0.0, row.ended_s - row.started_s)
        status = row.status
        if status is RowStatus.INTERRUPTED:
            return TaskEvent.CANCEL_CONFIRMED, row
        if status is RowStatus.FAILED:
            return self._judge_failure(record, past, row), row
        if status is RowStatus.TIMED_OUT:
            text = timeout_story(record, past, self._scheduler.context.now(), row)
            return TaskEvent.TIMED_OUT, self._told(record, RowStatus.TIMED_OUT, text, row)
        if status is RowStatus.INTERNAL:
            return TaskEvent.FAILED, row
        return self._judge_loss(record, past, row)

    def _judge_failure(self, record: TaskRecord, past: TaskPast, row: TaskRow) -> TaskEvent:
        """It raised. A retry that would come after the deadline is none."""
        policy = record.task.policy or DEFAULT_POLICY
        if record.state is TaskState.CANCELING or row.final or past.failures >= policy.retries:
            return TaskEvent.FAILED
        past.wait_s = retry_wait_s(policy, past.failures, record.task)
        if self._scheduler.context.now() + past.wait_s >= past.deadline_s:
            return TaskEvent.FAILED
        past.failures += 1
        return TaskEvent.RETRIED

    def _judge_loss(
        self, record: TaskRecord, past: TaskPast, row: TaskRow
    ) -> tuple[TaskEvent, TaskRow]:
        """Its executor has gone. One that was stopped anyway is not run again."""
        policy = record.task.policy or DEFAULT_POLICY
        past.losses.append(f"attempt {row.attempt} {row.payload.decode(errors='replace')}")
        if row.status is RowStatus.LOST:
            past.blameless += 1
        blamed = len(past.losses) - past.blameless
        is_last = blamed >= policy.max_attempts or past.blameless >= BLAMELESS_LOSSES
        if record.state is TaskState.CANCELING:
            return TaskEvent.DIED, row
        if not is_last and policy.max_attempts > 1 and not row.final:
            return TaskEvent.LOST, row
        text = death_story(record, past, is_final=row.final)
        return TaskEvent.DIED, self._told(record, RowStatus.WORKER_DIED, text, row)

    def _told(self, record: TaskRecord, status: RowStatus, text: str, row: TaskRow) -> TaskRow:
        return msgspec.structs.replace(row, status=status, payload=text.encode())

    # --- again ------------------------------------------------------------------------------

    def _wait(self, record: TaskRecord) -> None:
        past = self._past(record)
        past.postponed_s += past.wait_s
        task_id = record.task.task_id
        if past.wait_s > 0:
            key = ("retry", task_id)
            self._scheduler.context.start_timer(key, past.wait_s, RetryDue(task_id))
        else:
            self.retry_due(task_id)

    def _next_attempt(self, record: TaskRecord) -> None:
        record.task = msgspec.structs.replace(record.task, attempt=record.task.attempt + 1)

    def _expire(self, record: TaskRecord) -> None:
        """End a task that waits here at its deadline."""
        now_s = self._scheduler.context.now()
        text = timeout_story(record, self._past(record), now_s, None)
        if self._scheduler.apply(record, TaskEvent.TIMED_OUT):
            row = fault_row(record.task, RowStatus.TIMED_OUT, text, now_s)
            self._scheduler.deliveries.deliver(record, None, row)

    def _past(self, record: TaskRecord) -> TaskPast:
        if record.past is None:
            record.past = TaskPast(self._scheduler.context.now())
        return record.past


def retry_wait_s(policy: TaskPolicy, failures: int, task: Task) -> float:
    """Seconds until the next attempt after `failures` retries: exponential, with jitter.

    Tasks that failed together shall not come back together. The part left to chance is mixed from
    the task's id and attempt, so that a run can be replayed.
    """
    doubled_s = policy.backoff_s * 2.0 ** min(failures, _DOUBLINGS_MAX)
    return min(doubled_s, policy.backoff_max_s) * (
        1.0 - policy.jitter * _chance(task.task_id, task.attempt)
    )


def _chance(task_id: int, attempt: int) -> float:
    """A number in [0, 1) that looks drawn: the finalizer of SplitMix64 (Steele et al., 2014)."""
    mixed = (task_id * 0x9E3779B97F4A7C15 + attempt) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return ((mixed ^ (mixed >> 31)) >> 11) / (1 << 53)
