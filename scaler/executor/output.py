"""What a task prints travels to its caller in whole lines, from any of its threads."""

from __future__ import annotations

import codecs
import io
import sys
import threading
from typing import Any, Final, TextIO

from scaler.executor.channel import Channel
from scaler.executor.interrupt import Interrupter
from scaler.limits import OUTPUT_BYTES
from scaler.protocol.executor import OutputFrame
from scaler.protocol.tasks import TaskOutput

_PIECES: Final = 1_024
"""Pieces of an unfinished line (a progress bar) that are kept before they are sent anyway."""


class TaskPrinter:
    """Replaces `sys.stdout` and `sys.stderr`. What comes outside of a task goes to real stderr."""

    def __init__(self, channel: Channel, interrupter: Interrupter) -> None:
        """Send over `channel`; put interrupts off while a frame is being written."""
        self._channel = channel
        self._interrupter = interrupter
        self._is_foreign = False
        self.task_id: int | None = None
        """Whose output it is now."""
        self.stdout = TaskStream(self, "stdout")
        self.stderr = TaskStream(self, "stderr")

    def install(self) -> None:
        """Put the streams where `print` finds them (also after a task replaced them)."""
        if sys.stdout is not self.stdout:
            sys.stdout = self.stdout
        if sys.stderr is not self.stderr:
            sys.stderr = self.stderr

    def finish(self) -> None:
        """Send what does not end in a newline yet. Call before the row."""
        if self.stdout.rests or self.stderr.rests:
            self.stdout.send_rests()
            self.stderr.send_rests()

    def emit(self, stream: str, text: str) -> None:
        """Send `text` in pieces. Thread-safe; raises `TaskInterrupt` only after a whole frame."""
        task_id = self.task_id
        if task_id is None or self._is_foreign:
            real = self.real(stream)
            if real is not None:
                real.write(text)
                real.flush()
            return
        for start in range(0, len(text), OUTPUT_BYTES):
            piece = TaskOutput(task_id, stream, text[start : start + OUTPUT_BYTES])
            self._interrupter.hold()
            try:
                self._channel.send(OutputFrame(piece))
            finally:
                self._interrupter.release()

    def real(self, stream: str) -> TextIO | None:
        """Return the process's own stream: that of the task's children, or stderr for the rest."""
        return sys.__stdout__ if self._is_foreign and stream == "stdout" else sys.__stderr__

    def abandon(self) -> None:
        """Print to the process's own streams from now on: this is a forked child of a task."""
        self._is_foreign = True
        self.stdout.rests.clear()
        self.stderr.rests.clear()


class TaskStream(io.TextIOBase):
    """A text stream that keeps each thread's unfinished line to itself."""

    def __init__(self, printer: TaskPrinter, name: str) -> None:
        """Hand whole lines to `printer` as the output of stream `name`."""
        self._printer = printer
        self._name = name
        self._bytes = _ByteStream(self)
        self.rests: dict[int, list[str]] = {}
        """Thread to the pieces of its unfinished line. Each thread touches only its own entry."""

    @property
    def name(self) -> str:
        """As the real stream is called."""
        return f"<{self._name}>"

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Always UTF-8."""
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """What cannot be encoded is escaped."""
        return "backslashreplace"

    @property
    def buffer(self) -> io.RawIOBase:
        """A stream of bytes that ends up here."""
        return self._bytes

    def write(self, text: str) -> int:
        """Send the lines that `text` completes, and keep the rest for later. Thread-safe."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        thread = threading.get_ident()
        end = text.rfind("\n") + 1
        rests = self.rests.pop(thread, [])
        if end or len(text) > OUTPUT_BYTES or len(rests) > _PIECES:
            end = end or len(text)
            rests.append(text[:end])
            self._emit(rests)
            rests = []
        if end < len(text):
            rests.append(text[end:])
        if rests:  # in front of what a finalizer printed meanwhile on this thread
            self.rests.setdefault(thread, [])[:0] = rests
        return len(text)

    def send_rests(self) -> None:
        """Send each unfinished line, with the newline it lacks."""
        for thread in list(self.rests):
            rests = self.rests.pop(thread, None)
            if rests:
                self._emit([*rests, "\n"])

    def _emit(self, pieces: list[str]) -> None:
        text = "".join(pieces)
        if not text.isascii():  # lone surrogates have no UTF-8
            text = text.encode("utf-8", "backslashreplace").decode()
        self._printer.emit(self._name, str.__str__(text))

    def flush(self) -> None:
        """Do nothing: lines are sent as they end, unfinished ones with the task."""

    def close(self) -> None:
        """Do nothing: the stream belongs to the process."""

    def writable(self) -> bool:
        """Say yes."""
        return True

    def isatty(self) -> bool:
        """Say no: nobody can look at single characters here."""
        return False

    def fileno(self) -> int:
        """Return the real stream's descriptor, for children that are started with it."""
        return 1 if self._name == "stdout" else 2

    def reconfigure(self, **_options: Any) -> None:
        """Do nothing: encoding and buffering are fixed."""


class _ByteStream(io.RawIOBase):
    """`sys.stdout.buffer`: decodes what is written and passes it on."""

    def __init__(self, stream: TaskStream) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def write(self, data: Any) -> int:
        raw = bytes(data)
        self._stream.write(self._decoder.decode(raw))
        return len(raw)

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        pass
