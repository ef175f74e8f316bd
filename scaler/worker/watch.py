"""What a worker looks at while tasks are here: who runs for how long, and who waits behind it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from actors import LocalMessage
from scaler.limits import RECALL_AFTER_S
from scaler.protocol.tasks import TaskStarted
from scaler.protocol.timeouts import Limit

if TYPE_CHECKING:
    from scaler.worker.ledger import Entry
    from scaler.worker.worker import Worker

_EXPECTED_FACTOR = 2
_SOONEST_S = RECALL_AFTER_S / 10


class Tick(LocalMessage, frozen=True):
    """Look at what runs: for how long, and who waits behind it."""


class Watch:
    """One timer for all that depends on time: it is set to the earliest of what may come due.

    Who runs can change without notice while several tasks are with the executor: then it looks
    again after `RECALL_AFTER_S`. A task that is alone is looked at when one of its limits is due.
    """

    def __init__(self, worker: Worker) -> None:
        """Look at the tasks of `worker`."""
        self._worker = worker
        self._due_s = math.inf
        """When the timer fires."""
        self._is_far = False
        """That is not soon."""
        self._deadline_s = math.inf
        """No task here has a deadline before that."""
        self._reported = (0, 0)
        """Executor and ordinal last reported as running."""

    def set_deadlines(self, entries: Sequence[Entry], left_s: Iterable[tuple[int, float]]) -> None:
        """Note the deadlines of tasks that came."""
        now_s = self._worker.context.now()
        arrived = {entry.task.task_id: entry for entry in entries}
        for task_id, seconds in left_s:
            arrived[task_id].due_s = now_s + seconds
            self._deadline_s = min(self._deadline_s, now_s + seconds)
        self._look_at(now_s, self._deadline_s)

    def tasks_came(self) -> None:
        """There are new tasks: look at them soon."""
        if self._due_s < math.inf and not self._is_far:
            return  # it is soon as it is
        now_s = self._worker.context.now()
        self._look_at(now_s, now_s + RECALL_AFTER_S)

    def rest(self) -> None:
        """No task is here: look at nothing before one comes."""
        self._deadline_s = math.inf
        if self._is_far:  # a near one costs less than to set it anew with the next task
            self._is_far = False
            self._due_s = math.inf
            self._worker.context.cancel_timer("tick")

    def tick(self) -> None:
        """Do what is due, and set the timer anew."""
        worker = self._worker
        self._due_s = math.inf
        self._is_far = False
        if not worker.ledger.sent and not worker.held:
            self._deadline_s = math.inf
            return
        now_s = worker.context.now()
        if now_s >= self._deadline_s:
            self._expire(now_s)
        due_s = min(self._deadline_s, self._look(now_s))
        if due_s < math.inf:
            self._look_at(now_s, max(due_s, now_s + _SOONEST_S))

    def _look_at(self, now_s: float, due_s: float) -> None:
        if due_s < self._due_s:
            self._due_s = due_s
            self._is_far = due_s - now_s > RECALL_AFTER_S
            self._worker.context.start_timer("tick", max(0.0, due_s - now_s), Tick())

    def _expire(self, now_s: float) -> None:
        """Stop what has passed its deadline, and find the next one."""
        worker = self._worker
        late = [task_id for task_id, held in worker.held.items() if held.entry.due_s <= now_s]
        worker.cancels.expire_held(late)
        if not worker.dying:  # else the death that is under way ends them, or they go back
            sent = worker.ledger.sent.items()
            overdue = [ordinal for ordinal, entry in sent if entry.due_s <= now_s]
            worker.cancels.expire(overdue, Limit.DEADLINE)
        entries = [*worker.ledger.sent.values(), *(held.entry for held in worker.held.values())]
        later = [entry.due_s for entry in entries if entry.due_s > now_s]
        self._deadline_s = min(later, default=math.inf)

    def _look(self, now_s: float) -> float:
        """Look at the running task; return when to do so again."""
        worker = self._worker
        if worker.dying or not worker.ledger.sent:
            return math.inf
        running = worker.executor.running()
        entry = worker.ledger.sent.get(running)
        if entry is None:  # none runs yet, or its row is on the way
            return now_s + RECALL_AFTER_S
        runs_s = worker.executor.running_for()
        due_s = min(self._report(running, entry, runs_s), self._limit(running, entry, runs_s))
        if len(worker.ledger.sent) > 1 or worker.held:
            due_s = min(due_s, self._recall(entry, runs_s))
        return min(now_s + due_s, self._weigh(now_s))

    def _report(self, running: int, entry: Entry, runs_s: float) -> float:
        """Tell once of a task that it runs for a while; return after how long to look again."""
        worker = self._worker
        if self._reported == (worker.number, running):
            return math.inf
        if runs_s < RECALL_AFTER_S:
            return RECALL_AFTER_S - runs_s
        self._reported = (worker.number, running)
        worker.context.tell(worker.scheduler, TaskStarted((entry.task.task_id,)))
        return math.inf

    def _recall(self, entry: Entry, runs_s: float) -> float:
        """Give back what waits behind a long task."""
        patience_s = max(RECALL_AFTER_S, _EXPECTED_FACTOR * entry.expected_us / 1e6)
        if runs_s < patience_s:
            return min(RECALL_AFTER_S, patience_s - runs_s)
        self._worker.give_back()
        self._worker.give_back_held()
        return RECALL_AFTER_S if len(self._worker.ledger.sent) > 1 else math.inf

    def _limit(self, running: int, entry: Entry, runs_s: float) -> float:
        """Stop a task that ran for longer than it may, unless it is being stopped already."""
        policy = entry.task.policy
        if policy is None or policy.timeout_s is None or running in self._worker.cancels.orders:
            return math.inf
        if runs_s < policy.timeout_s:
            return policy.timeout_s - runs_s
        self._worker.cancels.expire([running], Limit.TIMEOUT)
        return math.inf

    def _weigh(self, now_s: float) -> float:
        recycling = self._worker.recycling
        due_s = None if recycling is None else recycling.weigh(now_s)
        return math.inf if due_s is None or self._worker.dying else due_s
