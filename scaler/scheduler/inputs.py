"""Tasks that need the results of others: they wait here until all are there, or one will not be."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from scaler.protocol.inputs import FailedInput, failed_input
from scaler.protocol.objects import Body
from scaler.protocol.tasks import InputGiven, RowStatus, TaskRow
from scaler.scheduler.records import fault_row
from scaler.scheduler.transitions import TaskEvent, TaskState

if TYPE_CHECKING:
    from scaler.scheduler.records import TaskRecord
    from scaler.scheduler.scheduler import Scheduler


class Inputs:
    """The scheduler's side of arguments that are results of other tasks."""

    def __init__(self, scheduler: Scheduler) -> None:
        """Serve `scheduler`, whose records and context this uses."""
        self._scheduler = scheduler
        self.wanted: dict[int, dict[int, TaskRecord]] = {}
        """Tasks that wait, by the task whose result they need, and by their own id."""
        self.there: dict[int, dict[int, Body]] = {}
        """The results that are here, by the task that waits, and by the task they are of."""
        self._failing: deque[tuple[TaskRecord, FailedInput]] = deque()
        self._is_failing = False

    def begin(self, record: TaskRecord) -> bool:
        """A task was submitted that needs results; return whether it waits for any."""
        task = record.task
        bodies = task.inputs or (None,) * len(task.needs)
        there = {
            needed: body
            for needed, body in zip(task.needs, bodies, strict=True)
            if body is not None
        }
        missing = [needed for needed in task.needs if needed not in there]
        if not missing:
            return False
        record.state = TaskState.WAITING
        self.there[task.task_id] = there
        for needed in missing:
            self.wanted.setdefault(needed, {})[task.task_id] = record
        return True

    def unknown(self, task_ids: Iterable[int]) -> tuple[tuple[int, int], ...]:
        """Return which results of which tasks nobody here will tell of: those had ended before."""
        records = self._scheduler.records
        return tuple(
            (task_id, needed)
            for task_id in task_ids
            if (there := self.there.get(task_id)) is not None
            for needed in records[task_id].task.needs
            if needed not in there and needed not in records
        )

    def given(self, message: InputGiven) -> None:
        """The client tells what a task came to that had ended before."""
        record = self.wanted.get(message.needed, {}).get(message.task_id)
        if record is not None:
            self._take((record,), message.needed, message.name, message.row)

    def ended(self, record: TaskRecord, row: TaskRow | None) -> None:
        """A task has ended, with a row or cancelled: tell those that need its result."""
        waiting = self.wanted.get(record.task.task_id)
        if waiting is not None:
            name = record.entry.function.name
            self._take(tuple(waiting.values()), record.task.task_id, name, row)

    def struck(self, record: TaskRecord) -> None:
        """A task has ended: it waits no more. If it was cancelled, no row tells of that."""
        self._forget(record)
        if record.state is TaskState.CANCELED:
            self.ended(record, None)

    def _forget(self, record: TaskRecord) -> None:
        """A task waits no more: it has all it needs, or has ended."""
        task = record.task
        if self.there.pop(task.task_id, None) is None:
            return
        for needed in task.needs:
            others = self.wanted.get(needed)  # none: this input came with the task
            if others is not None and task.task_id in others:
                del others[task.task_id]
                if not others:
                    del self.wanted[needed]

    def _take(
        self, records: tuple[TaskRecord, ...], needed: int, name: str, row: TaskRow | None
    ) -> None:
        if row is not None and row.status is RowStatus.SUCCEEDED:
            for record in records:
                self._add(record, needed, Body(row.payload, row.objects))
            return
        failed = failed_input(needed, name, row)
        self._fail_all((record, failed) for record in records)

    def _add(self, record: TaskRecord, needed: int, value: Body) -> None:
        task = record.task
        there = self.there[task.task_id]
        there[needed] = value
        if len(there) < len(task.needs):
            return
        inputs = tuple([there[one] for one in task.needs])
        self._forget(record)
        record.task = msgspec.structs.replace(task, inputs=inputs)
        if self._scheduler.apply(record, TaskEvent.DUE):
            self._scheduler.placement.enqueue(record)

    def _fail_all(self, failing: Iterable[tuple[TaskRecord, FailedInput]]) -> None:
        """Fail tasks, and those that wait for these: one after the other, for chains are long."""
        self._failing += failing
        if self._is_failing:
            return
        self._is_failing = True
        try:
            while self._failing:
                record, failed = self._failing.popleft()
                if record.task.task_id in self.there:
                    self._fail(record, failed)
        finally:
            self._is_failing = False

    def _fail(self, record: TaskRecord, failed: FailedInput) -> None:
        scheduler = self._scheduler
        if scheduler.apply(record, TaskEvent.INPUT_FAILED):
            now_s = scheduler.context.now()
            row = fault_row(record.task, RowStatus.INPUT_FAILED, "", now_s)
            scheduler.deliveries.deliver(
                record, None, msgspec.structs.replace(row, payload=failed.pack())
            )
