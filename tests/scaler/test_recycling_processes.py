"""Executors that are replaced after so many tasks, or at a size, with real processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from scaler import CancelOutcome, Client, TaskTimeoutError, WorkerDiedError

pytestmark = [
    pytest.mark.usefixtures("by_value"),
    pytest.mark.skipif(sys.platform != "linux", reason="kills by number"),
]

BOUND_S = 30.0
MIB = 1 << 20
LIMIT_BYTES = 200 * MIB


def take(size_bytes: int, sleep_s: float = 0.0) -> int:
    """Use so much memory for a while; return this process's id."""
    data = bytearray(size_bytes)
    data[::4096] = b"x" * len(data[::4096])
    time.sleep(sleep_s)
    return os.getpid()


def leave_behind(size_bytes: int) -> int:
    import builtins

    kept = builtins.__dict__.setdefault("left_behind", [])
    data = bytearray(size_bytes)
    data[::4096] = b"x" * len(data[::4096])
    kept.append(data)
    return os.getpid()


def note_and_sleep(path: str, sleep_s: float) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(sleep_s)


def pid_after(sleep_s: float) -> int:
    time.sleep(sleep_s)
    return os.getpid()


def small(**options: Any) -> Client:
    return Client(workers=1, max_memory_per_executor=LIMIT_BYTES, **options)


# --- after so many tasks -----------------------------------------------------------------


@pytest.mark.parametrize("max_tasks", [1, 3])
def test_no_executor_runs_more_tasks_than_it_may(max_tasks):
    with Client(workers=2, max_tasks_per_executor=max_tasks) as client:
        futures = [client.submit(os.getpid) for _ in range(60)]
        runs = Counter(future.result(BOUND_S) for future in futures)
        assert max(runs.values()) <= max_tasks
        assert {future.profiling_info().attempt for future in futures} == {1}


def test_the_tasks_of_an_executor_that_died_count_for_it_alone(sign, until):
    with Client(workers=1, max_tasks_per_executor=2) as client:
        first = client.submit(note_and_sleep, sign.path, 1.0)
        behind = [client.submit(os.getpid) for _ in range(10)]
        os.kill(sign.pid(), signal.SIGKILL)
        runs = Counter(future.result(BOUND_S) for future in behind)
        assert first.result(BOUND_S) is None
        assert max(runs.values()) <= 2


def test_cancels_and_limits_hold_while_executors_are_replaced(sign):
    with Client(workers=1, max_tasks_per_executor=1) as client:
        for _ in range(5):
            running = client.submit(time.sleep, 60)
            late = client.options(timeout=0.1).submit(time.sleep, 60)
            last = client.submit(os.getpid)
            assert running.cancel()
            assert running.cancel_outcome is CancelOutcome.CANCELED
            with pytest.raises(CancelledError):
                running.result()
            assert isinstance(late.exception(BOUND_S), TaskTimeoutError)
            assert last.result(BOUND_S)


# --- at a size ---------------------------------------------------------------------------


def test_a_task_that_needs_too_much_memory_fails_and_the_error_names_limit_and_size():
    with small() as client:
        error = client.submit(take, 300 * MIB, 30.0).exception(BOUND_S)
        assert isinstance(error, WorkerDiedError)
        assert str(error).count("is above max_memory_per_executor of 200.0 MiB") == 3
        assert client.submit(take, MIB).result(BOUND_S)


def test_an_executor_that_keeps_much_memory_is_replaced_between_tasks():
    with small() as client:
        first = client.submit(leave_behind, int(0.9 * LIMIT_BYTES)).result(BOUND_S)
        second = client.submit(os.getpid).result(BOUND_S)
        third = client.submit(os.getpid).result(BOUND_S)
        assert first != second
        assert second == third


def test_many_tasks_that_leave_memory_behind_all_succeed():
    with small() as client:
        futures = [client.submit(leave_behind, 20 * MIB) for _ in range(40)]
        pids = [future.result(BOUND_S) for future in futures]
        assert len(set(pids)) > 3
        assert max(Counter(pids).values()) <= 9


def test_what_waits_behind_a_task_that_grows_large_runs_elsewhere():
    with Client(workers=2, max_memory_per_executor=LIMIT_BYTES) as client:
        large = client.submit(take, int(0.85 * LIMIT_BYTES), 1.0)
        others = [client.submit(pid_after, 0.01) for _ in range(20)]
        pids = {future.result(BOUND_S) for future in others}
        assert large.result(BOUND_S) not in pids
        assert large.profiling_info().attempt == 1
