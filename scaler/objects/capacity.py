"""How much memory this process may use: the machine's, or its control group's limit."""

from __future__ import annotations

import os

from scaler.cgroups import groups, limits_of, read


def memory_bytes() -> int:
    """Return the memory of this machine, or the lowest limit of the control groups we are in."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = [
        limit
        for group in groups(read("/proc/self/cgroup"))
        for limit in limits_of(group, lambda path: read(f"/{path}"))
    ]
    return min([total, *found])
