"""What a cluster was asked for, checked before anything is started. Light: read at import."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from scaler.cpus import usable_cpus
from scaler.limits import EXECUTOR_MEMORY_MIN_BYTES

_THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class ExecutorLimits(NamedTuple):
    """When an executor is stopped, ended or replaced."""

    cancel_grace: float
    """Seconds."""
    max_tasks: int | None
    max_memory: int | None
    """Bytes."""


def checked_limits(
    cancel_grace: float, max_tasks: int | None, max_memory: int | None
) -> ExecutorLimits:
    """Return the limits of a cluster's executors.

    Raises:
        TypeError: a limit is of a wrong type.
        ValueError: a limit is out of its range.
    """
    if not cancel_grace >= 0:
        raise ValueError(f"cancel_grace must be 0 or more seconds, got {cancel_grace!r}")
    if max_tasks is not None:
        _check_integer("max_tasks_per_executor", max_tasks)
        if max_tasks < 1:
            raise ValueError(f"max_tasks_per_executor must be at least 1, got {max_tasks!r}")
    if max_memory is not None:
        _check_integer("max_memory_per_executor", max_memory, " (bytes)")
        if max_memory < EXECUTOR_MEMORY_MIN_BYTES:
            raise ValueError(
                f"max_memory_per_executor must be at least {EXECUTOR_MEMORY_MIN_BYTES:,} bytes, "
                f"what an executor needs for itself; got {max_memory!r}"
            )
    return ExecutorLimits(cancel_grace, max_tasks, max_memory)


def checked_workers(workers: int | None) -> int:
    """Return how many slots a cluster has.

    Raises:
        ValueError: it is no integer, or less than 1.
    """
    if workers is None:
        return usable_cpus()
    if type(workers) is not int or workers < 1:
        raise ValueError(f"workers must be an integer of at least 1, got {workers!r}")
    return workers


def environment(env: Mapping[str, str] | None, slots: int) -> dict[str, str]:
    """Return the executors' environment: native thread pools share the cores among the slots."""
    threads = str(max(1, math.floor(usable_cpus() / slots)))
    shared = dict.fromkeys(_THREAD_VARIABLES, threads)
    return {**shared, **os.environ, **(env or {})}


def _check_integer(name: str, value: Any, unit: str = "") -> None:
    if type(value) is not int:
        raise TypeError(f"{name} must be an integer{unit}, got {value!r}")
