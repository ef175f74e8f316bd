"""Tasks that leave stamps in shared memory, so that a test can tell what really ran, and when."""

import mmap
import os
import struct
import time
from functools import cache
from pathlib import Path

ALIVE = struct.Struct("<Q")
BEGIN = struct.Struct("<I")


class Stamps:
    """A file with the time of each task's last sign of life, and a log of every begin."""

    def __init__(self, directory: str, tasks: int | None = None) -> None:
        """Open the stamps in `directory`; make them for so many tasks if a number is given."""
        self._alive_path = Path(directory) / "alive"
        self._log_path = Path(directory) / "begins"
        if tasks is not None:
            self._alive_path.write_bytes(bytes(ALIVE.size * tasks))
            self._log_path.write_bytes(b"")
        self._log = os.open(self._log_path, os.O_WRONLY | os.O_APPEND)
        alive = os.open(self._alive_path, os.O_RDWR)
        self._alive = mmap.mmap(alive, 0)
        os.close(alive)

    def begin(self, index: int) -> None:
        """Note a begin: appended, so none is lost when two executors begin the same task."""
        os.write(self._log, BEGIN.pack(index))

    def stamp(self, index: int) -> None:
        """Note that the task acts now."""
        ALIVE.pack_into(self._alive, ALIVE.size * index, time.monotonic_ns())

    def last_alive_ns(self, index: int) -> int:
        """Return when the task acted last, 0: never."""
        alive_ns: int = ALIVE.unpack_from(self._alive, ALIVE.size * index)[0]
        return alive_ns

    def begins(self) -> list[int]:
        """Return the index of every begin, in order."""
        return [index for (index,) in BEGIN.iter_unpack(self._log_path.read_bytes())]

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._log)
        self._alive.close()


@cache
def _stamps(directory: str) -> Stamps:
    return Stamps(directory)


def act(directory: str, index: int, duration_s: float) -> int:
    """Begin, give signs of life for `duration_s`, return a value that names the task."""
    stamps = _stamps(directory)
    stamps.begin(index)
    stamps.stamp(index)
    end_s = time.monotonic() + duration_s
    while time.monotonic() < end_s:
        time.sleep(0.0005)
        stamps.stamp(index)
    return -index
