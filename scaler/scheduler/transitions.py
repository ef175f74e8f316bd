"""The life of a task as one table. What is not in it cannot happen.

Rows that other systems got wrong: a result in `CANCELING` answers the cancel; a return in
`CANCELING` confirms it; a second cancel in `CANCELING` is answered like the first; an executor
that dies in `CANCELING` confirms it, and the task never runs again.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from scaler.errors import IllegalTransition


class TaskState(IntEnum):
    """Where a task is."""

    QUEUED = 0
    """It waits for a worker."""
    RUNNING = 1
    """It was sent to a worker, which answers for it."""
    CANCELING = 2
    """The same, and the worker was asked to stop it."""
    SUCCEEDED = 3
    FAILED = 4
    """It raised."""
    WORKER_DIED = 5
    """Its executor died while it ran."""
    CANCELED = 6


class TaskEvent(IntEnum):
    """What happens to a task."""

    DISPATCHED = 0
    SUCCEEDED = 1
    FAILED = 2
    DIED = 3
    """The executor died while the task ran."""
    RETURNED = 4
    """The worker gives it back: it has not begun."""
    CANCEL_REQUESTED = 5
    CANCEL_CONFIRMED = 6
    """It has unwound, or its process was reaped."""
    CANCEL_REFUSED = 7
    """It goes on running."""
    CANCEL_MISSED = 8
    """The worker does not know it, and sent no result."""


TRANSITIONS: Final[Mapping[tuple[TaskState, TaskEvent], TaskState]] = MappingProxyType(
    {
        (TaskState.QUEUED, TaskEvent.DISPATCHED): TaskState.RUNNING,
        (TaskState.QUEUED, TaskEvent.CANCEL_REQUESTED): TaskState.CANCELED,
        (TaskState.RUNNING, TaskEvent.SUCCEEDED): TaskState.SUCCEEDED,
        (TaskState.RUNNING, TaskEvent.FAILED): TaskState.FAILED,
        (TaskState.RUNNING, TaskEvent.DIED): TaskState.WORKER_DIED,
        (TaskState.RUNNING, TaskEvent.RETURNED): TaskState.QUEUED,
        (TaskState.RUNNING, TaskEvent.CANCEL_REQUESTED): TaskState.CANCELING,
        (TaskState.CANCELING, TaskEvent.SUCCEEDED): TaskState.SUCCEEDED,
        (TaskState.CANCELING, TaskEvent.FAILED): TaskState.FAILED,
        (TaskState.CANCELING, TaskEvent.DIED): TaskState.CANCELED,
        (TaskState.CANCELING, TaskEvent.RETURNED): TaskState.CANCELED,
        (TaskState.CANCELING, TaskEvent.CANCEL_REQUESTED): TaskState.CANCELING,
        (TaskState.CANCELING, TaskEvent.CANCEL_CONFIRMED): TaskState.CANCELED,
        (TaskState.CANCELING, TaskEvent.CANCEL_REFUSED): TaskState.RUNNING,
        (TaskState.CANCELING, TaskEvent.CANCEL_MISSED): TaskState.CANCELED,
    }
)


def next_state(state: TaskState, event: TaskEvent) -> TaskState:
    """Return the state after `event`.

    Raises:
        IllegalTransition: the table has no such row: a bug of ours.
    """
    after = TRANSITIONS.get((state, event))
    if after is None:
        raise IllegalTransition(f"{event.name} cannot happen in {state.name}")
    return after
