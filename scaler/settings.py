"""What a cluster or client was asked for, checked before anything starts. Light: read at import."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from scaler.cpus import usable_cpus
from scaler.limits import EXECUTOR_MEMORY_MIN_BYTES, STORE_BYTES_MIN

_THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

NAME_CHARACTERS: Final = 200
"""Of the name of a task, which travels with its function, at most."""
LONGEST_S: Final = 1e9
"""30 years. Longer waits are refused by the system's calls, or are no bound at all."""


class ExecutorLimits(NamedTuple):
    """When an executor is stopped, ended or replaced."""

    cancel_grace: float
    """Seconds."""
    max_tasks: int | None
    max_memory: int | None
    """Bytes."""


class StoreLimits(NamedTuple):
    """How much memory objects may take, and where else they go."""

    bytes: int | None
    """`None`: a share of what there is."""
    spill_directory: str | None
    """`None`: where temporary files are."""


class Asked(NamedTuple):
    """All that a cluster is started with."""

    slots: int
    env: dict[str, str]
    preload: tuple[str, ...]
    limits: ExecutorLimits
    store: StoreLimits
    start_timeout: float
    """Seconds."""


def asked_of(
    workers: int | None,
    env: Mapping[str, str] | None,
    preload: Iterable[str],
    start_timeout: float,
    limits: tuple[float, int | None, int | None],
    store: tuple[int | None, str | os.PathLike[str] | None],
) -> Asked:
    """Return what a cluster is asked for; `limits` and `store` as the functions below take them.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: an argument is out of its range.
    """
    slots = checked_workers(workers)
    return Asked(
        slots,
        environment(env, slots),
        checked_preload(preload),
        checked_limits(*limits),
        checked_store(*store),
        checked_start_timeout(start_timeout),
    )


def checked_limits(
    cancel_grace: float, max_tasks: int | None, max_memory: int | None
) -> ExecutorLimits:
    """Return the limits of a cluster's executors.

    Raises:
        TypeError: a limit is of a wrong type.
        ValueError: a limit is out of its range.
    """
    grace_s = as_number("cancel_grace", cancel_grace)
    if not grace_s >= 0:
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
    return ExecutorLimits(grace_s, max_tasks, max_memory)


def checked_store(
    size_bytes: int | None, spill_directory: str | os.PathLike[str] | None
) -> StoreLimits:
    """Return the bounds of a cluster's objects.

    Raises:
        TypeError: one is of a wrong type.
        ValueError: one is out of its range, or there is no such directory.
    """
    if size_bytes is not None:
        _check_integer("object_store_bytes", size_bytes, " (bytes)")
        if size_bytes < STORE_BYTES_MIN:
            raise ValueError(
                f"object_store_bytes must be at least {STORE_BYTES_MIN:,} bytes, got {size_bytes!r}"
            )
    if spill_directory is None:
        return StoreLimits(size_bytes, None)
    try:
        directory = os.fsdecode(spill_directory)
    except TypeError:
        raise TypeError(f"spill_directory must be a path, got {spill_directory!r}") from None
    may_write = _passes(directory) and os.access(directory, os.W_OK | os.X_OK)
    if not may_write or not os.path.isdir(directory):
        raise ValueError(f"spill_directory must be a directory to write in, got {directory!r}")
    return StoreLimits(size_bytes, directory)


def checked_workers(workers: int | None) -> int:
    """Return how many slots a cluster has.

    Raises:
        TypeError: it is no integer.
        ValueError: it is less than 1.
    """
    if workers is None:
        return usable_cpus()
    _check_integer("workers", workers)
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers!r}")
    return workers


def checked_start_timeout(timeout: float) -> float:
    """Return seconds.

    Raises:
        TypeError: it is no number.
        ValueError: it is none that can be waited for.
    """
    seconds = as_number("start_timeout", timeout)
    if not 0 < seconds <= LONGEST_S:
        raise ValueError(
            f"start_timeout must be more than 0 and at most {LONGEST_S:g} seconds, got {timeout!r}"
        )
    return seconds


def checked_preload(preload: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the modules to import before executors are forked.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(preload, str) or not isinstance(preload, Iterable):
        raise TypeError(
            f"preload must be a sequence of module names, as in ['json'], got {preload!r}"
        )
    names = tuple(preload)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"preload must hold names of modules, got {name!r}")
    return names


def environment(env: Mapping[str, str] | None, slots: int) -> dict[str, str]:
    """Return the executors' environment: native thread pools share the cores among the slots.

    Raises:
        TypeError: `env` maps no text to text.
        ValueError: there can be no such variable.
    """
    given = {} if env is None else _checked_variables(env)
    threads = str(max(1, math.floor(usable_cpus() / slots)))
    shared = dict.fromkeys(_THREAD_VARIABLES, threads)
    return {**shared, **os.environ, **given}


def check_client(
    cancel_finished: bool, credit_tasks: int, credit_bytes: int, deduplicate: bool
) -> None:
    """Raise if a client cannot be made like this.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: there would be no credit.
    """
    checked_flag("cancel_finished", cancel_finished)
    checked_flag("deduplicate", deduplicate)
    check_credit(credit_tasks, credit_bytes)


def check_credit(tasks: int, size_bytes: int) -> None:
    """Raise if this is no credit.

    Raises:
        TypeError: one is no integer.
        ValueError: one is less than 1.
    """
    for name, value in {"credit_tasks": tasks, "credit_bytes": size_bytes}.items():
        _check_integer(name, value)
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value!r}")


def checked_flag(name: str, value: Any) -> bool:
    """Return `value`, a bool.

    Raises:
        TypeError: it is something else, which may well be meant as the opposite of its truth.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


def checked_name(name: Any) -> str:
    """Return the name of a task, which travels as UTF-8.

    Raises:
        TypeError: it is no text.
        ValueError: it is too long, or cannot be encoded.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a str, got {name!r}")
    if len(name) > NAME_CHARACTERS:
        raise ValueError(
            f"name must have at most {NAME_CHARACTERS} characters, got {len(name)}: {name[:40]!r}"
        )
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"name must be encodable as UTF-8, got {name!r}: {error.reason}") from None
    return str.__str__(name)  # a subclass does not travel


def as_number(name: str, value: Any, what: str = "a number of seconds") -> float:
    """Return `value` as a float; NaN if it is too large for one.

    Raises:
        TypeError: it is no number.
    """
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be {what}, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        return math.nan


def _checked_variables(env: Any) -> Mapping[str, str]:
    if not isinstance(env, Mapping):
        raise TypeError(f"env must be a mapping of names to values, not {type(env).__name__}")
    for name, value in env.items():
        if not isinstance(name, str):
            raise TypeError(f"env: the name of a variable must be a str, got {name!r}")
        if not isinstance(value, str):
            raise TypeError(f"env: the value of {name!r} must be a str, not {type(value).__name__}")
        if not name or "=" in name or not _passes(name):
            raise ValueError(f"env: {name!r} cannot be the name of a variable")
        if not _passes(value):  # it may be a secret
            raise ValueError(f"env: the value of {name!r} has a NUL in it, or cannot be encoded")
    return env


def _passes(text: str) -> bool:
    """Whether the system takes this text."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _check_integer(name: str, value: Any, unit: str = "") -> None:
    if type(value) is not int:
        raise TypeError(f"{name} must be an integer{unit}, got {value!r}")
