"""The read end of an executor's file descriptor 2: what C code, a crash, a subprocess write."""

from __future__ import annotations

import codecs
import os
import select
from typing import Final

from scaler.limits import OUTPUT_BYTES
from scaler.worker.last_lines import LastLines

_OWN_STDERR: Final = 2
_READS: Final = 16
"""Reads in a row, before others have their turn."""


class StderrPipe:
    """Reads what is there, and never waits for more, nor for the end.

    A process that outlives the executor may hold the other end. A writer that finds the pipe full
    waits until this side has read it: nothing is lost, and a driver that holds the GIL for long
    makes it wait for long.
    """

    def __init__(self, fd: int) -> None:
        """Read `fd`, which must not block."""
        self._fd = fd
        self._readable = select.poll()
        self._readable.register(fd, select.POLLIN)
        self._decode = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode
        self._rest = ""
        self._has_ended = False
        self.last_lines = LastLines()

    def has_news(self) -> bool:
        """Say whether a `read` may be worth its while, at a third of its cost."""
        return bool(self._rest) or (not self._has_ended and bool(self._readable.poll(0)))

    def read(self, *, to_end: bool = False) -> str:
        """Return a bounded part of what is there, in whole lines.

        Args:
            to_end: also an unfinished line, with the newline it lacks.
        """
        pieces = [self._rest]
        for _ in range(_READS):
            data = self._read_some()
            if not data:
                break
            self.last_lines.feed(data)
            pieces.append(self._decode(data))
        if to_end:
            pieces.append(self._decode(b"", True))
        text = "".join(pieces)
        end = text.rfind("\n") + 1
        if to_end and end < len(text):
            text += "\n"
        if to_end or len(text) - end > OUTPUT_BYTES:
            end = len(text)
        self._rest = text[end:]
        return text[:end]

    @property
    def has_ended(self) -> bool:
        """Say whether all who could write are gone."""
        return self._has_ended

    def _read_some(self) -> bytes:
        try:
            data = os.read(self._fd, OUTPUT_BYTES)
        except BlockingIOError:
            return b""
        self._has_ended = not data
        return data


def show_here(text: str) -> None:
    """Write to this process's own stderr what it takes at once. The rest is lost: nobody waits."""
    data = text.encode("utf-8", "backslashreplace")
    fd = _open_terminal() if os.isatty(_OWN_STDERR) else _OWN_STDERR
    writable = select.poll()
    writable.register(fd, select.POLLOUT)
    try:
        for start in range(0, len(data), select.PIPE_BUF):
            if not writable.poll(0):
                return
            os.write(fd, data[start : start + select.PIPE_BUF])
    except OSError:  # closed, or nobody reads it
        return
    finally:
        if fd != _OWN_STDERR:
            os.close(fd)


def _open_terminal() -> int:
    """Open the terminal of stderr once more, so that it does not block.

    One that has room may not have enough, and other programs share the settings of stderr itself.
    """
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        return os.open(os.ttyname(_OWN_STDERR), flags)
    except OSError:  # it has no name here
        return _OWN_STDERR
