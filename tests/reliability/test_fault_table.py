"""Rows of the failure table that no other test holds, each as one machine can cause it."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from scaler import (
    CancelOutcome,
    Client,
    LocalCluster,
    SerializationError,
    WorkerDiedError,
)

pytestmark = [
    pytest.mark.usefixtures("by_value"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

BOUND_S = 20.0


def family(path: str) -> None:
    """Start children of all kinds, and grandchildren whose parents have gone; then sleep."""
    code = f"import os, time; open({path!r}, 'a').write(str(os.getpid()) + ' '); time.sleep(600)"
    ours = [sys.executable, "-S", "-c", code]
    kept = [subprocess.Popen(ours), subprocess.Popen(ours, start_new_session=True)]
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv(sys.executable, ours)
        os._exit(0)
    os.wait()
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    time.sleep(600)
    del kept


def relatives(sign: Any, until: Callable[..., Any]) -> list[int]:
    """Wait for the family; return its pids, the executor's first."""
    until(lambda: len(sign.text().split()) == 3)
    pids = [int(text) for text in sign.text().split()]
    parents = [psutil.Process(pid).ppid() for pid in pids]
    return [max(set(parents), key=parents.count), *pids]


# --- rows 1 and 32: an executor that dies takes along what its tasks have started -------------


def test_an_executor_that_is_killed_takes_along_all_that_its_task_has_started(
    client, sign, until, alive
):
    future = client.options(max_attempts=1).submit(family, sign.path)
    executor, *others = relatives(sign, until)
    os.kill(executor, signal.SIGKILL)
    with pytest.raises(WorkerDiedError, match="SIGKILL"):
        future.result(BOUND_S)
    assert not any(alive(pid) for pid in (executor, *others))


def test_after_a_cancel_nothing_lives_of_all_that_the_task_has_started(client, sign, until, alive):
    future = client.submit(family, sign.path)
    executor, *others = relatives(sign, until)
    assert future.cancel()
    assert future.cancel_outcome is CancelOutcome.CANCELED
    assert not any(alive(pid) for pid in (executor, *others))


def test_after_a_timeout_nothing_lives_of_all_that_the_task_has_started(client, sign, until, alive):
    future = client.options(timeout=1.0).submit(family, sign.path)
    executor, *others = relatives(sign, until)
    assert future.exception(BOUND_S) is not None
    assert not any(alive(pid) for pid in (executor, *others))


def test_an_executor_killed_under_an_open_cancel_answers_it_and_nothing_runs_again(client, sign):
    def resist(path: str) -> None:
        with open(path, "a") as file:
            file.write(f"{os.getpid()} ")
        while True:
            try:
                time.sleep(600)
            except BaseException:
                pass

    future = client.submit(resist, sign.path)
    executor = sign.pid()
    with ThreadPoolExecutor(1) as pool:
        cancelling = pool.submit(future.cancel, grace=600, timeout=BOUND_S)
        assert client.submit(pow, 2, 3).result(BOUND_S) == 8  # the cancel is on its way by now
        os.kill(executor, signal.SIGKILL)
        assert cancelling.result(BOUND_S) is True
    assert future.cancel_outcome is CancelOutcome.CANCELED
    assert client.map(abs, range(100)) == list(range(100))
    assert len(sign.text().split()) == 1


def test_a_task_that_is_lost_runs_again_soon(client, sign, until):
    def first_time_killed(path: str) -> float:
        if not os.path.exists(path):
            with open(path, "w") as file:
                file.write(str(time.monotonic()))
            os.kill(os.getpid(), signal.SIGKILL)
        return time.monotonic()

    begun_s = client.submit(first_time_killed, sign.path).result(BOUND_S)
    lost_s = begun_s - float(sign.text())
    print(f"lost and begun again after {lost_s * 1e3:.0f} ms")
    assert lost_s < 5.0


# --- row 4: what a client leaves running is stopped ------------------------------------------


@pytest.mark.parametrize("leave", ["close", "drop"])
def test_the_slots_of_a_client_that_has_gone_are_free_for_others(cluster, sign, until, leave):
    client: Client | None = Client(cluster)
    assert client is not None
    blocking = [client.submit(family, sign.path), client.submit(time.sleep, 600)]
    until(lambda: blocking[1].running() and len(sign.text().split()) == 3)
    with Client(cluster) as other:
        waiting = other.submit(pow, 2, 3)
        start_s = time.monotonic()
        if leave == "close":
            client.close()
        blocking.clear()
        client = None
        assert waiting.result(BOUND_S) == 8
        print(f"served {time.monotonic() - start_s:.3f} s after the {leave}")


# --- row 25: what is too large is refused, and nobody else notices ---------------------------


@pytest.fixture
def narrow(tmp_path, monkeypatch) -> Iterator[Client]:
    """A client whose pickles of functions and errors may have a megabyte, at both ends."""
    monkeypatch.setattr("scaler.serialization.values.PAYLOAD_BYTES", 1 << 20)
    (tmp_path / "narrow_payloads.py").write_text(
        "from scaler.serialization import values\nvalues.PAYLOAD_BYTES = 1 << 20\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with Client(workers=1, preload=["narrow_payloads"]) as client:
        yield client


def test_what_is_too_large_to_travel_is_refused_where_it_starts(narrow):
    pid = narrow.submit(os.getpid).result(BOUND_S)
    big = bytes(2 << 20)
    with pytest.raises(SerializationError, match="too large"):
        narrow.submit(lambda: len(big))

    def fail() -> None:
        raise ValueError(bytes(2 << 20))

    error = narrow.submit(fail).exception(BOUND_S)
    assert isinstance(error, SerializationError)
    assert "too large" in str(error)
    assert narrow.map(len, [b"", big]) == [0, len(big)], "these go through shared memory"
    assert narrow.submit(bytes.upper, big).result(BOUND_S) == big
    assert narrow.submit(os.getpid).result(BOUND_S) == pid
    assert "0 tasks and 0 bytes" in repr(narrow)


# --- row 26: recursion in C, where no RecursionError comes -----------------------------------


def test_a_stack_that_overflows_in_c_costs_its_executor_and_names_the_signal(client):
    def overflow() -> None:
        values: Any = iter(())
        for _ in range(300_000):
            values = itertools.chain(values, ())
        next(values)

    behind = client.options(max_attempts=1).submit(overflow)
    with pytest.raises(WorkerDiedError, match="SIGSEGV"):
        behind.result(BOUND_S)
    assert client.submit(pow, 2, 3).result(BOUND_S) == 8


# --- row 32: what a normal end leaves behind goes with its executor --------------------------


def test_what_tasks_left_running_goes_with_their_executor(sign, until, alive):
    def leave(path: str) -> int:
        code = f"import os, time; open({path!r}, 'w').write(str(os.getpid())); time.sleep(600)"
        subprocess.Popen([sys.executable, "-S", "-c", code], start_new_session=True).returncode = 0
        while not os.path.exists(path) or not os.path.getsize(path):
            time.sleep(0.001)
        return os.getpid()

    with LocalCluster(workers=1, max_tasks_per_executor=1) as cluster, Client(cluster) as client:
        executor = client.submit(leave, sign.path).result(BOUND_S)
        assert client.submit(os.getpid).result(BOUND_S) != executor
        until(lambda: not alive(sign.pid()))
