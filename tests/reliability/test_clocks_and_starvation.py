"""Rows 18 and 19: clocks that jump, processes that get no time. Nobody dies of it, or is blamed."""

from __future__ import annotations

import ast
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from scaler import CancelOutcome, Client, LocalCluster
from tests.reliability.executors import executors
from tests.reliability.programs import Program

pytestmark = [
    pytest.mark.usefixtures("by_value"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

BOUND_S = 20.0
ROOT = Path(__file__).parents[2]

WALL_CLOCKS = {
    "time": {"time", "time_ns", "localtime", "gmtime", "ctime", "strftime"},
    "datetime": {"now", "utcnow", "today", "fromtimestamp"},
    "date": {"today"},
}

JUMPING = """
import random, time
real_s, real_ns = time.time, time.time_ns
time.time = lambda: real_s() + random.choice([-3600.0, 0.0, 3600.0])
time.time_ns = lambda: real_ns() + random.choice([-3600, 0, 3600]) * 10**9
"""


# --- row 18: only the monotonic clock decides --------------------------------------------------


def wall_clocks(file: Path) -> list[str]:
    """Return where a file reads the wall clock."""
    names = (
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    )
    wall = {f"{module}.{name}" for module, readers in WALL_CLOCKS.items() for name in readers}
    return [f"{file.relative_to(ROOT)}: {name}" for name in names if name in wall]


def test_no_code_of_ours_reads_the_wall_clock():
    files = [file for package in ("actors", "scaler") for file in (ROOT / package).rglob("*.py")]
    found = [where for file in sorted(files) for where in wall_clocks(file)]
    # psutil, which serves where there is no /proc, dates processes by the wall clock.
    assert found == ["scaler/executor/leftovers.py: time.time"]


def test_clocks_that_jump_by_an_hour_change_nothing(tmp_path, monkeypatch, until):
    (tmp_path / "jumping_clock.py").write_text(JUMPING)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(time, "time", time.time)  # put back at the end
    monkeypatch.setattr(time, "time_ns", time.time_ns)
    import jumping_clock  # type: ignore[import-not-found]  # noqa: F401

    with Client(workers=2, preload=["jumping_clock"]) as client:
        before = executors(client)
        patient = client.options(timeout=BOUND_S, deadline=BOUND_S)
        futures = [patient.submit(time.sleep, 0.001) for _ in range(200)]
        assert [future.result(BOUND_S) for future in futures] == [None] * 200
        stopped = client.submit(time.sleep, 600)
        until(stopped.running)
        assert stopped.cancel(timeout=BOUND_S)
        assert stopped.cancel_outcome is CancelOutcome.CANCELED
        info = futures[-1].profiling_info()
        assert 0 <= info.run_s < BOUND_S
        assert executors(client) == before


# --- row 19: no time to run ---------------------------------------------------------------------


@contextmanager
def frozen(pid: int, duration_s: float) -> Iterator[None]:
    """Stop a process, and let it go on after that time."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
        time.sleep(duration_s)
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def hogs(count: int) -> Iterator[None]:
    """Processes that take all the time they can get."""
    busy = [
        subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(count)
    ]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def test_an_executor_that_stood_still_delivers_as_if_nothing_had_been(client, sign):
    def nap(path: str) -> int:
        with open(path, "w") as file:
            file.write(str(os.getpid()))
        time.sleep(0.1)
        return os.getpid()

    future = client.submit(nap, sign.path)
    pid = sign.pid()
    with frozen(pid, 0.5):
        behind = [client.submit(pow, number, 2) for number in range(100)]
    assert future.result(BOUND_S) == pid
    assert [one.result(BOUND_S) for one in behind] == [number**2 for number in range(100)]


def test_a_launcher_that_stood_still_replaces_executors_later(cluster, client, until):
    victim = client.submit(os.getpid).result(BOUND_S)
    launcher = psutil.Process(victim).ppid()
    with frozen(launcher, 0.3):
        os.kill(victim, signal.SIGKILL)
        futures = [client.submit(pow, number, 2) for number in range(100)]
    assert [one.result(BOUND_S) for one in futures] == [number**2 for number in range(100)]


FROZEN = """
    import os, sys, threading, time
    from scaler import Client

    def resist(path):
        while True:
            try:
                open(path, "w").close()
                time.sleep(600)
            except BaseException:
                pass

    with Client(workers=2) as client:
        resisting = client.submit(resist, sys.argv[1])
        limited = client.options(timeout=10).submit(time.sleep, 0.5)
        while not os.path.exists(sys.argv[1]):
            time.sleep(0.001)
        print("ready", flush=True)
        # Cleanly cancelled after the grace; without the time that the whole program stood still
        # the confirm would come too late.
        resisting.cancel(timeout=2.0, grace=0.5)
        limited.result()
        print(resisting.cancel_outcome.value)
"""


def test_a_program_that_stood_still_has_no_false_timeouts(tmp_path):
    with Program(FROZEN, str(tmp_path / "sign")) as program:
        program.says("ready")
        time.sleep(0.1)  # any moment within the grace
        with frozen(program.pid, 2.5):
            pass
        assert program.ends() == (0, "canceled\n", "")


def test_among_processes_that_take_all_the_time_nobody_dies():
    draws = random.Random(4)
    with LocalCluster(workers=2) as cluster, Client(cluster) as client:
        before = executors(client)
        with hogs(4 * (os.cpu_count() or 1)):
            end_s = time.monotonic() + 1.5
            while time.monotonic() < end_s:
                futures = [client.submit(time.sleep, draws.choice([0, 0.001])) for _ in range(50)]
                stopped = client.submit(time.sleep, 600)
                assert [future.result(BOUND_S) for future in futures] == [None] * 50
                assert stopped.cancel(grace=BOUND_S)
                assert stopped.cancel_outcome is CancelOutcome.CANCELED
        assert executors(client) == before
