"""How long faults take: a killed executor, a killed program, a close in the middle of work.

    python -m benchmarks.faults                 all three; some ten seconds
    python -m benchmarks.faults --kills 1000    more of the first

Real processes are killed with SIGKILL. A complete run is written to
`benchmarks/results/faults.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

from actors.testkit.processes import children_mark, new_processes, running_processes
from benchmarks.libraries import ROOT
from benchmarks.report import machine
from scaler import Client, ScalerFuture

RESULTS = ROOT / "benchmarks" / "results" / "faults.json"
WORKERS = 2
LONG_S = 60.0
BOUND_S = 20.0
_POLL_S = 0.0002

_DRIVER = """
import subprocess, sys, time
from scaler import Client, ScalerFuture
client = Client(workers=2)
client.map(abs, range(100))
work = [client.submit(time.sleep, 60) for _ in range(1000)]
work.append(client.submit(subprocess.run, ["sleep", "60"]))
while not work[0].running(): time.sleep(0.001)
print("works", flush=True)
time.sleep(60)
"""


@dataclass
class Figure:
    """One thing that was measured, milliseconds."""

    what: str
    each_ms: list[float]
    percentile: int
    """Which of them is to be bounded; 100: the largest."""
    at_most_ms: float

    @property
    def bounded_ms(self) -> float:
        """The figure that is to be bounded."""
        if self.percentile == 100:
            return max(self.each_ms)
        return quantiles(self.each_ms, n=100, method="inclusive")[self.percentile - 1]


def begin_and_sleep(path: str) -> None:
    """Note when and in which process it began, and be the task that is killed."""
    descriptor = os.open(path, os.O_WRONLY)
    os.pwrite(descriptor, struct.pack("<QQ", time.monotonic_ns(), os.getpid()), 0)
    time.sleep(60)


def until(condition: Callable[[], Any]) -> None:
    """Wait until it is true; what is waited for here takes milliseconds."""
    deadline_s = time.monotonic() + BOUND_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"nothing came within {BOUND_S:g} s")
        time.sleep(_POLL_S)


def executor_kills(kills: int) -> Figure:
    """Kill the executor of a running task; how long until the task runs again?"""
    each_ms = []
    with tempfile.NamedTemporaryFile() as file, Client(workers=WORKERS) as client:

        def begin_elsewhere(than: int) -> int:
            """Wait until the task runs in another process; return when it began."""
            until(lambda: _begin_in(file.fileno())[1] not in {0, than})
            return _begin_in(file.fileno())[0]

        for _ in range(kills):
            file.truncate(0)
            future = client.submit(begin_and_sleep, file.name)
            begin_elsewhere(0)
            _, pid = _begin_in(file.fileno())
            killed_ns = time.monotonic_ns()
            os.kill(pid, signal.SIGKILL)
            each_ms.append((begin_elsewhere(pid) - killed_ns) / 1e6)
            future.cancel()
    return Figure("executor killed, until its task runs again", each_ms, 99, 25.0)


def _begin_in(descriptor: int) -> tuple[int, int]:
    """Return when the task began, and in which process; 0: in none yet."""
    data = os.pread(descriptor, 16, 0)
    at_ns, pid = struct.unpack("<QQ", data) if len(data) == 16 else (0, 0)
    return at_ns, pid


def driver_kills(kills: int) -> Figure:
    """Kill a program full of work; how long until nothing of it is left?"""
    each_ms = []
    shared = set(os.listdir("/dev/shm"))
    with children_mark():
        for _ in range(kills):
            before = running_processes()
            command = [sys.executable, "-c", _DRIVER]
            with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as driver:
                assert driver.stdout is not None
                driver.stdout.readline()
                killed_s = time.monotonic()
                driver.kill()
                driver.wait()
            until(partial(_is_gone, before))
            each_ms.append((time.monotonic() - killed_s) * 1e3)
            if left := set(os.listdir("/dev/shm")) - shared:
                raise RuntimeError(f"left in /dev/shm: {left}")
    return Figure("program killed, until none of its processes is left", each_ms, 100, 500.0)


def _is_gone(before: set[int]) -> bool:
    return not new_processes(before)


def _any_runs(futures: list[ScalerFuture]) -> bool:
    return any(future.running() for future in futures)


def closes(number: int) -> Figure:
    """Close a client in the middle of its work, some of it deaf to interrupts."""
    each_ms = []
    for _ in range(number):
        client = Client(workers=WORKERS)
        deaf = client.submit(sum, range(10**12))
        others = [client.submit(time.sleep, LONG_S) for _ in range(1_000)]
        until(deaf.running)
        until(partial(_any_runs, others))
        begun_s = time.monotonic()
        client.close()
        each_ms.append((time.monotonic() - begun_s) * 1e3)
    return Figure("close with 1,001 tasks, one of them in C code", each_ms, 100, 5_000.0)


def print_table(figures: list[Figure]) -> None:
    """Print them."""
    table = Table(title="Faults, ms")
    table.add_column("what")
    for heading in ("times", "p50", "p99", "max", "to be reached", "verdict"):
        table.add_column(heading, justify="right")
    for figure in figures:
        each = figure.each_ms
        bounded = "max" if figure.percentile == 100 else f"p{figure.percentile}"
        p99 = quantiles(each, n=100, method="inclusive")[98] if len(each) > 99 else max(each)
        reached = figure.bounded_ms <= figure.at_most_ms
        table.add_row(
            figure.what,
            f"{len(each):,}",
            f"{median(each):.1f}",
            f"{p99:.1f}",
            f"{max(each):.1f}",
            f"{bounded} ≤ {figure.at_most_ms:g}",
            "[green]reached" if reached else "[red]missed",
        )
    (Console() if sys.stdout.isatty() else Console(width=120)).print(table)


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults")
    parser.add_argument("--kills", type=int, default=300, help="executors to kill")
    parser.add_argument("--drivers", type=int, default=20, help="programs to kill")
    parser.add_argument("--closes", type=int, default=20, help="clients to close")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    figures = [
        executor_kills(arguments.kills),
        driver_kills(arguments.drivers),
        closes(arguments.closes),
    ]
    print_table(figures)
    content = {"machine": machine(), "figures": [asdict(figure) for figure in figures]}
    arguments.output.write_text(json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
