"""What an executor has of the shared memory, as its worker's side knows it."""

from __future__ import annotations

from collections.abc import Callable

from scaler.limits import FREED_BYTES
from scaler.objects.store import Holder, ObjectStore
from scaler.protocol.executor import ExecutorConfig, RowFrame
from scaler.protocol.objects import Piece


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

    def begin(self, worker: str, tell_freed: Callable[[], None]) -> ExecutorConfig:
        """Give the executor a range of the store; return what it is told when it starts.

        Args:
            worker: name of its worker.
            tell_freed: called when much has been freed of which the executor was not told.
        """
        self._tell_freed = tell_freed
        self._number = self.store.enter(self._on_freed)
        return ExecutorConfig(worker, self._number, self.warm_bytes)

    def row_came(self, frame: RowFrame) -> None:
        """Hold what the row has, and what the executor keeps of the arguments."""
        if frame.row.objects:
            self.store.lease(frame.row.objects, Holder.RESULT)
        for home in frame.kept:
            self._kept[home] = self.store.hold(home)
        for home in frame.dropped:
            del self._kept[home]

    def take_freed(self) -> tuple[int, ...]:
        """Return what the executor is to be told now."""
        if not self._freed:
            return ()
        freed, self._freed = tuple(self._freed), []
        self._freed_bytes = 0
        return freed

    def _on_freed(self, home: int, size_bytes: int) -> None:
        self._freed.append(home)
        self._freed_bytes += size_bytes
        if self._freed_bytes > FREED_BYTES:
            self._tell_freed()

    def close(self) -> None:
        """The executor is gone."""
        self._kept.clear()
        number, self._number = self._number, 0
        if number:
            self.store.leave(number)
