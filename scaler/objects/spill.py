"""Objects on disk: where they go when memory has no room, and come from when they are read.

One file for a host, without a name from the start: nothing is left of it when the last process that
has it ends. What was spilled is read, or mapped, from there: the kernel's page cache decides what
of it is in memory, so nothing is ever brought back.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from functools import partial
from typing import Final

from scaler.objects.arena import Arena
from scaler.objects.file import FILE_BYTES, SharedFile
from scaler.objects.holes import Holes
from scaler.protocol.objects import Spilled

_CHUNK_BYTES: Final = 1 << 20


class SpillFile:
    """The file, and which parts of it are used. Thread-safe: nobody waits while one writes."""

    def __init__(self, file: SharedFile) -> None:
        """Use `file`, of `open_spill_file`."""
        self.file = file
        self._arena = Arena(0, 0)

    def write(self, memory: SharedFile, home: int, size_bytes: int) -> Spilled:
        """Copy an object to disk.

        Raises:
            OSError: the disk has failed.
            ObjectStoreFullError: it is full.
        """
        offset, _ = self._arena.take(size_bytes)
        checksum = 0
        try:
            for done in range(0, size_bytes, _CHUNK_BYTES):
                chunk = memory.read(home + done, min(_CHUNK_BYTES, size_bytes - done))
                checksum = zlib.crc32(chunk, checksum)
                self.file.write(memoryview(chunk), offset + done)
        except BaseException:
            self.free(offset)
            raise
        return Spilled(offset, size_bytes, checksum)

    def free(self, offset: int) -> None:
        """Give the place of an object back."""
        holes = Holes()
        self.free_in(holes, offset)
        holes.punch(FILE_BYTES)

    def free_in(self, holes: Holes, offset: int) -> None:
        """Do what `free` does, when it is the turn of `holes`: a disk may be slow."""
        hole = self._arena.free(offset)
        if hole is not None:  # the place is taken and written again when this is done
            holes.add(self.file, *hole, partial(self._arena.cooled, *hole))


def open_spill_file(directory: str | None) -> SharedFile:
    """Make a file without a name, of mode 0600.

    Args:
        directory: where; `None`: where temporary files are.

    Raises:
        OSError: it cannot be written there.
    """
    place = directory or tempfile.gettempdir()
    if hasattr(os, "O_TMPFILE"):
        try:
            fd = os.open(place, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            return SharedFile(fd, place)
        except OSError:  # a file system that has no such files, or a place that cannot be written
            pass
    fd, name = tempfile.mkstemp(prefix="scaler-spill-", dir=place)
    os.unlink(name)
    return SharedFile(fd, place)
