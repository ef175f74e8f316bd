"""The executor's ends of the pipes: task bodies come in, rows and output go out."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable

import msgspec

from scaler.protocol.executor import RunTasks
from scaler.protocol.frames import READ_BYTES, FrameCutter, pack_frame
from scaler.protocol.tasks import Function, Task

_decode_run_tasks: Callable[[bytes], RunTasks] = msgspec.msgpack.Decoder(RunTasks).decode


class Channel:
    """Frames out from any thread, bodies in on the main thread. Both block."""

    def __init__(self, tasks_fd: int, answers_fd: int) -> None:
        """Read `tasks_fd` and write `answers_fd`; both must block."""
        self.tasks_fd = tasks_fd
        self.answers_fd = answers_fd
        self.bodies: dict[int, Task] = {}
        """Ordinal to task, for tasks received and not begun."""
        self.functions: dict[bytes, Function] = {}
        self.forgotten: list[bytes] = []
        """Function ids to forget, since the list was last emptied."""
        self.freed: list[int] = []
        """Objects that nobody needs, since the list was last emptied."""
        self._cutter = FrameCutter()
        self._lock = threading.RLock()  # a finalizer may print while its thread is sending
        self._queue: deque[bytearray] = deque()
        self._is_sending = False

    def send(self, frame: msgspec.Struct) -> None:
        """Write one frame, whole, after those sent before. Thread-safe.

        Raises:
            OSError: the worker is gone.
        """
        data = pack_frame(frame)
        with self._lock:
            if self._is_sending:
                self._queue.append(data)
                return
            self._is_sending = True
            try:
                self._write(data)
                while self._queue:
                    self._write(self._queue.popleft())
            finally:
                self._is_sending = False

    def receive(self) -> None:
        """Block until more bodies are here.

        Raises:
            EOFError: the worker closed its end.
            OSError: the worker is gone.
        """
        data = os.read(self.tasks_fd, READ_BYTES)
        if not data:
            raise EOFError
        for frame in self._cutter.cut(data):
            self._accept(_decode_run_tasks(frame))

    def abandon(self) -> None:
        """Forget the pipes, in a forked child: they are the parent's. `send` raises from now on."""
        self._lock = threading.RLock()  # another thread may have held it at the fork
        self._queue.clear()
        self._is_sending = False
        fds = self.tasks_fd, self.answers_fd
        self.tasks_fd = self.answers_fd = -1
        for fd in fds:
            with contextlib.suppress(OSError):
                os.close(fd)

    def _write(self, data: bytearray) -> None:
        sent = os.write(self.answers_fd, data)
        while sent < len(data):  # a signal handler ran in between
            with memoryview(data) as view, view[sent:] as rest:
                sent += os.write(self.answers_fd, rest)

    def _accept(self, frame: RunTasks) -> None:
        self.bodies.update(zip(frame.ordinals, frame.tasks, strict=True))
        for ordinal in frame.dropped:
            self.bodies.pop(ordinal, None)
        for function_id in frame.forgotten:
            self.functions.pop(function_id, None)
        self.forgotten += frame.forgotten
        self.freed += frame.freed
        for function in frame.functions:
            self.functions[function.function_id] = function
