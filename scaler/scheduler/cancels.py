"""How the scheduler answers cancels: at once what it holds itself, by asking the worker else."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from actors import ActorsError, AskTimeoutError, DeferredReply
from scaler.limits import CANCEL_TIMEOUT_S
from scaler.protocol.tasks import (
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskResult,
)
from scaler.scheduler.transitions import TaskEvent, TaskState

if TYPE_CHECKING:
    from scaler.scheduler.records import TaskRecord
    from scaler.scheduler.scheduler import Scheduler

Confirm = TaskCancelConfirmType

_EVENTS = {
    Confirm.Canceled: TaskEvent.CANCEL_CONFIRMED,
    Confirm.CancelFailed: TaskEvent.CANCEL_REFUSED,
    Confirm.CancelNotFound: TaskEvent.CANCEL_MISSED,
}


class Cancels:
    """The scheduler's side of the cancel protocol."""

    def __init__(self, scheduler: Scheduler) -> None:
        """Serve `scheduler`, whose records and context this uses."""
        self._scheduler = scheduler

    def request(
        self, record: TaskRecord, reply: DeferredReply | None, force: bool, grace_s: float | None
    ) -> None:
        """Cancel a task. A second request joins the first; it travels if it may bring the end
        sooner: with more force, or with a grace of its own.
        """
        canceling = record.state is TaskState.CANCELING
        waiting = record.cancels = record.cancels or []
        if reply is not None:
            waiting.append(reply)
        if not self._scheduler.apply(record, TaskEvent.CANCEL_REQUESTED):
            return  # all who wait have been told
        if record.state is TaskState.CANCELED:
            self.confirm(record, waiting, Confirm.Canceled)
            return
        if not canceling or (force and (not record.force or grace_s is not None)):
            record.force = record.force or force
            self._ask(record, force, grace_s)

    def drop(self, task_ids: Iterable[int]) -> tuple[int, ...]:
        """Cancel those of these tasks that are queued; return which."""
        records, apply = self._scheduler.records, self._scheduler.apply
        dropped = []
        for task_id in task_ids:
            record = records.get(task_id)
            if record is not None and record.state is TaskState.QUEUED:
                apply(record, TaskEvent.CANCEL_REQUESTED)
                dropped.append(task_id)
        return tuple(dropped)

    def confirm(
        self,
        record: TaskRecord,
        waiting: list[DeferredReply] | None,
        kind: TaskCancelConfirmType,
    ) -> None:
        """Answer all who wait; if nobody does (any more), tell the client."""
        answer = TaskCancelConfirm(record.task.task_id, kind)
        for reply in waiting or ():
            reply.send(answer)
        refused = kind is Confirm.CancelFailed  # then the client expects nothing but the result
        if not waiting and not refused and record.client.leaving is None:
            self._scheduler.context.tell(record.client.ref, answer)

    def _ask(self, record: TaskRecord, force: bool, grace_s: float | None) -> None:
        worker = record.worker
        assert worker is not None
        self._scheduler.context.ask(
            worker.ref,
            TaskCancel(record.task.task_id, force, grace_s),
            then=partial(self._answered, record, force, grace_s),
            timeout_s=CANCEL_TIMEOUT_S + (grace_s or 0.0),
        )

    def _answered(
        self, record: TaskRecord, force: bool, grace_s: float | None, answer: Any
    ) -> None:
        """The worker's answer. One that a result or a return has overtaken changes nothing."""
        if record.state is not TaskState.CANCELING:
            return
        if isinstance(answer, TaskResult):
            worker = record.worker
            assert worker is not None
            self._scheduler.attempts.end(worker, record, answer.rows[0])
        elif isinstance(answer, AskTimeoutError):
            self._give_up_waiting(record)
            self._ask(record, force, grace_s)
        elif isinstance(answer, ActorsError):
            return  # the worker ended: its `Terminated` decides for all its tasks
        elif answer.type is not Confirm.CancelFailed or force or not record.force:
            waiting = record.cancels
            if self._scheduler.apply(record, _EVENTS[answer.type]):
                self.confirm(record, waiting, answer.type)

    def _give_up_waiting(self, record: TaskRecord) -> None:
        """The task cannot be stopped for now: say so, and go on asking."""
        failed = TaskCancelConfirm(record.task.task_id, Confirm.CancelFailed)
        for reply in record.cancels or ():
            reply.send(failed)
        record.cancels = []
