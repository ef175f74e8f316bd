"""What really happened, written down by the models; and what must hold at each step.

Nothing here asks the product. Executors say what began, ended and died; clients say what users
called and what they were told.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from actors.testkit.simulation import InvariantError
from scaler.limits import BLAMELESS_LOSSES, EXECUTOR_VAIN_DEATHS, MEMORY_CHECK_S
from scaler.protocol.tasks import RowStatus, Task, TaskRow
from tests.simulation.plans import FINAL, Style, TaskPlan
from tests.simulation.runs import How, Run, TaskTruth, is_stuck

if TYPE_CHECKING:
    from tests.simulation.executor import SimExecutor
    from tests.simulation.process import SimProcess


ENDED = (How.VALUE, How.RAISED, How.INTERRUPTED)
RETURNS_MAX = 500
"""A task that comes back more often goes round in circles."""

BLAMED = (How.DIED, How.CRASHED)
"""Ends of a process that count against the task; one that is stopped is never run again."""


_TRULY = {
    RowStatus.SUCCEEDED: (How.VALUE,),
    RowStatus.FAILED: (How.RAISED,),
    RowStatus.INTERRUPTED: (How.INTERRUPTED,),
    RowStatus.WORKER_DIED: (*BLAMED, How.TOO_LARGE, How.LOST),
    RowStatus.LOST: (How.LOST, How.TOO_LARGE),
}
"""What must have happened to an attempt of which a row tells."""


class Truth:
    """The books of one world."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.tasks: dict[int, TaskTruth] = {}
        self.alive: dict[str, SimExecutor] = {}
        """The executor of each worker."""
        self.marks: Counter[str] = Counter()
        """What was seen to happen: over many seeds, all of it must happen sometimes."""
        self.broken_s = math.inf
        """When something ended that breaks the cluster."""
        self.failed: InvariantError | None = None
        """The first thing that was wrong: callbacks may not let it through."""
        self.vain_deaths: dict[str, int] = {}
        """How many executors of a worker have died in a row with tasks at hand and none begun."""
        self.vain_number: dict[tuple[str, int], int] = {}
        """The how manieth of these each was, by worker and process."""
        self.memory_limit_bytes = 0
        self.max_tasks = 0
        """Per executor; 0: any number."""
        self.damaged: dict[bytes, None] = {}
        """Objects, by their names, whose bytes on disk are not what was written."""
        self.calm = True
        """No node stands still for long."""
        self.gives_grace = True
        """What is stopped can unwind before it is killed."""
        self.failed_starts: Counter[str] = Counter()
        """Of executors of a worker, in a row."""
        self.stop_s = math.inf
        """How long it may take to stop a task, from the wish to the end."""
        self.quick_stop_s = math.inf
        """The same for one that unwinds at once."""

    def fail(self, invariant: str, detail: str) -> NoReturn:
        """Something that must hold does not."""
        self.failed = self.failed or InvariantError(invariant, detail)
        raise self.failed

    # --- users ------------------------------------------------------------------------------

    def submitted(
        self,
        plan: TaskPlan,
        place: int,
        task_id: int,
        needs: tuple[int, ...] = (),
        names: tuple[bytes, ...] = (),
    ) -> None:
        """A user got a future."""
        self.tasks[task_id] = TaskTruth(plan, place, task_id, self.now(), needs, names)

    def names_for(self, task_id: int) -> tuple[bytes, ...]:
        """Return what must be in the large arguments of a task that begins."""
        task = self.tasks[task_id]
        names = [name for need in task.needs for name in self.tasks[need].runs[-1].names]
        return (*task.names, *names)

    def resolved(self, task_id: int) -> None:
        """A user was told what became of the task."""
        self.tasks[task_id].resolved_s = self.now()

    def wanted(self, task_id: int, *, force: bool, at_once: bool = False) -> None:
        """A user (or the end of one) wants the task stopped."""
        task = self.tasks[task_id]
        task.is_asked_to_stop = True
        if force:
            task.at_once = task.at_once or at_once
            task.forced_s = min(task.forced_s, self.now())

    def promised(self, task_id: int, what: str) -> None:
        """It was said that the task does not run and never will again."""
        task = self.tasks.get(task_id)
        if task is None:
            self.fail("truth", f"{what} for task {task_id}, which nobody submitted")
        if task.running is not None:
            self.fail("stopped", f"{what}, but it runs: {task}")
        if task.runs and task.runs[-1].left_behind:
            self.fail("stopped", f"{what}, but what it left behind runs: {task}")
        task.no_more_since = task.no_more_since or what

    # --- what is told -----------------------------------------------------------------------

    def came_back(self, task_ids: tuple[int, ...]) -> None:
        """A worker says that these have not begun there."""
        for task_id in task_ids:
            task = self.tasks[task_id]
            task.returns += 1
            if task.returns > RETURNS_MAX:
                self.fail("livelock", f"it comes back again and again: {task}")
            if task.running is not None and self.now() < self.broken_s:
                self.fail("recall", f"returned, but it runs: {task}")

    def started(self, task_ids: tuple[int, ...]) -> None:
        """It is said that these run."""
        for task_id in task_ids:
            if not self.tasks[task_id].runs:
                self.fail("running", f"said to run, but it never began: {self.tasks[task_id]}")

    def told(self, row: TaskRow) -> None:
        """A row is on its way: it must say what became of the attempt."""
        if row.status is RowStatus.INTERNAL:
            self.fail("internal", row.payload.decode())
        truly = _TRULY.get(row.status)
        if truly is None or self.broken_s <= self.now():
            return
        task = self.tasks[row.task_id]
        run = next((run for run in reversed(task.runs) if run.attempt == row.attempt), None)
        if run is None and b"before the task had begun" in row.payload:
            self._blamed_in_vain(task, row)
        elif run is None or (run.how not in truly and not is_stuck(run)):
            self.fail("rows", f"{row} is not what happened: {task}")

    def _blamed_in_vain(self, task: TaskTruth, row: TaskRow) -> None:
        """It is to blame that it has not begun: only after some that died so, one by one."""
        if row.attempt not in task.vain:
            if self.vain_number.get((row.worker, row.pid), 0) <= EXECUTOR_VAIN_DEATHS:
                self.fail("innocent", f"{row}, but it has not begun: {task}")
            task.vain[row.attempt] = None
            self.marks["a task killed who received it"] += 1

    # --- executors --------------------------------------------------------------------------

    def begin(self, executor: SimProcess, ordinal: int, message: Task) -> Run:
        """A task starts."""
        task = self.tasks.get(message.task_id)
        if task is None:
            self.fail("truth", f"task {message.task_id} starts, which nobody submitted")
        self._check_start(task, message)
        self._check_inputs(task, message)
        now_s = self.now()
        number = len(task.runs) + 1
        run = Run(task.plan, task.task_id, number, message.attempt, executor.worker, now_s)
        task.runs.append(run)
        if run.number > 1:
            self.marks["a task ran again"] += 1
        return run

    def _check_start(self, task: TaskTruth, message: Task) -> None:
        if task.no_more_since:
            self.fail("stopped", f"{task.no_more_since}, but it starts: {task}")
        starts = len(task.runs) + len(task.vain) + 1
        lost_unseen = self.broken_s <= self.now()  # a worker that ends may not have begun them
        if message.attempt < starts or (message.attempt > starts and not lost_unseen):
            self.fail("attempts", f"start {starts} is attempt {message.attempt}: {task}")
        if not task.runs:
            return
        policy, last = task.plan.policy, task.runs[-1]
        at_most_once = policy.max_attempts == 1 and policy.retries == 0
        if self.broken_s <= self.now() and last.how is not None and not at_most_once:
            return  # what a host that is gone has said last may be lost
        if last.how is None:
            self.fail("attempts", f"it starts while it runs: {task}")
        if last.how is How.RAISED:
            failures = task.count(How.RAISED)
            if last.ending in FINAL or failures > policy.retries:
                self.fail("attempts", f"it starts again, after its last retry: {task}")
            wait_s = min(policy.backoff_s * 2.0 ** (failures - 1), policy.backoff_max_s)
            if self.now() - last.ended_s < wait_s * (1.0 - policy.jitter) - 1e-6:
                self.fail("backoff", f"it starts again, before its wait is over: {task}")
        elif last.how is How.LOST or last.how is How.TOO_LARGE or last.how in BLAMED:
            blameless = task.count(How.LOST)  # one that is too large may be to blame, or not
            blamed = task.count(*BLAMED) + len(task.vain)
            is_last = blamed >= policy.max_attempts or policy.max_attempts == 1
            if is_last or blameless > BLAMELESS_LOSSES:
                self.fail("attempts", f"it starts again, after its last attempt: {task}")
        else:
            self.fail("attempts", f"it starts again, though it has ended: {task}")

    def _check_inputs(self, task: TaskTruth, message: Task) -> None:
        """It begins with what each of the tasks that it needs has returned."""
        if not task.needs and not message.inputs:
            return
        returned = [needed.result for needed in map(self.tasks.__getitem__, task.needs)]
        inputs = [body and body.payload for body in message.inputs]
        if inputs != returned or None in returned:
            self.fail("inputs", f"it begins with {message.inputs}, not {returned}: {task}")
        self.marks["a task began with results of others"] += 1

    def end(self, run: Run, how: How) -> None:
        """A run came to an end of its own, or unwound."""
        self._note_end(run, how)
        self.vain_deaths[run.worker] = 0
        if how is How.INTERRUPTED and not self._may_be_stopped(run):
            self.fail("innocent", f"interrupted, and nobody wanted that: {self.tasks[run.task_id]}")

    def kill_wanted(self, run: Run | None, rss_bytes: int, *, told: bool) -> How:
        """A worker kills its executor: what runs there must be what is to be stopped, and it must
        have been told before, so that it could have unwound.
        """
        if run is not None and run.how is None:
            if 0 < self.memory_limit_bytes < rss_bytes:
                return How.TOO_LARGE
            if not self._may_be_stopped(run):
                self.fail("innocent", f"killed, and nobody wanted that: {self.tasks[run.task_id]}")
            has_grace = self.gives_grace and not self.tasks[run.task_id].at_once
            if has_grace and not told and self.now() < self.broken_s:
                self.fail("grace", f"killed without a word: {self.tasks[run.task_id]}")
        return How.KILLED

    def check_recycled(self, executor: SimProcess, begun: int) -> None:
        """An executor begins another task: is it still allowed to?"""
        if 0 < self.max_tasks < begun:
            self.fail("recycling", f"{executor} begins task {begun} of {self.max_tasks}")

    def die(self, executor: SimProcess, run: Run | None, how: How) -> None:
        """A process is gone."""
        if run is not None:
            run.left_behind = False
        if run is not None and run.how is None:
            self._note_end(run, how)
            self.marks[f"a task's {how.value}"] += 1
            if self.tasks[run.task_id].forced_s < self.now() and how is not How.KILLED:
                self.marks["an executor died while its task was being cancelled"] += 1
            self.vain_deaths[executor.worker] = 0
        elif executor.has_claims:
            self.marks["an executor died with claims"] += 1
            if how is not How.LOST:
                self.died_in_vain(executor)

    def died_in_vain(self, executor: SimProcess) -> None:
        """It died with tasks at hand and none begun, or they were sent before that was known."""
        vain = self.vain_deaths[executor.worker] = self.vain_deaths.get(executor.worker, 0) + 1
        self.vain_number[executor.worker, executor.pid] = vain
        executor.is_vain = True

    def _note_end(self, run: Run, how: How) -> None:
        """Write down how a run ended; one with a limit must not have gone on for long."""
        run.how, run.ended_s = how, self.now()
        task = self.tasks[run.task_id]
        policy = task.plan.policy
        limit_s = math.inf if policy.timeout_s is None else run.began_s + policy.timeout_s
        if policy.deadline_s is not None:
            limit_s = min(limit_s, max(run.began_s, task.submitted_s + policy.deadline_s))
        unwinds = task.plan.style is Style.UNWINDS and task.forced_s == math.inf
        stop_s = self.quick_stop_s if unwinds else self.stop_s
        stopped_s = min(run.ended_s, run.stuck_s)
        if stopped_s >= self.broken_s:
            return
        if stopped_s > limit_s + stop_s:
            self.fail("timeout", f"it ran until {stopped_s}, long after {limit_s}: {task}")
        is_large = 0 < self.memory_limit_bytes < task.plan.rss_bytes
        if is_large and stopped_s > run.began_s + MEMORY_CHECK_S + self.quick_stop_s:
            self.fail("memory", f"it ran for long above the limit: {task}")

    def _may_be_stopped(self, run: Run) -> bool:
        """Whether somebody wants the run to end: a user, the end of one, or one of its limits."""
        task = self.tasks[run.task_id]
        now_s, policy = self.now(), task.plan.policy
        if task.forced_s <= now_s or self.broken_s <= now_s:
            return True
        if policy.timeout_s is not None and now_s - run.began_s >= policy.timeout_s - 1e-6:
            self.marks["stopped at its timeout"] += 1
            return True
        if policy.deadline_s is not None and now_s - task.submitted_s >= policy.deadline_s - 1e-6:
            self.marks["stopped at its deadline"] += 1
            return True
        return False
