"""One attempt of one task: whatever the task does, a row comes out."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from types import CoroutineType, TracebackType
from typing import Any, Final

from scaler.errors import InternalError, ObjectStoreFullError, SerializationError
from scaler.executor.interrupt import Interrupter, TaskInterrupt
from scaler.executor.leftovers import Leftovers
from scaler.executor.objects import ExecutorObjects, wants_copies
from scaler.executor.predicates import Predicates
from scaler.limits import INLINE_BYTES
from scaler.protocol.objects import Body
from scaler.protocol.tasks import Function, RowStatus, Task, TaskRow
from scaler.serialization.buffers import Buffers
from scaler.serialization.exceptions import dump_exception
from scaler.serialization.functions import load_function
from scaler.serialization.reasons import describe
from scaler.serialization.values import (
    ChunkResult,
    dump_value,
    load_arguments,
    load_items,
)

_NONE: Final = Body(dump_value(None))
_NOTHING: Final = Body(b"")

# A member of an enumeration costs 70 ns to look up by its class (CPython 3.11).
_SUCCEEDED: Final = RowStatus.SUCCEEDED
_FAILED: Final = RowStatus.FAILED
_INTERRUPTED: Final = RowStatus.INTERRUPTED

_READ_ONLY: Final = (
    "large arguments are mapped read-only: client.options(copy=True) gives the task copies of its "
    "own that it may write to"
)

_RSS_UNIT_BYTES: Final = 1 if sys.platform == "darwin" else 1024


class TaskGuard:
    """Runs tasks, one at a time, on the main thread."""

    def __init__(
        self,
        worker: str,
        pid: int,
        functions: dict[bytes, Function],
        interrupter: Interrupter,
        show_item: Callable[[int], None],
        objects: ExecutorObjects,
    ) -> None:
        """Take functions from `functions`, and tell `show_item` the index within a chunk."""
        self._worker = worker
        self._pid = pid
        self._functions = functions
        self._opened: dict[bytes, Callable[..., Any]] = {}
        self._interrupter = interrupter
        self.show_item = show_item
        """Gets the index of each item of a chunk before it runs."""
        self._objects = objects
        self._predicates = Predicates()
        self._leftovers = Leftovers()
        self._is_final = False
        self._cpu_s = 0.0
        self._measure()

    def forget(self, function_id: bytes) -> None:
        """Let go of a function that no further task names."""
        self._opened.pop(function_id, None)

    def run(self, ordinal: int, task: Task, started_ns: int) -> TaskRow:
        """Run `task`; never raises what the task raised.

        Args:
            ordinal: what the worker calls it, and what an interrupt names.
            task: the call.
            started_ns: monotonic clock when it was claimed.
        """
        self._leftovers.note_threads()
        self._is_final = False
        status, body = self._attempt(ordinal, task)
        ended_s = time.monotonic()
        started_s = started_ns / 1e9
        unclean = self._interrupter.in_import
        if status is _INTERRUPTED:
            body = _NOTHING
            unclean = unclean or self._leftovers.found(started_s)
        cpu_s, rss_bytes = self._measure()
        return TaskRow(
            ordinal,
            task.task_id,
            status,
            body.payload,
            started_s,
            ended_s,
            cpu_s,
            rss_bytes,
            self._worker,
            self._pid,
            task.attempt,
            unclean,
            self._is_final and status is _FAILED,
            body.objects,
        )

    def _attempt(self, ordinal: int, task: Task) -> tuple[RowStatus, Body]:
        """Open the window of the interrupt around all code of the user, pickling included.

        An interrupt may hit any line within: the outer `try` is for those between the task's end
        and the closing of the window. There is one at most, since the handler disarms.
        """
        status, body = _FAILED, _NOTHING
        interrupter = self._interrupter
        try:
            try:
                interrupter.arm(ordinal)
                body = self._work(task)
                status = _SUCCEEDED
            except BaseException as error:
                if not interrupter.answered(ordinal):
                    body = Body(self._judge(error, task))
            finally:
                interrupter.armed = 0
        except TaskInterrupt:
            status = _INTERRUPTED
        if status is _FAILED and interrupter.answered(ordinal):
            status = _INTERRUPTED  # the task raised because of it, or its predicate did
        return status, body

    def _work(self, task: Task) -> Body:
        function = self._opened.get(task.function_id)
        if function is None:
            function = self._open(task.function_id)
        if task.chunked:
            return self._work_through(function, task)
        if task.objects or task.inputs or task.policy is not None:
            args, kwargs = load_arguments(*self._objects.open(task), copy=wants_copies(task))
        else:
            args, kwargs = load_arguments(task.payload)
        value = function(*args, **kwargs)
        if type(value) is CoroutineType:
            value = _run_coroutine(value)
        return _NONE if value is None else self._dump(value)

    def _dump(self, value: Any) -> Body:
        buffers: Buffers = []
        payload = dump_value(value, buffers)
        if buffers or len(payload) >= INLINE_BYTES:
            return self._objects.pack(payload, buffers)
        return Body(payload)

    def _work_through(self, function: Callable[..., Any], task: Task) -> Body:
        values: list[Any] = []
        try:
            show_item, keep = self.show_item, values.append
            for index, args in enumerate(self._items(task)):
                show_item(index)
                value = function(*args)
                if type(value) is CoroutineType:
                    value = _run_coroutine(value)
                keep(value)
        except BaseException as error:
            described = self._describe(error, task)
            if self._interrupter.has_hit():
                raise
            return self._dump_chunk(values, described, task)
        return self._dump_chunk(values, b"", task)

    def _items(self, task: Task) -> list[tuple[Any, ...]]:
        return load_items(*self._objects.open(task), copy=wants_copies(task))

    def _dump_chunk(self, values: list[Any], error: bytes, task: Task) -> Body:
        index = len(values) if error else -1
        try:
            return self._dump(ChunkResult(values, index, error))
        except ObjectStoreFullError:
            raise
        except Exception:
            for position, value in enumerate(values):
                try:
                    dump_value(value)
                except Exception as culprit:
                    described = self._describe(culprit, task)
                    return self._dump(ChunkResult(values[:position], position, described))
            raise

    def _open(self, function_id: bytes) -> Callable[..., Any]:
        function = self._functions.get(function_id)
        if function is None:
            raise InternalError(f"the executor was not sent function {function_id.hex()}")
        opened = self._opened[function_id] = load_function(function)
        return opened

    def _judge(self, error: BaseException, task: Task) -> bytes:
        """Describe what the task raised, and decide whether it is final."""
        why_final = self._predicates.why_final(task.policy, error)
        self._is_final = bool(why_final)
        return self._describe(error, task, why_final)

    def _describe(self, error: BaseException, task: Task, why_final: str = "") -> bytes:
        note = f"on worker {self._worker}, pid {self._pid}, attempt {task.attempt}"
        if task.policy is not None and task.policy.retries:
            note += f" (retries: {task.policy.retries})"
        if why_final:
            note += f"\n{why_final}"
        if _is_refused_write(error) and (task.objects or task.inputs) and not wants_copies(task):
            note += f"\n{_READ_ONLY}"
        if not isinstance(error, SerializationError):
            error.__traceback__ = _without_own_frames(error.__traceback__)
        return dump_exception(error, note=note)

    def _measure(self) -> tuple[float, int]:
        """Return cpu seconds since the last call, and peak memory."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = usage.ru_utime + usage.ru_stime
        used_s, self._cpu_s = cpu_s - self._cpu_s, cpu_s
        return used_s, usage.ru_maxrss * _RSS_UNIT_BYTES


def _run_coroutine(coroutine: CoroutineType[Any, Any, Any]) -> Any:
    import asyncio  # 30 ms, and few tasks need it

    return asyncio.run(coroutine)


def _is_refused_write(error: BaseException) -> bool:
    """Whether this is how numpy, Cython and `memoryview` say that memory is read-only."""
    return isinstance(error, ValueError | TypeError) and "read-only" in describe(error)


def _without_own_frames(traceback: TracebackType | None) -> TracebackType | None:
    """Cut the frames of this file off the top: they tell the user nothing."""
    rest = traceback
    while rest is not None and rest.tb_frame.f_code.co_filename == __file__:
        rest = rest.tb_next
    return rest or traceback
