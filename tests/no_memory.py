"""Shared memory for tests without processes: nothing can be put into it or read from it."""

from __future__ import annotations

import mmap

from scaler.objects.file import SharedFile


class NoFile(SharedFile):
    """A file that keeps nothing."""

    def __init__(self) -> None:
        super().__init__(-1)

    def check_open(self) -> None:
        pass

    def write(self, data: memoryview, offset: int) -> None:
        pass

    def read(self, offset: int, size_bytes: int) -> bytes:
        raise AssertionError("nothing is in this memory")

    def read_into(self, buffer: bytearray, offset: int) -> None:
        raise AssertionError("nothing is in this memory")

    def map(self, offset: int, size_bytes: int, *, writable: bool = False) -> mmap.mmap:
        assert writable, "nothing is in this memory"
        return mmap.mmap(-1, size_bytes)

    def punch(self, offset: int, size_bytes: int) -> None:
        pass
