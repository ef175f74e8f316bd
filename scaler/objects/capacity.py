"""How much memory this process may use: the machine's, or its control group's limit."""

from __future__ import annotations

import os
from typing import Final

_V1: Final = "/sys/fs/cgroup/memory"


def memory_bytes() -> int:
    """Return the memory of this machine, or the lowest limit of the control groups we are in."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([total, *_limits(_read("/proc/self/cgroup"))])


def _limits(cgroup: str) -> list[int]:
    limits = []
    for line in cgroup.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if not controllers:
            folder, file = "/sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            folder, file = _V1, "memory.limit_in_bytes"
        else:
            continue
        for part in ("", *filter(None, name.split("/"))):
            folder = f"{folder}/{part}" if part else folder
            text = _read(f"{folder}/{file}").strip()
            if text.isdecimal():
                limits.append(int(text))
    return limits


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 16).decode(errors="replace")
    except OSError:
        return ""
