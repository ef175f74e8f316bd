"""What an executor has of the shared memory, as its worker's side knows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import msgspec

from scaler.limits import FREED_BYTES
from scaler.objects.ledger import Holder
from scaler.objects.store import ObjectStore
from scaler.protocol.executor import ExecutorConfig, RowFrame
from scaler.protocol.objects import Body, Piece, Pieces
from scaler.protocol.tasks import Task


class PortObjects:
    """The objects that one executor wrote, and those that it keeps. For the node's thread."""

    def __init__(self, store: ObjectStore, warm_bytes: int) -> None:
        """Wait for `begin`.

        Args:
            store: of this host.
            warm_bytes: memory of freed objects that the executor keeps.
        """
        self.store = store
        self.warm_bytes = warm_bytes
        self._number = 0
        self._tell_freed: Callable[[], None] = lambda: None
        self._freed: list[int] = []
        self._freed_bytes = 0
        self._kept: dict[int, Piece] = {}
        self._sent: dict[int, Pieces] = {}
        """What tasks that the executor has may read, by their ordinals: it is pinned."""

    def begin(self, worker: str, tell_freed: Callable[[], None]) -> ExecutorConfig:
        """Give the executor a range of the store; return what it is told when it starts.

        Args:
            worker: name of its worker.
            tell_freed: called when much has been freed of which the executor was not told.
        """
        self._tell_freed = tell_freed
        self._number = self.store.enter(self._on_freed)
        limit_bytes = self.store.room.limit_bytes
        return ExecutorConfig(worker, self._number, self.warm_bytes, limit_bytes)

    @property
    def fds(self) -> tuple[int, int]:
        """What the executor gets: the memory and the disk."""
        disk = self.store.disk
        file_fd = self.store.file.fd
        return file_fd, file_fd if disk is None else disk.fd

    def sent(self, ordinals: Sequence[int], tasks: Sequence[Task]) -> tuple[Task, ...]:
        """Pin what these tasks may read; return them with the places where it is."""
        placed = list(tasks)
        for index, task in enumerate(tasks):
            if task.objects or task.inputs:
                pieces = task.objects
                if task.inputs:
                    pieces += tuple(chain(*[body.objects for body in task.inputs if body]))
                self._sent[ordinals[index]] = pieces
                if self.store.ledger.pin(pieces):
                    placed[index] = self._placed(task)
        return tuple(placed)

    def _placed(self, task: Task) -> Task:
        """Return a task with the places of its objects, some of which are on disk."""
        place = self.store.place
        bodies = [body for body in task.inputs if body is not None]
        inputs = [Body(body.payload, tuple(map(place, body.objects))) for body in bodies]
        objects = tuple(map(place, task.objects))
        return msgspec.structs.replace(task, objects=objects, inputs=tuple(inputs))

    def taken_back(self, ordinals: tuple[int, ...]) -> tuple[int, ...]:
        """The executor will not read what these tasks have; return them."""
        for ordinal in ordinals:
            self._unpin(ordinal)
        return ordinals

    def _unpin(self, ordinal: int) -> None:
        pieces = self._sent.pop(ordinal, None)
        if pieces:
            self.store.ledger.unpin(pieces)

    def row_came(self, frame: RowFrame) -> None:
        """Hold what the row has, and what the executor keeps of the arguments."""
        if frame.row.objects:
            self.store.lease(frame.row.objects, Holder.RESULT)
        for home in frame.kept:
            self._kept[home] = self.store.hold(home)
        self.let_go(frame.dropped)
        self._unpin(frame.row.ordinal)

    def let_go(self, homes: Sequence[int]) -> None:
        """The executor keeps these no more."""
        for home in homes:
            del self._kept[home]

    def take_freed(self) -> tuple[int, ...]:
        """Return what the executor is to be told now."""
        if not self._freed:
            return ()
        freed, self._freed = tuple(self._freed), []
        self._freed_bytes = 0
        return freed

    def _on_freed(self, home: int, size_bytes: int, is_cold: bool) -> None:
        self._freed.append(-home if is_cold else home)
        self._freed_bytes += size_bytes
        if self._freed_bytes > FREED_BYTES:
            self._tell_freed()

    def close(self) -> None:
        """The executor is gone."""
        self._kept.clear()
        self.taken_back(tuple(self._sent))
        number, self._number = self._number, 0
        if number:
            self.store.leave(number)
