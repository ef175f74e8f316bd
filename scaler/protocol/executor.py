"""The frames between a worker and its executor, and the memory and the pipe beside them.

Frames ride on two pipes, tasks down and answers up: 4 bytes of length, little endian, then
MessagePack. (A pipe, since a small write to it costs a third of one to a socket, and reading what
was written in a hundred of them an eighth.) While user code runs nobody reads the pipe of tasks, so
three things go around it:

* the **page**, 4 KiB of memory that both map: which task runs, since when, which to interrupt;
* the **claim pipe**, whose both ends both sides hold: one 8-byte token (the task's ordinal, little
  endian) per task sent. The executor reads a token before it starts a task; the worker takes a
  task back by reading its token. The kernel is the judge of who came first;
* the **signal** `INTERRUPT_SIGNAL`, whose handler compares two numbers of the page.

A third pipe is the executor's file descriptor 2: no frames, whatever anybody writes to stderr.
"""

from __future__ import annotations

import signal
import struct
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from scaler.protocol.tasks import Function, Task, TaskOutput, TaskRow

INTERRUPT_SIGNAL: Final[int] = (
    signal.SIGRTMIN + 7 if hasattr(signal, "SIGRTMIN") else signal.SIGUSR2
)
"""A real-time signal that nothing else uses, where there are such signals."""

TOKEN: Final = struct.Struct("<Q")
"""One claim: the ordinal of a task, or `KNOCK`."""

KNOCK: Final = 0
"""No task: the executor shall read its pipe of tasks, which is full."""

FRAME_HEADER: Final = struct.Struct("<I")
"""Length of the frame that follows, bytes."""


class ExecutorConfig(msgspec.Struct, frozen=True, array_like=True):
    """What an executor is told when it starts: the payload of its launch, as MessagePack."""

    worker: str
    """Name of its worker, for people."""
    number: int
    """Of its range in the shared memory, see `scaler.objects`."""
    warm_bytes: int
    """Memory of freed objects that it keeps, to write there again."""
    limit_bytes: int
    """Memory that the objects of all processes of the host may take."""


class RunTasks(msgspec.Struct, frozen=True, array_like=True):
    """Worker to executor. Written before the tokens of its tasks."""

    ordinals: tuple[int, ...]
    tasks: tuple[Task, ...]
    functions: tuple[Function, ...]
    """Functions this executor does not have yet."""
    dropped: tuple[int, ...]
    """Ordinals taken back since the last frame: their bodies can go."""
    forgotten: tuple[bytes, ...]
    """Function ids to forget; no task outstanding names them."""
    freed: tuple[int, ...] = ()
    """Objects that this executor wrote and nobody needs: their places are free. Negative: of those
    that were spilled, so that their memory is gone."""


class ExecutorReady(msgspec.Struct, frozen=True, tag="ready", array_like=True):
    """First frame of an executor: it reads tokens now."""

    pid: int


class RowFrame(msgspec.Struct, frozen=True, tag="row", array_like=True):
    """An attempt ended."""

    row: TaskRow
    kept: tuple[int, ...] = ()
    """Objects among the arguments that are still looked at here, after their task."""
    dropped: tuple[int, ...] = ()
    """Objects that were kept, and are not looked at any more."""


class ViewsFrame(msgspec.Struct, frozen=True, tag="views", array_like=True):
    """An idle executor has let go of objects that it kept."""

    dropped: tuple[int, ...]


class OutputFrame(msgspec.Struct, frozen=True, tag="output", array_like=True):
    """A task printed."""

    output: TaskOutput


class RoomFrame(msgspec.Struct, frozen=True, tag="room", array_like=True):
    """The executor waits until there is room for so much in the shared memory."""

    size_bytes: int


ExecutorFrame = ExecutorReady | RowFrame | OutputFrame | RoomFrame | ViewsFrame


class Page:
    """The shared page: seven aligned 64-bit words. Each word has one writer.

    Written by the executor: `running`, `item`, `started_ns`, `answered`, `ended`,
    `task_id`.
    Written by the worker: `interrupt`.
    """

    SIZE_BYTES: Final = 4096
    WORDS: Final = 7

    def __init__(self, buffer: memoryview) -> None:
        """Wrap `buffer`, at least `SIZE_BYTES` of shared memory."""
        self._words = buffer.cast("B")[: 8 * self.WORDS].cast("Q")

    @property
    def running(self) -> int:
        """Ordinal of the task that runs, from unpickling its arguments until its row is sent."""
        return self._words[0]

    @running.setter
    def running(self, ordinal: int) -> None:
        self._words[0] = ordinal

    @property
    def item(self) -> int:
        """Index within the chunk that runs."""
        return self._words[1]

    @property
    def started_ns(self) -> int:
        """Monotonic clock when `running` started, nanoseconds."""
        return self._words[2]

    @started_ns.setter
    def started_ns(self, value: int) -> None:
        self._words[2] = value

    @property
    def answered(self) -> int:
        """Ordinal whose interrupt was seen by the handler: the sign of life."""
        return self._words[3]

    @answered.setter
    def answered(self, ordinal: int) -> None:
        self._words[3] = ordinal

    @property
    def interrupt(self) -> int:
        """Ordinal to interrupt."""
        return self._words[4]

    @interrupt.setter
    def interrupt(self, ordinal: int) -> None:
        self._words[4] = ordinal

    def item_setter(self) -> Callable[[int], None]:
        """Return what sets `item`, at the cost of a memory store: it is called for each item.

        It keeps to the shared words, also after `detach`.
        """
        return partial(self._words.__setitem__, 1)

    @property
    def ended(self) -> int:
        """The last ordinal that ended: if it is `running` too, only its row is still to be sent."""
        return self._words[5]

    @ended.setter
    def ended(self, ordinal: int) -> None:
        self._words[5] = ordinal

    @property
    def task_id(self) -> int:
        """The task that `running` stands for."""
        return self._words[6]

    def begin(self, ordinal: int, task_id: int, started_ns: int) -> None:
        """Say that `ordinal` runs; `running` is stored last, so its reader finds the rest."""
        words = self._words
        words[1] = 0
        words[2] = started_ns
        words[6] = task_id
        words[0] = ordinal

    def detach(self) -> None:
        """Use private memory from now on, in a forked child: the shared words are its parent's."""
        self._words = memoryview(bytearray(8 * self.WORDS)).cast("Q")

    def release(self) -> None:
        """Let go of the memory, so that its mapping can be closed."""
        self._words.release()
