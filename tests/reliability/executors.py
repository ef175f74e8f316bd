"""Which processes run the tasks."""

from __future__ import annotations

import time
from typing import Any

BOUND_S = 20.0


def executors(client: Any) -> set[int]:
    """Return the pids of all executors of the client's cluster, once each runs tasks."""
    deadline_s = time.monotonic() + BOUND_S
    while time.monotonic() < deadline_s:
        futures = [client.submit(time.sleep, 0.005) for _ in range(client.cluster.slots)]
        for future in futures:
            future.result(BOUND_S)
        pids = {future.profiling_info().pid for future in futures}
        if len(pids) == len(futures):
            return pids
    raise AssertionError("not all workers run tasks at the same time")
