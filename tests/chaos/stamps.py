"""What really ran, and where, and when: written by tasks into shared files, read by the judge."""

from __future__ import annotations

import mmap
import os
import struct
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

_SLOT = struct.Struct("<QII")
"""When it acted last, how often it began, in which process last."""
_BEGIN = struct.Struct("<QII")


class Begin(NamedTuple):
    """One start of a task."""

    at_ns: int
    task: int
    pid: int


class Stamps:
    """A slot for each task, and a log of every begin. Tasks are called by their index."""

    def __init__(self, directory: str, tasks: int | None = None) -> None:
        """Open the stamps in `directory`; make them for so many tasks if a number is given."""
        self._slots_path = Path(directory) / "slots"
        self._log_path = Path(directory) / "begins"
        if tasks is not None:
            with self._slots_path.open("wb") as file:
                file.truncate(_SLOT.size * tasks)
            self._log_path.write_bytes(b"")
        self._log = os.open(self._log_path, os.O_WRONLY | os.O_APPEND)
        slots = os.open(self._slots_path, os.O_RDWR)
        self._slots = mmap.mmap(slots, 0)
        os.close(slots)

    def begin(self, index: int) -> int:
        """Note a begin; return how many there are now, this one included.

        The log is appended to, so none is lost when two executors begin the same task.
        """
        now_ns, pid = time.monotonic_ns(), os.getpid()
        begins = self.begins_of(index)[0] + 1
        _SLOT.pack_into(self._slots, _SLOT.size * index, now_ns, begins, pid)
        os.write(self._log, _BEGIN.pack(now_ns, index, pid))
        return begins

    def stamp(self, index: int) -> None:
        """Note that the task acts now."""
        struct.pack_into("<Q", self._slots, _SLOT.size * index, time.monotonic_ns())

    def last_alive_ns(self, index: int) -> int:
        """Return when the task acted last, 0: never."""
        alive_ns: int = _SLOT.unpack_from(self._slots, _SLOT.size * index)[0]
        return alive_ns

    def begins_of(self, index: int) -> tuple[int, int]:
        """Return how often the task has begun, and in which process last."""
        _, begins, pid = _SLOT.unpack_from(self._slots, _SLOT.size * index)
        return begins, pid

    def begins(self) -> dict[int, list[Begin]]:
        """Return the begins of each task that has any, in order of time."""
        found: dict[int, list[Begin]] = {}
        for at_ns, index, pid in _BEGIN.iter_unpack(self._log_path.read_bytes()):
            found.setdefault(index, []).append(Begin(at_ns, index, pid))
        for begins in found.values():
            begins.sort()
        return found

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._log)
        self._slots.close()


@cache
def stamps_in(directory: str) -> Stamps:
    """Return the stamps of this process."""
    return Stamps(directory)
