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

    WAITING = 0
    """For the results that it needs, or, after it failed, for the time of its next attempt."""
    QUEUED = 1
    """It waits for a worker."""
    RUNNING = 2
    """It was sent to a worker, which answers for it."""
    CANCELING = 3
    """The same, and the worker was asked to stop it."""
    SUCCEEDED = 4
    FAILED = 5
    """It raised."""
    TIMED_OUT = 6
    """It was stopped at its timeout or deadline."""
    WORKER_DIED = 7
    """Its executors died while they ran it, too often."""
    CANCELED = 8


class TaskEvent(IntEnum):
    """What happens to a task."""

    DISPATCHED = 0
    SUCCEEDED = 1
    FAILED = 2
    """It raised, and no retry is left."""
    RETRIED = 3
    """It raised, and will be tried again."""
    DUE = 4
    """What it waited for has come."""
    TIMED_OUT = 5
    LOST = 6
    """The executor died while the task ran; it will be tried again."""
    DIED = 7
    """The same, and no attempt is left."""
    RETURNED = 8
    """The worker gives it back: it has not begun."""
    CANCEL_REQUESTED = 9
    CANCEL_CONFIRMED = 10
    """It has unwound, or its process was reaped."""
    CANCEL_REFUSED = 11
    """It goes on running."""
    CANCEL_MISSED = 12
    """The worker does not know it, and sent no result."""
    INPUT_FAILED = 13
    """A task has failed or was cancelled whose result it needs."""


TRANSITIONS: Final[Mapping[tuple[TaskState, TaskEvent], TaskState]] = MappingProxyType(
    {
        (TaskState.WAITING, TaskEvent.DUE): TaskState.QUEUED,
        (TaskState.WAITING, TaskEvent.INPUT_FAILED): TaskState.FAILED,
        (TaskState.WAITING, TaskEvent.TIMED_OUT): TaskState.TIMED_OUT,
        (TaskState.WAITING, TaskEvent.CANCEL_REQUESTED): TaskState.CANCELED,
        (TaskState.QUEUED, TaskEvent.DISPATCHED): TaskState.RUNNING,
        (TaskState.QUEUED, TaskEvent.TIMED_OUT): TaskState.TIMED_OUT,
        (TaskState.QUEUED, TaskEvent.CANCEL_REQUESTED): TaskState.CANCELED,
        (TaskState.RUNNING, TaskEvent.SUCCEEDED): TaskState.SUCCEEDED,
        (TaskState.RUNNING, TaskEvent.FAILED): TaskState.FAILED,
        (TaskState.RUNNING, TaskEvent.RETRIED): TaskState.WAITING,
        (TaskState.RUNNING, TaskEvent.TIMED_OUT): TaskState.TIMED_OUT,
        (TaskState.RUNNING, TaskEvent.LOST): TaskState.QUEUED,
        (TaskState.RUNNING, TaskEvent.DIED): TaskState.WORKER_DIED,
        (TaskState.RUNNING, TaskEvent.RETURNED): TaskState.QUEUED,
        (TaskState.RUNNING, TaskEvent.CANCEL_REQUESTED): TaskState.CANCELING,
        (TaskState.CANCELING, TaskEvent.SUCCEEDED): TaskState.SUCCEEDED,
        (TaskState.CANCELING, TaskEvent.FAILED): TaskState.FAILED,
        (TaskState.CANCELING, TaskEvent.TIMED_OUT): TaskState.TIMED_OUT,
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
