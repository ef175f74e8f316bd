"""What the kernel says of an executor's memory: how much it has, and whether it was killed for it.

Read in both versions of control groups, at the places where systemd and the container runtimes
mount them; where there are none, the counter of the whole machine is looked at.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from scaler.cgroups import Group, groups, limits_of, read


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process, 0 if there is none.

    What it has mapped of shared memory does not count: it is the store's, which has its own bound.
    """
    if not pid:
        return 0
    lines = read(f"/proc/{pid}/status").splitlines()
    sizes = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
    if "VmRSS" in sizes:
        kibibytes = int(sizes["VmRSS"][0]) - int(sizes.get("RssShmem", ["0"])[0])
        return kibibytes << 10
    return 0 if os.path.exists("/proc/self/statm") else _rss_bytes_psutil(pid)


def _rss_bytes_psutil(pid: int) -> int:
    import psutil  # 24 ms, and needed here only

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


class Kills(NamedTuple):
    """How many OOM kills there have been, and where they are counted."""

    group: Group | None
    """`None`: in the whole machine."""
    total: int


class OomKills:
    """Attributes kills by the kernel's OOM killer to the executors that died of them.

    The kernel counts them and keeps no names. So an executor that died of a SIGKILL that nobody
    here ordered was killed for its memory, if the count has grown since it started by more than
    what others who died meanwhile account for.
    """

    def __init__(self, root: str = "/") -> None:
        """Read the files below `root`, which ends with a slash."""
        self._root = root
        self._attributed: dict[str, int] = {}
        """By file: the count up to which kills have their executor."""

    def look(self, pid: int) -> Kills:
        """Count the OOM kills in the group of `pid`: at an executor's start, and after its end."""
        for group in groups(self._read(f"proc/{pid}/cgroup")):
            count = counted(self._read(group.events))
            if count is not None:
                return Kills(group, count)
        return Kills(None, counted(self._read("proc/vmstat")) or 0)

    def cause(self, before: Kills, now: Kills) -> str:
        """Say, after a SIGKILL, in words that it was for memory; empty if it was not.

        Args:
            before: what was counted when the executor started.
            now: what is counted after its end.
        """
        group = now.group
        place = group.events if group else ""
        accounted = max(before.total, self._attributed.get(place, 0))
        if group != before.group or now.total <= accounted:
            return ""
        self._attributed[place] = accounted + 1
        if group is None:
            return "probably out of memory (the kernel's OOM killer struck on this machine)"
        limit = self._limit_bytes(group)
        size = f"limit {_mebibytes(limit)} of its" if limit else "no limit in its"
        return f"out of memory (the kernel's OOM killer; {size} control group {group.name})"

    def _limit_bytes(self, group: Group) -> int:
        """Return the lowest limit on the way up, 0 if there is none."""
        return min(limits_of(group, self._read), default=0)

    def _read(self, path: str) -> str:
        return read(self._root + path)


def counted(text: str) -> int | None:
    """Return the count of OOM kills; the line is the same in all files that have it."""
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if name == "oom_kill" and number.strip().isdecimal():
            return int(number)
    return None


def _mebibytes(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):,.0f} MiB"
