"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP_V2 = Path("/sys/fs/cgroup")
_CGROUP_V1 = Path("/sys/fs/cgroup/cpu")


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
        own = Path("/proc/self/cgroup").read_text()
    except OSError:
        return None
    quotas = [_quota_v2(path) for path in _paths_v2(own)]
    quotas.append(_quota_v1())
    known = [quota for quota in quotas if quota is not None]
    return min(known) if known else None


def _paths_v2(own: str) -> list[Path]:
    """The process's cgroup and all above it: each may set a quota."""
    for line in own.splitlines():
        if line.startswith("0::"):
            path = _CGROUP_V2 / line[3:].lstrip("/")
            return [path, *(parent for parent in path.parents if parent >= _CGROUP_V2)]
    return []


def _quota_v2(path: Path) -> float | None:
    try:
        quota, period = (path / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _quota_v1() -> float | None:
    try:
        quota = int((_CGROUP_V1 / "cpu.cfs_quota_us").read_text())
        period = int((_CGROUP_V1 / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None
