"""The shared memory as an executor sees it: its own results, and the arguments it has mapped."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence

from scaler.objects.file import SharedFile
from scaler.objects.memory import ObjectMemory
from scaler.objects.room import Room
from scaler.protocol.executor import ExecutorConfig, RoomFrame, RowFrame
from scaler.protocol.objects import RANGE_SHIFT, Body, Piece
from scaler.protocol.tasks import Task, TaskRow
from scaler.serialization.buffers import Opened, Payload


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
        super().__init__(file, config.number, config.warm_bytes, disk)
        self._room = Room(file, config.limit_bytes)
        self._untold_bytes = 0
        """Of objects that were written since the last row: the store does not know them yet."""
        self._send = send
        self._number = config.number
        self._told: dict[int, None] = {}
        """Objects of this range that were told in rows, and not freed since."""
        self._kept: dict[int, None] = {}
        """Mapped objects of which was told that they outlive their task."""

    def _await_room(self, size_bytes: int) -> None:
        self._room.reserve(size_bytes + self._untold_bytes, self._press)

    def _press(self, size_bytes: int) -> None:
        self._send(RoomFrame(size_bytes))

    def open(self, task: Task) -> tuple[Payload, Opened, Sequence[tuple[Payload, Opened]]]:
        """Return a task's pickled arguments, what they leave out, and the same of its inputs."""
        payload, buffers = self.unpack(task.payload, task.objects)
        return payload, buffers, [self._open_body(body) for body in task.inputs]

    def _open_body(self, body: Body | None) -> tuple[Payload, Opened]:
        assert body is not None, "a task was sent before its inputs were there"
        return self.unpack(body.payload, body.objects)

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
        live = self._live()
        if any(home not in self._kept for home in live):
            gc.collect()  # perhaps only a cycle holds it, such as an exception and its frames
            live = self._live()
        kept = tuple([home for home in live if home not in self._kept])
        dropped = tuple([home for home in self._kept if home not in live])
        self._kept = live
        return RowFrame(row, kept, dropped)

    def freed(self, homes: Iterable[int]) -> None:
        """Nobody needs these results any more."""
        for home in homes:
            del self._told[abs(home)]
            self.free(abs(home), is_cold=home < 0)

    def _live(self) -> dict[int, None]:
        return dict.fromkeys(self.views.homes())
