"""Bugs in retries, timeouts, deadlines, recycling, recalls."""

from __future__ import annotations

from typing import Final

from tests.simulation.planted.mutant import Mutant

_SCHEDULER: Final = "scaler/scheduler/"
_WORKER: Final = "scaler/worker/"

LIMITS: Final = (
    Mutant(
        "an exception is retried once too often",
        _SCHEDULER + "attempts.py",
        "past.failures >= policy.retries:",
        "past.failures > policy.retries:",
    ),
    Mutant(
        "a retry that is due is forgotten",
        _SCHEDULER + "attempts.py",
        "            self._scheduler.placement.enqueue(record)\n",
        "",
    ),
    Mutant(
        "a retry does not wait for its backoff",
        _SCHEDULER + "attempts.py",
        "        if past.wait_s > 0:\n",
        "        if past.wait_s > 1e9:\n",
    ),
    Mutant(
        "the attempt of a retry has the number of the last",
        _SCHEDULER + "attempts.py",
        "attempt=record.task.attempt + 1)",
        "attempt=record.task.attempt)",
    ),
    Mutant(
        "what is queued never meets its deadline",
        _SCHEDULER + "attempts.py",
        "        if record is not None and record.state <= TaskState.QUEUED:\n"
        "            self._expire(record)\n",
        "        return\n",
    ),
    Mutant(
        "workers are not told of deadlines",
        _SCHEDULER + "records.py",
        "past.deadline_s < math.inf\n",
        "past.deadline_s < 0\n",
    ),
    Mutant(
        "a timeout is looked at, and nothing is done",
        _WORKER + "watch.py",
        "        self._worker.cancels.expire([running], Limit.TIMEOUT)\n",
        "",
    ),
    Mutant(
        "an executor runs one task more than it may",
        _WORKER + "recycling.py",
        "        return max(0, self._max_tasks - self._worker.ledger.used)\n",
        "        return max(0, self._max_tasks + 1 - self._worker.ledger.used)\n",
    ),
    Mutant(
        "what no retry can help is tried again",
        _SCHEDULER + "attempts.py",
        "record.state is TaskState.CANCELING or row.final or past",
        "record.state is TaskState.CANCELING or past",
    ),
    Mutant(
        "what is being cancelled is retried",
        _SCHEDULER + "attempts.py",
        "if record.state is TaskState.CANCELING or row.final or",
        "if row.final or",
    ),
    Mutant(
        "what no executor has never meets its deadline",
        _WORKER + "watch.py",
        "        worker.cancels.expire_held(late)\n",
        "",
    ),
    Mutant(
        "only the last deadline that came is looked at",
        _WORKER + "watch.py",
        "            self._deadline_s = min(self._deadline_s, now_s + seconds)\n",
        "            self._deadline_s = now_s + seconds\n",
    ),
    Mutant(
        "what waits is said to run",
        _WORKER + "watch.py",
        "TaskStarted((entry.task.task_id,))",
        "TaskStarted(tuple(worker.ledger.ordinals))",
    ),
    Mutant(
        "an executor above its memory limit goes on",
        _WORKER + "recycling.py",
        "        if rss_bytes > self._max_bytes:\n",
        "        if rss_bytes > 2 * self._max_bytes:\n",
    ),
)
