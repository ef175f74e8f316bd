"""The table of a task's life: each row, and each that is missing."""

from __future__ import annotations

import itertools

import pytest

from scaler.errors import IllegalTransition
from scaler.scheduler.transitions import TRANSITIONS, TaskEvent, TaskState, next_state

S, E = TaskState, TaskEvent

ROWS = [
    (S.WAITING, E.DUE, S.QUEUED),
    (S.WAITING, E.TIMED_OUT, S.TIMED_OUT),
    (S.WAITING, E.CANCEL_REQUESTED, S.CANCELED),
    (S.QUEUED, E.DISPATCHED, S.RUNNING),
    (S.QUEUED, E.TIMED_OUT, S.TIMED_OUT),
    (S.QUEUED, E.CANCEL_REQUESTED, S.CANCELED),
    (S.RUNNING, E.SUCCEEDED, S.SUCCEEDED),
    (S.RUNNING, E.FAILED, S.FAILED),
    (S.RUNNING, E.RETRIED, S.WAITING),
    (S.RUNNING, E.TIMED_OUT, S.TIMED_OUT),
    (S.WAITING, E.INPUT_FAILED, S.FAILED),
    (S.RUNNING, E.LOST, S.QUEUED),
    (S.RUNNING, E.DIED, S.WORKER_DIED),
    (S.RUNNING, E.RETURNED, S.QUEUED),
    (S.RUNNING, E.CANCEL_REQUESTED, S.CANCELING),
    (S.CANCELING, E.SUCCEEDED, S.SUCCEEDED),
    (S.CANCELING, E.FAILED, S.FAILED),
    (S.CANCELING, E.TIMED_OUT, S.TIMED_OUT),
    (S.CANCELING, E.DIED, S.CANCELED),
    (S.CANCELING, E.RETURNED, S.CANCELED),
    (S.CANCELING, E.CANCEL_REQUESTED, S.CANCELING),
    (S.CANCELING, E.CANCEL_CONFIRMED, S.CANCELED),
    (S.CANCELING, E.CANCEL_REFUSED, S.RUNNING),
    (S.CANCELING, E.CANCEL_MISSED, S.CANCELED),
]
LEGAL = {(state, event) for state, event, _ in ROWS}
MISSING = [pair for pair in itertools.product(S, E) if pair not in LEGAL]


@pytest.mark.parametrize(("state", "event", "after"), ROWS)
def test_each_row_leads_where_it_says(state, event, after):
    assert next_state(state, event) is after


@pytest.mark.parametrize(("state", "event"), MISSING)
def test_what_is_not_in_the_table_cannot_happen(state, event):
    with pytest.raises(IllegalTransition, match=f"{event.name} cannot happen in {state.name}"):
        next_state(state, event)


def test_the_rows_above_are_all_there_are():
    assert set(TRANSITIONS) == LEGAL


def test_nothing_leaves_a_final_state():
    final = [state for state in S if all((state, event) in MISSING for event in E)]
    assert final == [S.SUCCEEDED, S.FAILED, S.TIMED_OUT, S.WORKER_DIED, S.CANCELED]


def test_a_task_can_be_cancelled_in_every_state_that_is_not_final():
    assert [state for state in S if (state, E.CANCEL_REQUESTED) in LEGAL] == [
        S.WAITING,
        S.QUEUED,
        S.RUNNING,
        S.CANCELING,
    ]


def test_the_table_cannot_be_changed():
    assert not hasattr(TRANSITIONS, "__setitem__")
