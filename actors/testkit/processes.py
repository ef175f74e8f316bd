"""Which processes a piece of code has started and not ended, descendants and orphans included.

On Linux `/proc` tells; it is read only for processes that are new. Elsewhere psutil tells, which
does not find those whose parent has died.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MARK = "ACTORS_LEAK_CHECK"
_PROC = Path("/proc")
_EXEC_POLLS = 20
_POLL_S = 0.001
_KERNEL_THREAD = 0x200000
_LINUX = sys.platform == "linux"


@contextmanager
def children_mark() -> Iterator[None]:
    """Mark what is started meanwhile: the environment tells, even of a process without parent."""
    before = os.environ.get(_MARK)
    os.environ[_MARK] = (before or "") + _own_mark()
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_MARK, None)
        else:
            os.environ[_MARK] = before


def running_processes() -> set[int]:
    """Return the pids to compare with later."""
    if _LINUX:
        names = os.listdir("/proc")
        return {int(name) for name in names if name.isdecimal()}
    import psutil

    return {child.pid for child in psutil.Process().children(recursive=True)}


def new_processes(before: set[int]) -> list[str]:
    """Describe the processes of ours that were not there before."""
    return [
        f"process {pid}: {_describe(pid)}"
        for pid in sorted(running_processes() - before)
        if not _LINUX or _is_ours(pid, before)
    ]


def used_elsewhere(path: str, before: set[int]) -> bool:
    """Whether a process that is not ours has mapped the file at `path`, by whatever name."""
    others = running_processes() if _LINUX else set()
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return True  # somebody has just removed it
    # A named semaphore is mapped before it gets its name: the name in the maps is another one.
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    file = f" {device} {status.st_ino} ".encode()
    return any(
        file in _read(pid, "maps")
        for pid in others - {os.getpid()}
        if pid in before or not _is_ours(pid, before)
    )


def _is_ours(pid: int, before: set[int]) -> bool:
    """Whether this process descends from us, and not from a process of ours that was there."""
    parent, older = pid, False
    while parent > 1:
        parent = _parent(parent)
        if parent == os.getpid():
            return not older
        older = older or parent in before
    return _own_mark().encode() in _environment(pid)


def _environment(pid: int) -> bytes:
    """Its environment at its start; empty of kernel threads, zombies and other users' processes."""
    for _ in range(_EXEC_POLLS):
        try:
            environment = (_PROC / str(pid) / "environ").read_bytes()
        except OSError:
            return b""
        state = _stat(pid)
        if environment or not state or state[0] == b"Z" or int(state[6]) & _KERNEL_THREAD:
            return environment
        time.sleep(_POLL_S)  # in the middle of `exec` it has none
    return b""


def _own_mark() -> str:
    return f"<{os.getpid()}>"


def _parent(pid: int) -> int:
    stat = _stat(pid)
    return int(stat[1]) if stat else 0


def _stat(pid: int) -> list[bytes]:
    """State, parent, group, session, terminal, its group, flags, ...; empty when it has ended."""
    # "pid (name) state ppid ...", and the name may hold anything.
    return _read(pid, "stat").rpartition(b")")[2].split()


def _describe(pid: int) -> str:
    if not _LINUX:
        import psutil

        try:
            return " ".join(psutil.Process(pid).cmdline())
        except psutil.Error:
            return "ended meanwhile"
    if _stat(pid)[:1] == [b"Z"]:
        return "a zombie, nobody has reaped it"
    command = _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()
    return command[:200] or "ended meanwhile"


def _read(pid: int, name: str) -> bytes:
    try:
        return (_PROC / str(pid) / name).read_bytes()
    except OSError:
        return b""  # it has ended, or belongs to someone else
