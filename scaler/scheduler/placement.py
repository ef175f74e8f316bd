"""Which task goes to which worker: the queue, and the workers that have room."""

from __future__ import annotations

from collections import deque

from scaler.limits import PREFETCH_US
from scaler.protocol.tasks import Task
from scaler.scheduler.holders import Holders
from scaler.scheduler.records import TaskQueue, TaskRecord, WorkerEntry
from scaler.scheduler.transitions import TaskEvent, TaskState, next_state

_DISPATCHED = next_state(TaskState.QUEUED, TaskEvent.DISPATCHED)


class Placement:
    """Hands queued tasks out, oldest first, to workers with room, idle ones first.

    Of several it prefers those that have mapped a task's large objects already.

    No call takes time that depends on how many tasks or workers there are, but for `assign`, which
    takes it for each task that it hands out.
    """

    def __init__(self, records: dict[int, TaskRecord]) -> None:
        """Place the tasks of `records`, the scheduler's own table."""
        self._records = records
        self._queue = TaskQueue()
        self._idle: deque[WorkerEntry] = deque()
        self._busy: deque[WorkerEntry] = deque()
        """Those that run something and have room for more. Both may name some that no longer do."""
        self._holders = Holders()

    @property
    def queued(self) -> int:
        """Tasks that wait."""
        return self._queue.length

    def enqueue(self, record: TaskRecord) -> None:
        """Add a new task at the end."""
        self._queue.push(record)

    def put_back(self, record: TaskRecord) -> None:
        """Add a returned task at the front: it has waited longest."""
        self._queue.push_front(record)

    def discard(self) -> None:
        """A queued task was struck from the records."""
        self._queue.discard(self._records)

    def admit(self, worker: WorkerEntry) -> None:
        """Enter a worker among the idle ones, or those with room."""
        if not worker.outstanding:
            if not worker.idle:
                worker.idle = True
                self._idle.append(worker)
        elif not worker.listed and worker.has_room:
            worker.listed = True
            self._busy.append(worker)

    def _next_worker(self) -> WorkerEntry | None:
        """Take out the worker that gets the first task of the queue."""
        worker = self._take_worker()
        if worker is None or not self._holders:
            return worker
        holder = self._holder(self._queue.first(self._records).task, worker)
        if holder is not worker:
            self._put_first(worker)
        return holder

    def _take_worker(self) -> WorkerEntry | None:
        """Take out the idle worker that ran last, or the one with room that waited longest."""
        while self._idle:
            worker = self._idle.pop()
            worker.idle = False
            if not worker.outstanding and worker.has_room:
                return worker
        while self._busy:
            worker = self._busy.popleft()
            worker.listed = False
            if worker.has_room:
                return worker
        return None

    def _put_first(self, worker: WorkerEntry) -> None:
        """Enter a worker again that was taken out."""
        if worker.outstanding:
            worker.listed = True
            self._busy.appendleft(worker)
        else:
            worker.idle = True
            self._idle.append(worker)

    def _holder(self, task: Task, other: WorkerEntry) -> WorkerEntry:
        """Return a worker that has what the task needs and is as free as `other`, or that."""
        for worker in self._holders.of(task):
            if worker is other:
                break
            if worker.has_room and (other.outstanding or not worker.outstanding):
                return worker
        return other

    def release(self, worker: WorkerEntry, record: TaskRecord) -> None:
        """The worker no longer answers for the task."""
        del worker.outstanding[record.task.task_id]
        worker.load_us -= record.expected_us
        record.worker = None
        record.expected_us = 0
        if not worker.outstanding:
            worker.blocked = False
        self.admit(worker)

    def assign(self) -> list[WorkerEntry]:
        """Hand out queued tasks as long as there are some and a worker has room.

        Each idle worker gets one, then each in turn its even share of what waits, as far as its
        room goes.

        Returns:
            Those that got any, with their tasks in `batch`.
        """
        touched: list[WorkerEntry] = []
        queue, takers = self._queue, 0
        while queue.length and (worker := self._next_worker()) is not None:
            if not takers:
                takers = 1 + len(self._idle) + len(self._busy)  # another round
            if not worker.batch:
                touched.append(worker)
            # One for each idle worker first: what was submitted first starts first.
            self._fill(worker, -(-queue.length // takers) if worker.outstanding else 1)
            takers -= 1
            self.admit(worker)
        return touched

    def _fill(self, worker: WorkerEntry, share: int) -> None:
        """Give `worker` at most `share` tasks: the loop that every task goes through."""
        queue, records, batch = self._queue, self._records, worker.batch
        outstanding, load_us = worker.outstanding, worker.load_us
        room = min(share, worker.credit - len(outstanding), queue.length)
        while room > 0 and load_us < PREFETCH_US:
            record = queue.pop(records)
            record.state = _DISPATCHED
            record.worker = worker
            record.expected_us = expected_us = record.entry.expected_us
            load_us += expected_us
            task = record.task
            outstanding[task.task_id] = record
            batch.append(record)
            if task.objects or task.inputs:
                self._holders.note(task, worker)
            room -= 1
        worker.load_us = load_us
