"""What every side measures in the same way.

Standard library only, and little of it: sides run in environments of their own, and the clock of
the cold start begins here.
"""

from __future__ import annotations

import time

STARTED_S = time.perf_counter()

import os  # noqa: E402 - the clock comes first
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

WORKERS = 2
TASKS = 5_000
ITEMS = 10_000
QUEUED = 1_000
CALLS = 300
WARM_UP_CALLS = 50
TELLS = 50_000
ASKS = 3_000
ROUNDS = 3
ROUNDS_BUDGET_S = 10.0
WAIT_S = 60.0
LARGE_BYTES = 64_000_000
LARGE_CALLS = 9
READERS = 50
MIDDLING_BYTES = 100_000
MIDDLING_TASKS = 1_000

Submit = Callable[..., Any]
Gather = Callable[[list[Any]], Any]


def noop() -> None:
    """Do nothing."""


def increment(number: int) -> int:
    """Do next to nothing."""
    return number + 1


def sleep(path: str) -> None:
    """Say by a file that it runs, then sleep."""
    with open(path, "w"):
        time.sleep(60)


def hold(path: str) -> None:
    """Say by a file that it runs, then take a slot for as long as a case may last."""
    with open(path, "w"):
        time.sleep(600)


def compute(path: str) -> None:
    """Say by a file that it runs, then sit in C code that never looks at signals."""
    with open(path, "w"):
        sum(range(10**12))


def median(values: list[float]) -> float:
    """Return the middle value (`statistics` would cost a cold start 10 ms)."""
    return sorted(values)[len(values) // 2]


def rate(once: Callable[[], object], count: int) -> float:
    """Return how many of `count` things per second `once` does: the median of some rounds."""
    rates: list[float] = []
    budget_ends = time.perf_counter() + ROUNDS_BUDGET_S
    while len(rates) < ROUNDS and (not rates or time.perf_counter() < budget_ends):
        started = time.perf_counter()
        once()
        rates.append(count / (time.perf_counter() - started))
    return median(rates)


def p50(
    once: Callable[[], object],
    *,
    calls: int = CALLS,
    warm_up: int = WARM_UP_CALLS,
    prepare: Callable[[], object] = noop,
) -> float:
    """Return the median duration of `once`, seconds; `prepare` runs before each, not timed."""
    durations = []
    for number in range(warm_up + calls):
        prepare()
        started = time.perf_counter()
        once()
        if number >= warm_up:
            durations.append(time.perf_counter() - started)
    return median(durations)


def submit_gather(submit: Submit, gather: Gather) -> float:
    """Return tasks per second: submit no-ops one by one, then wait for all."""
    gather([submit(noop) for _ in range(200)])
    return rate(lambda: gather([submit(noop) for _ in range(TASKS)]), TASKS)


def map_items(map_all: Callable[[Callable[[int], int], range], object]) -> float:
    """Return items per second of the side's own `map`."""
    map_all(increment, range(200))
    return rate(lambda: map_all(increment, range(ITEMS)), ITEMS)


def latency(submit: Submit, gather: Gather) -> float:
    """Return microseconds from a submit to its result, one at a time."""
    return p50(lambda: gather([submit(noop)])) * 1e6


def array_of(size_bytes: int) -> Any:
    """Return a numpy array that every page of is written."""
    import numpy as np

    return np.ones(size_bytes // 8)


def first(array: Any) -> float:
    """Look at one number of an array."""
    return float(array[0])


KEPT: dict[int, Any] = {}


def kept(size_bytes: int) -> Any:
    """Return an array that this process made before, so that a result costs its way alone."""
    if size_bytes not in KEPT:
        KEPT[size_bytes] = array_of(size_bytes)
    return KEPT[size_bytes]


def argument(submit: Submit, gather: Gather) -> float:
    """Return MB/s of a large array as argument, one task at a time."""
    array = array_of(LARGE_BYTES)
    once_s = p50(lambda: gather([submit(first, array)]), calls=LARGE_CALLS, warm_up=2)
    return LARGE_BYTES / once_s / 1e6


def result(submit: Submit, gather: Gather) -> float:
    """Return MB/s of a large array as result, one task at a time."""
    once_s = p50(
        lambda: first(gather([submit(kept, LARGE_BYTES)])[0]), calls=LARGE_CALLS, warm_up=2
    )
    return LARGE_BYTES / once_s / 1e6


def shared(put: Callable[[Any], Any], submit: Submit, gather: Gather) -> float:
    """Return GB/s of a large array that is stored once and read by many tasks."""
    array = array_of(LARGE_BYTES)

    def once() -> None:
        reference = put(array)
        gather([submit(first, reference) for _ in range(READERS)])

    return LARGE_BYTES * READERS / p50(once, calls=LARGE_CALLS, warm_up=2) / 1e9


def middling(submit: Submit, gather: Gather) -> float:
    """Return tasks per second, each with the same array of 100 KB."""
    return of_arrays([array_of(MIDDLING_BYTES)] * MIDDLING_TASKS, submit, gather)


def own_arrays(submit: Submit, gather: Gather) -> float:
    """Return tasks per second, each with an array of 100 KB of its own."""
    arrays = [array_of(MIDDLING_BYTES) * n for n in range(MIDDLING_TASKS)]
    return of_arrays(arrays, submit, gather)


def of_arrays(arrays: list[Any], submit: Submit, gather: Gather) -> float:
    """Return tasks per second, one for each of these arrays."""

    def once() -> None:
        gather([submit(first, array) for array in arrays])

    once()
    return rate(once, len(arrays))


class Busy:
    """All slots but `free` are taken by sleeping tasks."""

    def __init__(self, submit: Submit, cancel: Callable[[Any], object], *, free: int = 0) -> None:
        """Fill the slots and wait until all their tasks run."""
        import tempfile

        self._folder = tempfile.TemporaryDirectory()
        self._submit = submit
        self._cancel = cancel
        self._started = 0
        self._futures = [self.start(hold) for _ in range(WORKERS - free)]

    def start(self, task: Callable[[str], None]) -> Any:
        """Submit `task` and wait until it runs."""
        self._started += 1
        path = os.path.join(self._folder.name, str(self._started))
        future = self._submit(task, path)
        ends = time.perf_counter() + WAIT_S
        while not os.path.exists(path):
            if time.perf_counter() > ends:
                raise TimeoutError(f"the task did not start within {WAIT_S} s")
            time.sleep(0.001)
        return future

    def close(self) -> None:
        """Cancel what fills the slots."""
        for future in self._futures:
            self._cancel(future)
        self._folder.cleanup()


def cancel_running(
    submit: Submit,
    cancel: Callable[[Any], object],
    gather: Gather,
    task: Callable[[str], None] = sleep,
    calls: int = 11,
) -> float:
    """Return milliseconds from the cancel of a running task until its slot ran a new one."""
    gather([submit(noop) for _ in range(100)])
    busy = Busy(submit, cancel, free=1)
    running: list[Any] = []

    def once() -> None:
        cancel(running.pop())
        gather([submit(noop)])

    result = p50(once, calls=calls, warm_up=1, prepare=lambda: running.append(busy.start(task)))
    busy.close()
    return result * 1e3


def cancel_queued(
    submit: Submit, cancel: Callable[[Any], object], cancel_all: Callable[[list[Any]], object]
) -> float:
    """Return microseconds for each of many queued tasks cancelled in one call."""
    busy = Busy(submit, cancel)
    queued: list[Any] = []

    def queue() -> None:
        queued[:] = [submit(noop) for _ in range(QUEUED)]

    result = p50(lambda: cancel_all(queued), calls=11, warm_up=2, prepare=queue)
    busy.close()
    return result / QUEUED * 1e6


def cancel_one_queued(submit: Submit, cancel: Callable[[Any], object]) -> float:
    """Return microseconds of the cancel of one queued task."""
    busy = Busy(submit, cancel)
    queued: list[Any] = []
    result = p50(lambda: cancel(queued.pop()), prepare=lambda: queued.append(submit(noop)))
    busy.close()
    return result * 1e6


def cold_start(submit: Submit, gather: Gather) -> float:
    """Return seconds since this process began to import, to the first result."""
    gather([submit(noop)])
    return time.perf_counter() - STARTED_S


def idle_memory(submit: Submit, gather: Gather) -> float:
    """Return the unique memory of this process and all its children when idle, MB (Linux)."""
    gather([submit(noop) for _ in range(100)])
    time.sleep(1.0)
    return sum(_unique_bytes(pid) for pid in _family(os.getpid())) / 1e6


def _family(root: int) -> list[int]:
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    parents[int(name)] = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
    family = [root]
    for pid in family:
        family += [child for child, parent in parents.items() if parent == pid]
    return family


def _unique_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            lines = [line.split() for line in file]
    except OSError:
        return 0
    return sum(int(line[1]) * 1024 for line in lines if line[0].startswith("Private_"))


def main(cases: dict[str, Callable[[], float]]) -> None:
    """Measure the case that the command line names and print it as one JSON line."""
    case = sys.argv[1]
    value = cases[case]()
    print(f'{{"case": "{case}", "value": {value!r}}}', flush=True)
