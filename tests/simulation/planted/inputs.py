"""Bugs in the way results become arguments of other tasks."""

from __future__ import annotations

from typing import Final

from tests.simulation.planted.mutant import Mutant

_INPUTS: Final = "scaler/scheduler/inputs.py"

INPUTS: Final = (
    Mutant(
        "a task begins before all that it needs is there",
        _INPUTS,
        "        if len(there) < len(task.needs):\n            return\n"
        "        inputs = tuple([there[one] for one in task.needs])\n",
        "        inputs = tuple([there.get(one, value) for one in task.needs])\n",
    ),
    Mutant(
        "results come in the order in which they ended",
        _INPUTS,
        "        inputs = tuple([there[one] for one in task.needs])\n",
        "        inputs = tuple(there.values())\n",
    ),
    Mutant(
        "nobody is told that what it needs was cancelled",
        _INPUTS,
        "        if record.state is TaskState.CANCELED:\n            self.ended(record, None)\n",
        "",
    ),
    Mutant(
        "what failed is passed on as a result",
        _INPUTS,
        "        if row is not None and row.status is RowStatus.SUCCEEDED:\n",
        "        if row is not None:\n",
    ),
    Mutant(
        "what had ended before is not asked for",
        "scaler/client/inputs.py",
        "        for pair in answer.pairs:\n",
        "        for pair in answer.pairs[:0]:\n",
    ),
    Mutant(
        "a task that ended goes on waiting for what it needs",
        _INPUTS,
        "        self._forget(record)\n        if record.state",
        "        if record.state",
    ),
)
