"""Control groups of memory, in both versions, mounted as systemd and container runtimes do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

_FILE_BYTES: Final = 1 << 16
_NO_LIMIT_BYTES: Final = 1 << 60
"""Version 1 writes a number near 2**63 where there is no limit."""


class Group(NamedTuple):
    """A control group of memory."""

    name: str
    events: str
    """The file that counts its OOM kills."""
    limits: tuple[str, ...]
    """The files with its limit and those of the groups above it."""


def groups(cgroup: str) -> Iterator[Group]:
    """Yield where a process's OOM kills may be counted, by its `/proc/<pid>/cgroup`."""
    for line in cgroup.splitlines():
        _, _, controllers_and_name = line.partition(":")
        controllers, _, name = controllers_and_name.partition(":")
        if not controllers:
            yield _group(name, "sys/fs/cgroup", "memory.events", "memory.max")
        elif "memory" in controllers.split(","):
            place = "sys/fs/cgroup/memory"
            yield _group(name, place, "memory.oom_control", "memory.limit_in_bytes")


def _group(name: str, mount: str, events: str, limit: str) -> Group:
    folders = [mount]
    for part in filter(None, name.split("/")):
        folders.append(f"{folders[-1]}/{part}")
    return Group(name, f"{folders[-1]}/{events}", tuple(f"{at}/{limit}" for at in folders))


def limits_of(group: Group, read_text: Callable[[str], str]) -> list[int]:
    """Return the limits of a group and those above it, bytes; `read_text` reads a file."""
    texts = [read_text(path).strip() for path in group.limits]
    limits = [int(text) for text in texts if text.isdecimal()]
    return [limit for limit in limits if limit < _NO_LIMIT_BYTES]


def read(path: str) -> str:
    """Return what a short file of the kernel says, empty if there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # `open` takes twice as long
    except OSError:
        return ""
    try:
        return os.read(fd, _FILE_BYTES).decode(errors="replace")
    except OSError:  # the process has ended in between
        return ""
    finally:
        os.close(fd)
