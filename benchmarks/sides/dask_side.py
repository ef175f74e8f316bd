"""dask.distributed, a local cluster of two single-threaded processes."""

from __future__ import annotations

import measure

from collections.abc import Callable
from functools import partial
from typing import Any

from distributed import Client


class Echo:
    """Answers at once."""

    def ping(self) -> int:
        return 1


def process_call(client: Client) -> float:
    echo = client.submit(Echo, actor=True).result()
    return measure.p50(lambda: echo.ping().result()) * 1e6


def process_pipelined(client: Client) -> float:
    echo = client.submit(Echo, actor=True).result()
    count = measure.ASKS

    def once() -> None:
        for answer in [echo.ping() for _ in range(count)]:
            answer.result()

    return measure.rate(once, count)


def create_process(client: Client) -> float:
    def once() -> None:
        client.submit(Echo, actor=True, pure=False).result().ping().result()

    return measure.p50(once, calls=21, warm_up=3) * 1e3


def with_client(case: Callable[[Client, measure.Submit], float]) -> float:
    options: dict[str, Any] = {"dashboard_address": None, "silence_logs": 50}
    with Client(n_workers=measure.WORKERS, threads_per_worker=1, **options) as client:
        return case(client, partial(client.submit, pure=False))


CASES: dict[str, Callable[[Client, measure.Submit], float]] = {
    "submit-gather": lambda client, submit: measure.submit_gather(submit, client.gather),
    "map": lambda client, _: measure.map_items(
        lambda function, items: client.gather(client.map(function, items, pure=False))
    ),
    "latency": lambda client, submit: measure.latency(submit, client.gather),
    "argument": lambda client, submit: measure.argument(submit, client.gather),
    "result": lambda client, submit: measure.result(submit, client.gather),
    "shared": lambda client, submit: measure.shared(
        partial(client.scatter, hash=False), submit, client.gather
    ),
    "middling": lambda client, submit: measure.middling(submit, client.gather),
    "own-arrays": lambda client, submit: measure.own_arrays(submit, client.gather),
    "cold-start": lambda client, submit: measure.cold_start(submit, client.gather),
    "idle-memory": lambda client, submit: measure.idle_memory(submit, client.gather),
    "process-call": lambda client, _: process_call(client),
    "process-pipelined": lambda client, _: process_pipelined(client),
    "create-process": lambda client, _: create_process(client),
}

if __name__ == "__main__":
    measure.main({name: partial(with_client, case) for name, case in CASES.items()})
