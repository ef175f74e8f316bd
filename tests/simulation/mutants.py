"""The planted bugs: one edit each, of the kind that is made by mistake."""

from __future__ import annotations

from typing import Final, NamedTuple


class Mutant(NamedTuple):
    """One edit."""

    name: str
    file: str
    right: str
    """What stands there, exactly once."""
    wrong: str
    """What stands there instead."""


_SCHEDULER: Final = "scaler/scheduler/"
_WORKER: Final = "scaler/worker/"
_CLIENT: Final = "scaler/client/"
_CORE: Final = "actors/core/"

MUTANTS: Final = (
    # --- cancels --------------------------------------------------------------------------------
    Mutant(
        "the scheduler confirms a cancel before the worker did",
        _SCHEDULER + "cancels.py",
        "            self._ask(record, force, grace_s)\n\n    def drop(",
        "            self._ask(record, force, grace_s)\n"
        "            self.confirm(record, waiting, Confirm.Canceled)\n\n    def drop(",
    ),
    Mutant(
        "the worker confirms a cancel before the task has unwound",
        _WORKER + "cancels.py",
        "        self.orders[ordinal] = order\n        if worker.dying:",
        "        self.orders[ordinal] = order\n"
        "        _confirm(order, TaskCancelConfirmType.Canceled)\n"
        "        if worker.dying:",
    ),
    Mutant(
        "the worker confirms a cancel before what the task left behind is gone",
        _WORKER + "cancels.py",
        "        order.unwound = row\n        return True",
        "        order.unwound = row\n        return False",
    ),
    Mutant(
        "a second cancel is not answered by the scheduler",
        _SCHEDULER + "cancels.py",
        "        if reply is not None:\n            waiting.append(reply)",
        "        if reply is not None and not canceling:\n            waiting.append(reply)",
    ),
    Mutant(
        "a second cancel is not answered by the worker",
        _WORKER + "cancels.py",
        "        order.replies += later.replies\n",
        "",
    ),
    Mutant(
        "a cancelled task that comes back runs again",
        _SCHEDULER + "transitions.py",
        "(TaskState.CANCELING, TaskEvent.RETURNED): TaskState.CANCELED,",
        "(TaskState.CANCELING, TaskEvent.RETURNED): TaskState.QUEUED,",
    ),
    Mutant(
        "the death of the executor is no answer to a cancel",
        _SCHEDULER + "transitions.py",
        "(TaskState.CANCELING, TaskEvent.DIED): TaskState.CANCELED,",
        "(TaskState.CANCELING, TaskEvent.DIED): TaskState.WORKER_DIED,",
    ),
    Mutant(
        "a result that crosses a cancel does not answer it",
        _SCHEDULER + "scheduler.py",
        "            reply.send(TaskResult((row,)))\n",
        "            break\n",
    ),
    Mutant(
        "a result that crosses a cancel is delivered all the same",
        _CLIENT + "cancels.py",
        "    return CancelOutcome.RESULT, not cancel_finished",
        "    return CancelOutcome.RESULT, True",
    ),
    Mutant(
        "a cancel kills whatever runs",
        _WORKER + "cancels.py",
        "            if running != ordinal and not is_alone:\n",
        "            if False:\n",
    ),
    Mutant(
        "the grace of a cancel never ends",
        _WORKER + "cancels.py",
        "        elif due_s < order.due_s:\n",
        "        elif due_s < 0:\n",
    ),
    Mutant(
        "the oldest of several interrupted tasks is the one that is told",
        _WORKER + "cancels.py",
        "ordinal == max(self.orders)",
        "ordinal == min(self.orders)",
    ),
    Mutant(
        "a caller of cancel is not told that it was decided",
        _CLIENT + "cancels.py",
        "        cancel = self._open.pop(task_id, None)\n"
        "        if cancel is not None:\n"
        "            self._dismiss(cancel.callers)",
        "        cancel = self._open.pop(task_id, None)\n"
        "        if cancel is not None:\n"
        "            self._dismiss(cancel.callers[1:])",
    ),
    Mutant(
        "not found and canceled are mixed up",
        _CLIENT + "future_manager.py",
        "found = message.type is TaskCancelConfirmType.Canceled",
        "found = message.type is not TaskCancelConfirmType.Canceled",
    ),
    Mutant(
        "a batch of cancels drops what runs, too",
        _SCHEDULER + "cancels.py",
        "record is not None and record.state is TaskState.QUEUED",
        "record is not None",
    ),
    # --- credits and tables ---------------------------------------------------------------------
    Mutant(
        "the client's credit is forgotten when a cancel is confirmed",
        _CLIENT + "future_manager.py",
        "        self._release(entry[1])\n        found =",
        "        found =",
    ),
    Mutant(
        "the client's credit in bytes is forgotten",
        _CLIENT + "future_manager.py",
        "        self._released_bytes += size_bytes\n",
        "",
    ),
    Mutant(
        "a worker's load is never taken off",
        _SCHEDULER + "placement.py",
        "        worker.load_us -= record.expected_us\n",
        "",
    ),
    Mutant(
        "a worker that became idle is forgotten",
        _SCHEDULER + "placement.py",
        "            worker.blocked = False\n        self.admit(worker)\n",
        "            worker.blocked = False\n",
    ),
    Mutant(
        "the queue counts tasks that were dropped",
        _SCHEDULER + "records.py",
        '        """One of the queued tasks was struck from `records`."""\n'
        "        self.length -= 1\n",
        '        """One of the queued tasks was struck from `records`."""\n',
    ),
    Mutant(
        "a client's tasks are not counted down",
        _SCHEDULER + "scheduler.py",
        "        client.open -= 1\n",
        "",
    ),
    Mutant(
        "the timer of a deadline outlives its task",
        _SCHEDULER + "attempts.py",
        'for kind in ("deadline", "retry"):',
        'for kind in ("retry",):',
    ),
    # --- losses ---------------------------------------------------------------------------------
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
        "            RowStatus.LOST if blameless else RowStatus.WORKER_DIED,\n",
        "            RowStatus.WORKER_DIED,\n",
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
        "        if not is_last and policy.max_attempts > 1:\n",
        "        if not is_last:\n",
    ),
    Mutant(
        "a poison task gets one attempt too many",
        _SCHEDULER + "attempts.py",
        "        is_last = blamed >= policy.max_attempts",
        "        is_last = blamed > policy.max_attempts",
    ),
    Mutant(
        "rows of an executor that was given up are taken for its successor's",
        _WORKER + "worker.py",
        "        if message.number != self.number:\n"
        "            return\n"
        "        passed: list[TaskRow] = []\n",
        "        passed: list[TaskRow] = []\n",
    ),
    Mutant(
        "what was held while an executor was replaced is lost",
        _WORKER + "worker.py",
        "        self.executor = NoExecutor()\n        self.accepting = False\n",
        "        self.executor = NoExecutor()\n        self.accepting = False\n"
        "        self.held.clear()\n",
    ),
    # --- retries and limits ---------------------------------------------------------------------
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
    # --- the actors' own ground -----------------------------------------------------------------
    Mutant(
        "an ask is answered twice",
        _CORE + "context.py",
        "            self._asker.deliver(Reply(self._request, message))\n",
        "            self._asker.deliver(Reply(self._request, message))\n"
        "            self._asker.deliver(Reply(self._request, message))\n",
    ),
    Mutant(
        "an ask whose time is up is never ended",
        _CORE + "node.py",
        "            self._answer(number, ask, late_error(ask.target))\n",
        "            continue\n",
    ),
    Mutant(
        "a cancelled timer fires",
        _CORE + "timers.py",
        "        if cell.timers.pop(key, None) is not None:\n"
        "            self._live -= 1\n\n    def cancel_all",
        "        return\n\n    def cancel_all",
    ),
)
