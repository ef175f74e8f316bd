"""The claim pipe, seen from the worker: tokens go in, and those not begun can be taken back."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from typing import Final

from scaler.protocol.executor import KNOCK, TOKEN

_READ_BYTES: Final = 65_536
"""What a pipe holds as a rule."""

_TOKENS: Final = _READ_BYTES // TOKEN.size
"""Written at once, at most."""


class ClaimPipe:
    """Both ends of the pipe. The executor holds the read end too, and reads one token per task.

    A token is read once, by the executor or here: the kernel decides. Only this side writes, so
    tokens read back and written again keep their order. Nothing blocks.
    """

    def __init__(self) -> None:
        """Open the pipe."""
        if hasattr(os, "pipe2"):
            self.read_fd, self.write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        else:
            self.read_fd, self.write_fd = os.pipe()
            os.set_blocking(self.read_fd, False)
            os.set_blocking(self.write_fd, False)
        self.unwritten: list[int] = []
        """Ordinals that the pipe had no room for."""

    def push(self, ordinals: Sequence[int]) -> None:
        """Let the executor start these, after those pushed before."""
        self.unwritten += ordinals
        self.flush()

    def knock(self) -> None:
        """Have an executor that waits for a token read its pipe of tasks, which is full."""
        self.push((KNOCK,))

    def flush(self) -> None:
        """Write what there is room for."""
        if not self.unwritten:
            return
        some = self.unwritten[:_TOKENS]
        data = struct.pack(f"<{len(some)}Q", *some)
        try:
            written = os.write(self.write_fd, data)
        except BlockingIOError:
            return
        # Pages and pipes are multiples of a token, so tokens are written whole.
        del self.unwritten[: written // TOKEN.size]

    def take_back(self, wanted: Mapping[int, object]) -> list[int]:
        """Take those of `wanted` that nobody has claimed; the others stay, in their order."""
        waiting = self._drain() + self.unwritten
        self.unwritten = [ordinal for ordinal in waiting if ordinal not in wanted]
        self.flush()
        return [ordinal for ordinal in waiting if ordinal in wanted]

    def close(self) -> None:
        """Close both ends. Call once."""
        os.close(self.read_fd)
        os.close(self.write_fd)

    def _drain(self) -> list[int]:
        tokens: list[int] = []
        while True:
            try:
                data = os.read(self.read_fd, _READ_BYTES)
            except BlockingIOError:
                return tokens
            tokens += struct.unpack(f"<{len(data) // TOKEN.size}Q", data)
