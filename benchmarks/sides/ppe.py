"""`concurrent.futures.ProcessPoolExecutor`, forked and spawned."""

from __future__ import annotations

import measure

import sys
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any


def gather(futures: list[Future[Any]]) -> list[Any]:
    return [future.result() for future in futures]


def with_pool(case: Callable[[ProcessPoolExecutor], float]) -> float:
    context = get_context(sys.argv[2])
    with ProcessPoolExecutor(measure.WORKERS, mp_context=context) as pool:
        return case(pool)


CASES: dict[str, Callable[[ProcessPoolExecutor], float]] = {
    "submit-gather": lambda pool: measure.submit_gather(pool.submit, gather),
    "map": lambda pool: measure.map_items(lambda fn, items: list(pool.map(fn, items))),
    "latency": lambda pool: measure.latency(pool.submit, gather),
    "argument": lambda pool: measure.argument(pool.submit, gather),
    "result": lambda pool: measure.result(pool.submit, gather),
    "middling": lambda pool: measure.middling(pool.submit, gather),
    "own-arrays": lambda pool: measure.own_arrays(pool.submit, gather),
    "cold-start": lambda pool: measure.cold_start(pool.submit, gather),
    "idle-memory": lambda pool: measure.idle_memory(pool.submit, gather),
}

if __name__ == "__main__":
    measure.main({name: partial(with_pool, case) for name, case in CASES.items()})
