"""Bugs in what becomes of tasks whose executor dies."""

from __future__ import annotations

from typing import Final

from tests.simulation.planted.mutant import Mutant

_SCHEDULER: Final = "scaler/scheduler/"
_WORKER: Final = "scaler/worker/"

LOSSES: Final = (
    Mutant(
        "tasks that come back are dropped",
        _SCHEDULER + "scheduler.py",
        "                self.attempts.put_back(record)\n",
        "                continue\n",
    ),
    Mutant(
        "a worker forgets what had not begun when its executor died",
        _WORKER + "deaths.py",
        "    worker.tell_returned(worker.ledger.ordinals)\n",
        "",
    ),
    Mutant(
        "an innocent is blamed for the death of an executor",
        _WORKER + "deaths.py",
        "    ordinal = worker.executor.running()\n",
        "    ordinal = worker.executor.running() or next(iter(worker.ledger.sent), 0)\n",
    ),
    Mutant(
        "the death of the launcher is blamed on what ran",
        _WORKER + "deaths.py",
        "        status = RowStatus.LOST if blameless else RowStatus.WORKER_DIED\n",
        "        status = RowStatus.WORKER_DIED\n",
    ),
    Mutant(
        "losses by nobody's fault count",
        _SCHEDULER + "attempts.py",
        "        blamed = len(past.losses) - past.blameless\n",
        "        blamed = len(past.losses)\n",
    ),
    Mutant(
        "what may run once runs again when nobody is to blame",
        _SCHEDULER + "attempts.py",
        "        if not is_last and policy.max_attempts > 1 and not row.final:\n",
        "        if not is_last and not row.final:\n",
    ),
    Mutant(
        "a poison task gets one attempt too many",
        _SCHEDULER + "attempts.py",
        "        is_last = blamed >= policy.max_attempts",
        "        is_last = blamed > policy.max_attempts",
    ),
    Mutant(
        "what ran when its executor died comes back as if it had not begun",
        _WORKER + "deaths.py",
        "    worker.tell_returned(worker.ledger.ordinals)\n    if task is not None:\n",
        "    worker.tell_returned([*worker.ledger.ordinals, *(task and [task.task_id] or ())])\n"
        "    if task is not None:\n",
    ),
    Mutant(
        "an executor is sent the first function only",
        _WORKER + "ledger.py",
        "for function in functions if function.function_id not in self._known]",
        "for function in functions if not self._known]",
    ),
    Mutant(
        "what was held while an executor was replaced is lost",
        _WORKER + "worker.py",
        "        self.executor = NoExecutor()\n        self.accepting = False\n",
        "        self.executor = NoExecutor()\n        self.accepting = False\n"
        "        self.held.clear()\n",
    ),
    Mutant(
        "a lost task is not counted up",
        _SCHEDULER + "attempts.py",
        "        elif state is TaskState.QUEUED:\n            self._next_attempt(record)\n",
        "        elif state is TaskState.QUEUED:\n",
    ),
    Mutant(
        "an executor that starts does not end the count of failures",
        _WORKER + "worker.py",
        "            self.starts.failures = 0\n            if not",
        "            if not",
    ),
    Mutant(
        "the first executor that does not start ends the worker",
        _WORKER + "starts.py",
        "        if self.failures >= EXECUTOR_START_FAILURES:\n",
        "        if self.failures:\n",
    ),
    Mutant(
        "after a failed start nobody tries again",
        _WORKER + "starts.py",
        '            self._worker.context.start_timer("start", pause_s, StartDue())\n',
        "            pass\n",
    ),
    Mutant(
        "what kills whoever receives it is never blamed",
        _WORKER + "deaths.py",
        "    return 0 if others or worker.vain_deaths == EXECUTOR_VAIN_DEATHS else first\n",
        "    return 0\n",
    ),
    Mutant(
        "the first that was received is blamed at once",
        _WORKER + "deaths.py",
        "    if worker.vain_deaths < EXECUTOR_VAIN_DEATHS:\n        return 0\n",
        "    if worker.vain_deaths < EXECUTOR_VAIN_DEATHS:\n"
        "        return next(iter(worker.ledger.sent))\n",
    ),
    Mutant(
        "a process that cannot be killed is waited for without end",
        _WORKER + "worker.py",
        "            abandon(self)\n",
        "            pass\n",
    ),
    Mutant(
        "what runs in a process that cannot be killed runs again elsewhere",
        _SCHEDULER + "attempts.py",
        " and policy.max_attempts > 1 and not row.final:\n",
        " and policy.max_attempts > 1:\n",
    ),
    Mutant(
        "the worker of a process that could not be killed stays out of use",
        _WORKER + "worker.py",
        "            if not self.connected or self.abandoned:\n",
        "            if not self.connected:\n",
    ),
)
