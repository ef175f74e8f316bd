"""What rows carry: values that name the run they come from, errors, and what cannot be opened."""

from __future__ import annotations

import pickle
from functools import cache
from typing import Any

from scaler.errors import ObjectStoreFullError, SerializationError
from scaler.protocol.tasks import RowStatus
from scaler.serialization.exceptions import dump_exception
from tests.simulation.plans import Ending
from tests.simulation.runs import Run

GARBAGE = b"\x80\x05."
"""A pickle that does not open."""


class PlannedError(Exception):
    """What a task raises by its plan."""


def of(run: Run, status: RowStatus) -> bytes:
    """Return the payload of the row in which `run` ends with `status`."""
    if status is RowStatus.INTERRUPTED:
        return b""
    if status is RowStatus.FAILED:
        return _error(run.ending)
    if run.ending is Ending.BAD_VALUE_HERE:
        return GARBAGE
    large = [pickle.PickleBuffer(name) for name in run.names]
    return pickle.dumps((*value_of(run), *large), 5, buffer_callback=lambda _: None)


def value_of(run: Run) -> Any:
    """Return what a run returns, and no other run does; what is large comes after it."""
    return (run.task_id, run.number)


@cache
def _error(ending: Ending) -> bytes:
    if ending is Ending.BAD_ERROR_HERE:
        return GARBAGE
    if ending in (Ending.BAD_ARGUMENTS, Ending.BAD_VALUE, Ending.BAD_ERROR):
        return dump_exception(SerializationError(ending.name), note="by plan")
    if ending is Ending.NO_ROOM:
        return dump_exception(ObjectStoreFullError(ending.name), note="by itself")
    return dump_exception(PlannedError(ending.name), note="by plan")
