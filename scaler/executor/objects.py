"""The shared memory as an executor sees it: its own results, and the arguments it has mapped."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from scaler.limits import INLINE_BYTES
from scaler.objects.file import SharedFile
from scaler.objects.memory import ObjectMemory
from scaler.objects.room import Room
from scaler.objects.waiting import Steps
from scaler.protocol.executor import ExecutorConfig, RoomFrame, RowFrame, ViewsFrame
from scaler.protocol.objects import RANGE_SHIFT, Body, Piece
from scaler.protocol.tasks import Task, TaskRow
from scaler.serialization.buffers import Opened, Payload

_COLLECT_SHARE: Final = 10
"""A full garbage collection is followed by so many times its duration without one."""


def wants_copies(task: Task) -> bool:
    """Whether the task may write to its arguments."""
    return task.policy is not None and task.policy.copy


_WARM_PARTS: Final = 4
"""One large place may be all of what is kept warm, many this part of it. With more, each executor
would in the end keep as many as it ever had results at a time that nobody had read."""


class ExecutorObjects(ObjectMemory):
    """Opens arguments and writes results. For the main thread."""

    def __init__(
        self,
        config: ExecutorConfig,
        file: SharedFile,
        disk: SharedFile | None,
        send: Callable[[RoomFrame], None],
    ) -> None:
        """Use memory and disk; ask for room through `send`."""
        warm_bytes = config.warm_bytes // _WARM_PARTS
        super().__init__(file, config.number, warm_bytes, disk, INLINE_BYTES, config.warm_bytes)
        self._room = Room(file, config.limit_bytes)
        self._untold_bytes = 0
        """Of objects that were written since the last row: the store does not know them yet."""
        self._send = send
        self._number = config.number
        self._told: dict[int, None] = {}
        """Objects of this range that were told in rows, and not freed since."""
        self._seen = 0
        """Number of the last view that the store was told of, or was gone before."""
        self._kept: dict[int, int] = {}
        """Home of each view of which was told that it outlives its task, by its number."""
        self._holds: dict[int, int] = {}
        """How many of these there are of each home."""
        self._next_collect_s = 0.0
        self.has_doubts = False
        """Some may be held by garbage alone: see `settle`."""

    def _waits(self, size_bytes: int, now: Callable[[], float]) -> Steps[None]:
        """See `Room.waits`."""
        return self._room.waits(size_bytes, self._press, now, self._untold_bytes)

    def _press(self, size_bytes: int) -> None:
        self._send(RoomFrame(size_bytes))

    def open(self, task: Task) -> tuple[Payload, Opened, Sequence[tuple[Payload, Opened]]]:
        """Return a task's pickled arguments, what they leave out, and the same of its inputs."""
        copy = wants_copies(task)
        payload, buffers = self.unpack(task.payload, task.objects, copy=copy)
        return payload, buffers, [self._open_body(body, copy=copy) for body in task.inputs]

    def _open_body(self, body: Body | None, *, copy: bool) -> tuple[Payload, Opened]:
        assert body is not None, "a task was sent before its inputs were there"
        return self.unpack(body.payload, body.objects, copy=copy)

    def _enter(self, piece: Piece) -> None:
        self._untold_bytes += piece.size_bytes

    def frame(self, row: TaskRow) -> RowFrame:
        """Return the frame of a row, after which the task holds nothing here any more."""
        self._untold_bytes = 0
        if row.objects:
            for piece in row.objects:
                if piece.home >> RANGE_SHIFT == self._number:
                    self._told[piece.home] = None
        if self.count != len(self._told):  # an interrupt, or an error, came in between
            self.free_others(self._told)
        if not self.views and not self._kept:
            return RowFrame(row)
        new = self.views.after(self._seen)
        if new:
            self._collect_garbage()
            new = self.views.after(self._seen)
        kept = self._keep(new)
        return RowFrame(row, kept, self._let_go())

    def settle(self) -> ViewsFrame | None:
        """Collect the garbage, while there is nothing to do; return what is free because of it."""
        self.has_doubts = False
        gc.collect()
        dropped = self._let_go()
        return ViewsFrame(dropped) if dropped else None

    def _collect_garbage(self) -> None:
        """Perhaps only a cycle holds a view, such as an exception and its frames.

        It is young, unless the task took long; a full collection takes many milliseconds.
        """
        gc.collect(1)
        if not self.views.after(self._seen):
            return
        started_s = time.monotonic()
        if started_s < self._next_collect_s:
            self.has_doubts = True
            return
        gc.collect()
        ended_s = time.monotonic()
        self._next_collect_s = ended_s + _COLLECT_SHARE * (ended_s - started_s)

    def _keep(self, new: dict[int, int]) -> tuple[int, ...]:
        """Note views that outlive their task; return the homes that had none before."""
        kept = []
        for number, home in new.items():
            self._seen = max(self._seen, number)
            self._kept[number] = home
            holds = self._holds.get(home, 0)
            self._holds[home] = holds + 1
            if not holds:
                kept.append(home)
        return tuple(kept)

    def _let_go(self) -> tuple[int, ...]:
        """Forget views that are gone; return the homes that have none any more."""
        if len(self.views) == len(self._kept):
            return ()
        dropped = []
        for number in [number for number in self._kept if number not in self.views]:
            home = self._kept.pop(number)
            self._holds[home] -= 1
            if not self._holds[home]:
                del self._holds[home]
                dropped.append(home)
        return tuple(dropped)

    def freed(self, homes: Iterable[int]) -> None:
        """Nobody needs these results any more."""
        for home in homes:
            del self._told[abs(home)]
            self.free(abs(home), is_cold=home < 0)
