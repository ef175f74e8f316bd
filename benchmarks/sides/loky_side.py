"""loky: a process pool that survives its workers."""

from __future__ import annotations

import measure

from collections.abc import Callable
from functools import partial
from typing import Any

from loky import ProcessPoolExecutor


def gather(futures: list[Any]) -> list[Any]:
    return [future.result() for future in futures]


def with_pool(case: Callable[[Any], float]) -> float:
    pool = ProcessPoolExecutor(max_workers=measure.WORKERS)
    try:
        return case(pool)
    finally:
        pool.shutdown(kill_workers=True)


CASES: dict[str, Callable[[Any], float]] = {
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
