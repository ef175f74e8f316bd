"""The read end of an executor's pipe of answers."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

import msgspec

from scaler.protocol.executor import ExecutorFrame
from scaler.protocol.frames import READ_BYTES, FrameCutter, FrameTooLongError

_READS: Final = 64
"""Reads in a row, before others have their turn."""

_decode: Callable[[bytes], ExecutorFrame] = msgspec.msgpack.Decoder(ExecutorFrame).decode


class AnswersPipe:
    """Reads and decodes frames; nothing blocks.

    Attributes:
        has_ended: nobody can write any more.
        fault: what was wrong with what came; read no more then.
    """

    def __init__(self, fd: int) -> None:
        """Read `fd`, which must not block."""
        self._fd = fd
        self._cutter = FrameCutter()
        self.has_ended = False
        self.fault = ""

    def read(self) -> tuple[list[ExecutorFrame], bool]:
        """Return a bounded part of what is there, and whether more may be."""
        frames: list[ExecutorFrame] = []
        is_full = False
        try:
            for _ in range(_READS):
                data = self._read_some()
                for frame in self._cutter.cut(data):
                    frames.append(_decode(frame))  # noqa: PERF401 - those before a bad one count
                is_full = len(data) == READ_BYTES
                if not is_full:
                    break
        except (FrameTooLongError, msgspec.DecodeError, UnicodeDecodeError) as error:
            self.fault = f"it sent a malformed frame: {error}"
        return frames, is_full and not self.fault

    def _read_some(self) -> bytes:
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError:  # it died with bytes of ours unread
            data = b""
        self.has_ended = not data
        return data
