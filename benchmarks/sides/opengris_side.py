"""opengris-scaler, a local cluster of two workers. It is imported as `scaler`, like ours.

So it runs in an environment that does not have ours, and outside of this repository.
"""

from __future__ import annotations

import measure

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any


def gather(futures: list[Any]) -> list[Any]:
    return [future.result() for future in futures]


def with_client(case: Callable[[Any], float]) -> float:
    scaler: Any = import_module("scaler")
    cluster = scaler.SchedulerClusterCombo(n_workers=measure.WORKERS, logging_level="ERROR")
    try:
        with scaler.Client(address=cluster.get_address()) as client:
            return case(client)
    finally:
        cluster.shutdown()


CASES: dict[str, Callable[[Any], float]] = {
    "submit-gather": lambda client: measure.submit_gather(client.submit, gather),
    "map": lambda client: measure.map_items(client.map),
    "latency": lambda client: measure.latency(client.submit, gather),
    "cancel-running": lambda client: measure.cancel_running(
        client.submit, lambda future: future.cancel(), gather, calls=5
    ),
    "cold-start": lambda client: measure.cold_start(client.submit, gather),
    "idle-memory": lambda client: measure.idle_memory(client.submit, gather),
}

if __name__ == "__main__":
    measure.main({name: partial(with_client, case) for name, case in CASES.items()})
