"""mpire: a process pool with a chunked map (forked workers, kept alive)."""

from __future__ import annotations

import measure

from collections.abc import Callable
from functools import partial
from typing import Any

from mpire import WorkerPool


def gather(results: list[Any]) -> list[Any]:
    return [result.get() for result in results]


def with_pool(case: Callable[[Any, measure.Submit], float]) -> float:
    with WorkerPool(n_jobs=measure.WORKERS, keep_alive=True) as pool:

        def submit(function: Callable[..., Any], *args: Any) -> Any:
            return pool.apply_async(function, args)

        return case(pool, submit)


CASES: dict[str, Callable[[Any, measure.Submit], float]] = {
    "submit-gather": lambda _, submit: measure.submit_gather(submit, gather),
    "map": lambda pool, _: measure.map_items(pool.map),
    "latency": lambda _, submit: measure.latency(submit, gather),
    "cold-start": lambda _, submit: measure.cold_start(submit, gather),
    "idle-memory": lambda _, submit: measure.idle_memory(submit, gather),
}

if __name__ == "__main__":
    measure.main({name: partial(with_pool, case) for name, case in CASES.items()})
