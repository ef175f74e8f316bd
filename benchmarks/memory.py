"""How much memory large values take, at their peak and in the long run.

    make bench-memory

An array of 4 GiB goes through a task that returns it, and through one that adds 1 to it: all
processes together are looked at meanwhile. Then 10,000 results of 1 MiB are read and dropped, with
100 in flight, which is drawn to `docs/pictures/memory.svg`; and a million small ones. The figures
are written to `benchmarks/results/memory.json`.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.libraries import ROOT
from benchmarks.report import machine
from scaler import Client

RESULTS = ROOT / "benchmarks" / "results" / "memory.json"
PICTURE = ROOT / "docs" / "pictures" / "memory.svg"

ARRAY_BYTES = 4 << 30
STORE_BYTES = 10 << 30
RESULTS_COUNT, RESULT_BYTES, IN_FLIGHT = 10_000, 1 << 20, 100
SAMPLE_EVERY = 100
SMALL_TASKS = 1_000_000
LOOK_EVERY_S = 0.02
TARGETS = {"identity": 2.2, "plus one": 4.2}


def identity(value: Any) -> Any:
    """Return what it was given."""
    return value


def plus_one(value: Any) -> Any:
    """Return a new array."""
    return value + 1


def family_bytes(client: Client) -> int:
    """Return the memory of this process and all below it; what they share counts once.

    The shared memory counts as a whole, whether anybody has it mapped or not.
    """
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    total = os.fstat(client.cluster.objects.file.fd).st_blocks * 512
    for process in processes:
        try:
            with open(f"/proc/{process.pid}/smaps_rollup") as file:
                lines = [line.split() for line in file]
        except OSError:
            continue
        own = [int(line[1]) << 10 for line in lines if line[0] in {"Pss_Anon:", "Pss_File:"}]
        total += sum(own)
    return total


@contextmanager
def peak(client: Client) -> Iterator[Callable[[], int]]:
    """Look at the memory all the time; `found()` is the most that was seen."""
    most, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(LOOK_EVERY_S):
            most[0] = max(most[0], family_bytes(client))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield lambda: most[0]
    finally:
        ended.set()
        thread.join()


def of_one_array(task: Callable[[Any], Any], size_bytes: int) -> float:
    """Return the peak of one task, in multiples of its array."""
    import numpy as np

    with Client(workers=1, object_store_bytes=STORE_BYTES) as client:
        client.submit(identity, 1).result()
        before = family_bytes(client)
        with peak(client) as found:
            array = np.ones(size_bytes // 8)
            value = client.submit(task, array).result()
            assert value[-1] == task(array[-1])
        return (found() - before) / size_bytes


def of_many_results(count: int) -> list[float]:
    """Return the memory, MB, after each so many results of 1 MiB that were read and dropped."""
    samples = []
    with Client(workers=2) as client:
        flying: deque[Any] = deque()
        for number in track(range(count), description="results of 1 MiB"):
            flying.append(client.submit(bytes, RESULT_BYTES))
            if len(flying) == IN_FLIGHT:
                assert len(flying.popleft().result()) == RESULT_BYTES
            if number % SAMPLE_EVERY == SAMPLE_EVERY - 1:
                samples.append(family_bytes(client) / 1e6)
        while flying:
            flying.popleft().result()
    return samples


def of_small_results(count: int) -> float:
    """Return how many bytes of this process each finished and dropped future has left."""
    with Client(workers=2) as client:
        own = psutil.Process()
        client.map(abs, range(10_000))
        [future.result() for future in [client.submit(abs, n) for n in range(20_000)]]
        gc.collect()
        before = own.memory_full_info().uss
        for _ in track(range(count // 10_000), description="small results"):
            for future in [client.submit(abs, n) for n in range(10_000)]:
                future.result()
        gc.collect()
        return float(own.memory_full_info().uss - before) / count


def draw(samples: list[float], path: Path) -> None:
    """Draw the memory while results come and go."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "memory", "font.size": 9})
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    axes.plot([SAMPLE_EVERY * (n + 1) for n in range(len(samples))], samples)
    axes.set(xlabel="results of 1 MiB, read and dropped", ylabel="memory of all processes, MB")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main() -> int:
    """Measure all of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--array-bytes", type=int, default=ARRAY_BYTES)
    parser.add_argument("--results", type=int, default=RESULTS_COUNT)
    parser.add_argument("--small", type=int, default=SMALL_TASKS)
    arguments = parser.parse_args()
    started_s = time.monotonic()
    peaks = {
        "identity": of_one_array(identity, arguments.array_bytes),
        "plus one": of_one_array(plus_one, arguments.array_bytes),
    }
    samples = of_many_results(arguments.results)
    early, late = max(samples[:10]), max(samples[10:] or samples)
    small = of_small_results(arguments.small)
    table = Table("memory", "measured", "target")
    for name, share in peaks.items():
        table.add_row(f"peak of {name}, of its array", f"{share:.2f}", f"at most {TARGETS[name]}")
    table.add_row("results of 1 MiB, the first 1,000", f"{early:.0f} MB", "")
    table.add_row("the others", f"{late:.0f} MB", "no more")
    table.add_row("a finished, dropped future", f"{small:.1f} bytes", "0")
    Console().print(table)
    if arguments.array_bytes == ARRAY_BYTES and arguments.results == RESULTS_COUNT:
        figures = {"peaks": peaks, "samples_mb": samples, "bytes_per_future": small}
        took_s = time.monotonic() - started_s
        RESULTS.write_text(
            json.dumps({"machine": machine(), "took_s": took_s, **figures}, indent=1) + "\n"
        )
        draw(samples, PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
