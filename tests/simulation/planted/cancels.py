"""Bugs in cancels."""

from __future__ import annotations

from typing import Final

from tests.simulation.planted.mutant import Mutant

_SCHEDULER: Final = "scaler/scheduler/"
_WORKER: Final = "scaler/worker/"
_CLIENT: Final = "scaler/client/"

CANCELS: Final = (
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
        _SCHEDULER + "deliveries.py",
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
        "        elif is_sooner:\n",
        "        elif False:\n",
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
    Mutant(
        "a soft cancel stops what runs",
        _WORKER + "cancels.py",
        "            elif order.force:\n",
        "            elif order:\n",
    ),
    Mutant(
        "the force of a second cancel does not travel",
        _SCHEDULER + "cancels.py",
        "        if not canceling or (force and (not record.force or grace_s is not None)):\n",
        "        if not canceling:\n",
    ),
    Mutant(
        "a cancel that is refused is taken for one that is confirmed",
        _SCHEDULER + "cancels.py",
        "    Confirm.CancelFailed: TaskEvent.CANCEL_REFUSED,",
        "    Confirm.CancelFailed: TaskEvent.CANCEL_CONFIRMED,",
    ),
    Mutant(
        "what is not queued of a batch is not cancelled",
        _CLIENT + "future_manager.py",
        "self._cancel_each(rest, msgspec",
        "self._cancel_each((), msgspec",
    ),
    Mutant(
        "a cancel whose time is up is not asked for again",
        _CLIENT + "cancels.py",
        "                self._ask(task_id, force, grace_s, CANCEL_TIMEOUT_S)\n",
        "                pass\n",
    ),
    Mutant(
        "a client that leaves is let go while its tasks run",
        _SCHEDULER + "departures.py",
        "        if client.leaving is None or client.open:\n",
        "        if client.leaving is None:\n",
    ),
    Mutant(
        "nobody says when the last task of a leaving client has ended",
        _SCHEDULER + "scheduler.py",
        "            self.departures.farewell(client)\n",
        "            pass\n",
    ),
)
