"""Bugs in the books: credits, tables, what is told to clients."""

from __future__ import annotations

from typing import Final

from tests.simulation.planted.mutant import Mutant

_SCHEDULER: Final = "scaler/scheduler/"
_CLIENT: Final = "scaler/client/"

BOOKS: Final = (
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
    Mutant(
        "a batch of credit is given back again with the next",
        _CLIENT + "future_manager.py",
        "        self._released_tasks = self._released_bytes = 0\n        if tasks:\n",
        "        self._released_bytes = 0\n        if tasks:\n",
    ),
    Mutant(
        "a future that has its answer stays open",
        _CLIENT + "future_manager.py",
        "            entry = self.open.pop(row.task_id, None)\n",
        "            entry = self.open.get(row.task_id)\n",
    ),
    Mutant(
        "a future does not wait for what its task has printed",
        _CLIENT + "future_manager.py",
        "            if row.task_id in self.printed:\n",
        "            if row.task_id in self.printed and self.leaving:\n",
    ),
    Mutant(
        "a result is told to its client twice",
        _SCHEDULER + "deliveries.py",
        "            rows, client.rows = client.rows, []\n",
        "            rows = client.rows\n",
    ),
)
