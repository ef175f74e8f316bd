"""How many cores this process may use. Light: it runs before the launcher starts."""

from __future__ import annotations

import math
import os

_CGROUP_V2 = "/sys/fs/cgroup"
_CGROUP_V1 = "/sys/fs/cgroup/cpu"


def usable_cpus() -> int:
    """Return the cores of this process: its affinity, bounded by its cgroup's CPU quota."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this platform
        cores = os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def _cgroup_quota() -> float | None:
    """Return the quota in cores, `None` if there is none or it cannot be read."""
    try:
        own = _read("/proc/self/cgroup")
    except OSError:
        return None
    quotas = [_quota_v2(path) for path in _paths_v2(own)]
    quotas.append(_quota_v1())
    known = [quota for quota in quotas if quota is not None]
    return min(known) if known else None


def _paths_v2(own: str) -> list[str]:
    """The process's cgroup and all above it: each may set a quota."""
    for line in own.splitlines():
        if line.startswith("0::"):
            parts = line[3:].strip("/").split("/")
            return ["/".join((_CGROUP_V2, *parts[:n])) for n in range(len(parts) + 1)]
    return []


def _quota_v2(path: str) -> float | None:
    try:
        quota, period = _read(f"{path}/cpu.max").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _quota_v1() -> float | None:
    try:
        quota = int(_read(f"{_CGROUP_V1}/cpu.cfs_quota_us"))
        period = int(_read(f"{_CGROUP_V1}/cpu.cfs_period_us"))
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()
