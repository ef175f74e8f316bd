"""ray, a local cluster of two CPUs."""

from __future__ import annotations

import measure

from collections.abc import Callable
from functools import partial
from typing import Any

import ray

REMOTE: dict[Callable[..., Any], Any] = {}


def submit(function: Callable[..., Any], *args: Any) -> Any:
    if function not in REMOTE:
        REMOTE[function] = ray.remote(function)
    return REMOTE[function].remote(*args)


def map_all(function: Callable[[int], int], items: range) -> list[int]:
    return ray.get([submit(function, item) for item in items])


def cancel_all(references: list[Any]) -> None:
    for reference in references:
        ray.cancel(reference)


def kill(reference: Any) -> None:
    # Without `force` a sleeping task is not woken: it was seen to sleep to its end.
    ray.cancel(reference, force=True)


class Echo:
    """Answers at once."""

    def ping(self) -> int:
        return 1


def process_call() -> float:
    echo = ray.remote(Echo).remote()
    return measure.p50(lambda: ray.get(echo.ping.remote())) * 1e6


def process_pipelined() -> float:
    echo = ray.remote(Echo).remote()
    ray.get(echo.ping.remote())
    count = measure.TASKS
    return measure.rate(lambda: ray.get([echo.ping.remote() for _ in range(count)]), count)


def create_process() -> float:
    remote = ray.remote(Echo).options(num_cpus=0)
    return measure.p50(lambda: ray.get(remote.remote().ping.remote()), calls=11, warm_up=2) * 1e3


CASES: dict[str, Callable[[], float]] = {
    "submit-gather": partial(measure.submit_gather, submit, ray.get),
    "map": partial(measure.map_items, map_all),
    "latency": partial(measure.latency, submit, ray.get),
    "argument": partial(measure.argument, submit, ray.get),
    "result": partial(measure.result, submit, ray.get),
    "shared": partial(measure.shared, ray.put, submit, ray.get),
    "middling": partial(measure.middling, submit, ray.get),
    "own-arrays": partial(measure.own_arrays, submit, ray.get),
    "cancel-running": partial(measure.cancel_running, submit, kill, ray.get),
    "cancel-queued": partial(measure.cancel_queued, submit, kill, cancel_all),
    "cold-start": partial(measure.cold_start, submit, ray.get),
    "idle-memory": partial(measure.idle_memory, submit, ray.get),
    "process-call": process_call,
    "process-pipelined": process_pipelined,
    "create-process": create_process,
}


def run(case: Callable[[], float]) -> float:
    ray.init(num_cpus=measure.WORKERS, include_dashboard=False, log_to_driver=False)
    try:
        return case()
    finally:
        ray.shutdown()


if __name__ == "__main__":
    measure.main({name: partial(run, case) for name, case in CASES.items()})
