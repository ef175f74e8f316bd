"""Shared memory for tests without processes: nothing can be put into it or read from it."""

from __future__ import annotations

import ctypes
from typing import Any

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

    def map(self, offset: int, size_bytes: int, *, writable: bool = False) -> Any:
        assert writable, "nothing is in this memory"
        return (ctypes.c_ubyte * size_bytes)()

    def punch(self, offset: int, size_bytes: int) -> None:
        pass
