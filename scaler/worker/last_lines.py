"""The last lines of an executor's stderr, as the report of its death shows them."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Sequence
from typing import Final

import actors
import scaler
from scaler.limits import STDERR_LINE_BYTES, STDERR_LINES

_KEPT_LINES: Final = 128
"""More than are shown: a crash is reported with its whole stack, the innermost frame first."""

_CRASH: Final = "Fatal Python error: "
"""How the report of a crash begins (`faulthandler`, and the interpreter's own)."""

_CULPRIT: Final = "Current thread "
"""How the stack of the thread that crashed begins."""

_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), 127)}

_OUR_FRAMES: Final = tuple(
    f'  File "{os.path.join(os.path.dirname(package.__file__ or ""), part, "")}'
    for package, part in ((scaler, "executor"), (actors, "runtime"))
)
"""How lines of a crashed stack begin that lie below the task."""

_BOTTOM: Final = re.compile(r'  File "<string>", line \d+ in <module>|Extension modules: .*')
"""What else comes below the task in every such report."""


class LastLines:
    """Keeps the end of a stream of bytes: a bounded number of lines of a bounded length."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._lines: deque[bytes] = deque(maxlen=_KEPT_LINES)
        self._open = b""
        """The line that has no end yet."""

    def feed(self, data: bytes) -> None:
        """Take what came next."""
        parts = data.rsplit(b"\n", _KEPT_LINES)
        first = parts[0].rpartition(b"\n")
        begun = b"" if first[1] else self._open
        *ended, self._open = (_shown(begun + first[2]), *map(_shown, parts[1:]))
        self._lines.extend(ended)

    def forget(self) -> None:
        """What came so far was written by tasks that have ended: it explains no death to come."""
        if self._lines or self._open:
            self._lines.clear()
            self._open = b""

    def text(self) -> str:
        """Return the lines worth showing, indented; empty if there are none."""
        lines = [_readable(line) for line in (*self._lines, self._open)]
        return "".join(f"\n    {line}" for line in excerpt(lines))


def excerpt(lines: Sequence[str]) -> Sequence[str]:
    """Return the last lines; of a crash with a deep stack those from its beginning on."""
    lines = [line for line in lines if line and not _is_noise(line)]
    start = max(0, len(lines) - STDERR_LINES)
    crashes = [number for number, line in enumerate(lines) if line.startswith(_CRASH)]
    if crashes:
        head = crashes[-1] + 1
        culprit = next((line for line in lines[head:] if line.startswith(_CULPRIT)), None)
        if culprit is not None:  # the stacks of other threads may come before it
            del lines[head : lines.index(culprit, head)]
        start = min(max(0, len(lines) - STDERR_LINES), head - 1)
    return lines[start : start + STDERR_LINES]


def _is_noise(line: str) -> bool:
    return line.startswith(_OUR_FRAMES) or _BOTTOM.fullmatch(line) is not None


def _shown(line: bytes) -> bytes:
    """Return what a terminal would show of a line: a progress bar writes over itself."""
    text = line.rstrip(b"\r")
    start = text.rfind(b"\r") + 1
    returned = b"\r" if len(text) < len(line) else b""
    return text[start : start + STDERR_LINE_BYTES] + returned


def _readable(line: bytes) -> str:
    text = line.rstrip(b"\r").decode("utf-8", "backslashreplace")
    return _COLOUR.sub("", text).translate(_CONTROLS).rstrip()
