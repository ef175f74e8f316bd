"""What the row of a task means to its future: a value, an exception, a profile, an input."""

from __future__ import annotations

from concurrent.futures._base import FINISHED
from typing import TYPE_CHECKING, Any, Final

from actors import LazyFuture
from scaler.client.outcome import ProfilingInfo
from scaler.errors import (
    InputFailedError,
    InternalError,
    SerializationError,
    TaskTimeoutError,
    WorkerDiedError,
)
from scaler.protocol.inputs import unpack_failed_input
from scaler.protocol.tasks import RowStatus, TaskRow
from scaler.serialization.exceptions import load_exception
from scaler.serialization.inputs import check_collecting, place_of
from scaler.serialization.values import load_value

if TYPE_CHECKING:
    from scaler.client.future import ScalerFuture
    from scaler.objects.memory import ObjectMemory

_SUCCEEDED: Final = RowStatus.SUCCEEDED

_ERRORS: Final = {
    RowStatus.WORKER_DIED: WorkerDiedError,
    RowStatus.LOST: WorkerDiedError,
    RowStatus.TIMED_OUT: TaskTimeoutError,
    RowStatus.INTERNAL: InternalError,
}
"""What a row that is text raises."""


def open_row(row: TaskRow, name: str, objects: ObjectMemory) -> tuple[Any, BaseException | None]:
    """Return value and exception of an attempt that ended, whose buffers are in `objects`."""
    if row.status is RowStatus.INPUT_FAILED:
        failed = unpack_failed_input(row.payload)
        error = InputFailedError(f"{name}: {failed.text}")
        if failed.status is not None:
            error.__cause__ = _error_of(failed.status, failed.payload, failed.text)
        return None, error
    if row.status is not _SUCCEEDED:
        return None, _error_of(row.status, row.payload, name)
    try:
        if row.objects:
            return load_value(*objects.unpack(row.payload, row.objects)), None
        return load_value(row.payload), None
    except SerializationError as error:
        error.add_note(f"task {row.task_id}, run by {row.worker} (pid {row.pid})")
        return None, error


def _error_of(status: RowStatus, payload: bytes, name: str) -> BaseException:
    """Return what an attempt raised, or why it came to no end of its own."""
    kind = _ERRORS.get(status)
    if kind is not None:
        return kind(f"{name}: {payload.decode(errors='replace')}")
    return load_exception(payload)


def profile_of(row: TaskRow, submitted_s: float) -> ProfilingInfo:
    """Return where and how long a task ran that was submitted at that time."""
    started_s, ended_s = row.started_s, row.ended_s
    return ProfilingInfo(
        queued_s=max(0.0, started_s - submitted_s),
        started_s=started_s,
        ended_s=ended_s,
        run_s=ended_s - started_s,
        cpu_s=row.cpu_s,
        rss_bytes=row.rss_bytes,
        worker=row.worker,
        pid=row.pid,
        attempt=row.attempt,
    )


def reduced(future: ScalerFuture) -> tuple[Any, ...]:
    """Return what a future pickles as, among the arguments of a task: a place for its value.

    If the value was opened and its pickle dropped, the value itself.

    Raises:
        FutureMetError: these are no arguments.
    """
    check_collecting(future)
    with LazyFuture.LOCK:
        future._is_input = True
        row = future._row or future._ran
        has_value = future._state == FINISHED and future._exception is None
        is_pickled = row is not None and bool(row.payload or row.objects)
        value = future._result
    if has_value and not is_pickled:
        return _given, (value,)
    return place_of(future)


def input_row(future: ScalerFuture) -> TaskRow | None:
    """Return the row for a task that needs the result; `None`: it was cancelled."""
    with LazyFuture.LOCK:
        return None if future.cancelled() else future._row or future._ran


def _given(value: Any) -> Any:
    return value
