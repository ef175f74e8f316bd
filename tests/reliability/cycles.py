"""Clusters that are started and closed again and again, at every kind of moment.

`python -m tests.reliability.cycles 1000 [SEED]` prints what it took; it fails at the first cycle
that leaves something behind, or takes too long to close.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import msgspec
import psutil

from actors.testkit.leaks import check_leaks
from scaler import Client, ClusterStartError, LocalCluster

CLOSE_BOUND_S = 5.0


class Cycle(msgspec.Struct, frozen=True):
    """What one cycle took."""

    kind: str
    start_s: float
    close_s: float
    rss_bytes: int


def run(count: int, seed: int) -> Iterator[Cycle]:
    """Run so many cycles, of kinds drawn from the seed."""
    draws = random.Random(seed)
    process = psutil.Process()
    for number in range(count):
        # The first ones in a row, so that a short run has seen each.
        kind = KINDS[number] if number < len(KINDS) else draws.choice(KINDS)
        with check_leaks(timeout=0.5):
            start_s, close_s = kind(draws)
        name = kind.__name__
        assert close_s < CLOSE_BOUND_S, f"cycle {number} ({name}): closed in {close_s:.1f} s"
        yield Cycle(name, start_s, close_s, process.memory_info().rss)


class Stopwatch:
    """Times from call to call."""

    def __init__(self) -> None:
        self._at_s = time.monotonic()

    def lap(self) -> float:
        before_s, self._at_s = self._at_s, time.monotonic()
        return self._at_s - before_s


class Started:
    """A client whose start and end are timed."""

    def __init__(self, draws: random.Random) -> None:
        watch = Stopwatch()
        self.client = Client(workers=draws.randint(1, 3))
        self.start_s = watch.lap()

    def times(self, close: Callable[[], Any] | None = None) -> tuple[float, float]:
        """Close it; return what start and close took."""
        watch = Stopwatch()
        (close or self.client.close)()
        self.client.close()
        return self.start_s, watch.lap()


def resist() -> None:
    """Run on through every interrupt."""
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass


def at_once(draws: random.Random) -> tuple[float, float]:
    return Started(draws).times()


def cluster_alone(draws: random.Random) -> tuple[float, float]:
    watch = Stopwatch()
    cluster = LocalCluster(workers=draws.randint(1, 8))  # all but the first are still starting
    start_s = watch.lap()
    cluster.close()
    return start_s, watch.lap()


def after_a_submit(draws: random.Random) -> tuple[float, float]:
    started = Started(draws)
    started.client.submit(pow, 2, 3)
    return started.times()


def after_results(draws: random.Random) -> tuple[float, float]:
    started = Started(draws)
    assert started.client.map(abs, range(100)) == list(range(100))
    return started.times()


def with_tasks_running(draws: random.Random) -> tuple[float, float]:
    started = Started(draws)
    futures = [started.client.submit(time.sleep, 60) for _ in range(10)]
    _until(futures[0].running)
    times = started.times()
    assert all(future.cancelled() for future in futures)
    return times


def with_tasks_that_resist(draws: random.Random) -> tuple[float, float]:
    started = Started(draws)
    future = started.client.submit(resist)
    _until(future.running)
    return started.times()


def full_of_work(draws: random.Random) -> tuple[float, float]:
    started = Started(draws)
    for number in range(2_000):
        started.client.submit(pow, number, 2)
    return started.times()


def with_cancels_under_way(draws: random.Random) -> tuple[float, float]:
    started = Started(draws)
    futures = [started.client.submit(resist) for _ in range(3)]
    _until(futures[0].running)
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(future.cancel, grace=60) for future in futures]
        times = started.times()
        assert all(answer.result() for answer in answers)
    return times


def while_executors_die(draws: random.Random) -> tuple[float, float]:
    started = Started(draws)
    for _ in range(5):
        started.client.submit(os._exit, 3)
    return started.times()


def while_the_launcher_dies(draws: random.Random) -> tuple[float, float]:
    started = Started(draws)
    executor = started.client.submit(os.getpid).result(CLOSE_BOUND_S)
    launcher = psutil.Process(executor).ppid()
    started.client.submit(time.sleep, 60)
    logging.disable()  # it is logged
    try:
        os.kill(launcher, signal.SIGKILL)
        return started.times()
    finally:
        logging.disable(logging.NOTSET)


def given_up_at_the_start(draws: random.Random) -> tuple[float, float]:
    watch = Stopwatch()
    try:
        LocalCluster(workers=1, start_timeout=draws.uniform(0.0, 0.03))
    except ClusterStartError:
        return watch.lap(), 0.0
    raise AssertionError("a cluster has started sooner than it can")


def dropped(draws: random.Random) -> tuple[float, float]:
    process, threads = psutil.Process(), threading.active_count()
    children = len(process.children())  # others' too: a test may have a kernel of a notebook
    started = Started(draws)
    started.client.submit(time.sleep, 60)
    start_s, watch = started.start_s, Stopwatch()
    del started
    _until(lambda: threading.active_count() == threads and len(process.children()) == children)
    return start_s, watch.lap()


def from_threads(draws: random.Random) -> tuple[float, float]:
    started = Started(draws)
    started.client.submit(time.sleep, 60)
    with ThreadPoolExecutor(3) as pool:
        return started.times(lambda: [*pool.map(lambda _: started.client.close(), range(3))])


def from_a_callback(draws: random.Random) -> tuple[float, float]:
    started = Started(draws)
    called = threading.Event()

    def close(_: Any) -> None:
        started.client.close()
        called.set()

    started.client.submit(pow, 2, 3).add_done_callback(close)
    assert called.wait(CLOSE_BOUND_S)
    return started.times()


def at_an_exception(draws: random.Random) -> tuple[float, float]:
    started = Started(draws)
    watch = Stopwatch()
    try:
        with started.client as client:
            client.submit(time.sleep, 60)
            raise ValueError("of the body")
    except ValueError:
        return started.start_s, watch.lap()


def at_a_random_moment(draws: random.Random) -> tuple[float, float]:
    started = Started(draws)
    for _ in range(draws.randint(1, 20)):
        future = started.client.submit(time.sleep, draws.choice([0, 0.001, 0.01, 60]))
        if draws.random() < 0.3:
            future.cancel(timeout=0)
    time.sleep(draws.uniform(0, 0.02))
    return started.times()


KINDS: list[Callable[[random.Random], tuple[float, float]]] = [
    at_once,
    cluster_alone,
    after_a_submit,
    after_results,
    with_tasks_running,
    with_tasks_that_resist,
    full_of_work,
    with_cancels_under_way,
    while_executors_die,
    while_the_launcher_dies,
    given_up_at_the_start,
    dropped,
    from_threads,
    from_a_callback,
    at_an_exception,
    at_a_random_moment,
]


def _until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s, "nothing came within 20 s"
        time.sleep(0.0005)


@contextmanager
def _own_temporary_directory() -> Iterator[str]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="cycles-") as directory:
        before, tempfile.tempdir = tempfile.tempdir, directory
        try:
            yield directory
        finally:
            tempfile.tempdir = before


def main(count: int, seed: int) -> None:
    """Run, and print what it took."""
    print(f"{count} cycles, seed {seed}, Python {sys.version.split()[0]}", flush=True)
    process = psutil.Process()
    watch = Stopwatch()
    with _own_temporary_directory() as directory:
        cycles = []
        for number, cycle in enumerate(run(count, seed), 1):
            assert os.listdir(directory) == [], f"cycle {number} ({cycle.kind}) left files"
            cycles.append(cycle)
    took_s = watch.lap()
    for name, times_s in (
        ("start", sorted(cycle.start_s for cycle in cycles)),
        ("close", sorted(cycle.close_s for cycle in cycles)),
    ):
        middle_s, last_s = statistics.median(times_s), times_s[-1]
        p99_s = times_s[int(len(times_s) * 0.99)]
        print(f"{name}: p50 {middle_s:.3f} s, p99 {p99_s:.3f} s, longest {last_s:.3f} s")
    tenth = len(cycles) // 10
    first_mib, last_mib = cycles[tenth].rss_bytes / (1 << 20), cycles[-1].rss_bytes / (1 << 20)
    print(f"memory: {first_mib:.1f} MiB after {tenth} cycles, {last_mib:.1f} MiB at the end")
    print(
        f"left: {len(process.children(recursive=True))} processes, "
        f"{threading.active_count()} thread, {process.num_fds()} descriptors; "
        f"all in {took_s:.0f} s"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.getrandbits(32))
