"""What the model of an executor has of the shared memory: the production code of both sides.

The process behind them is a model: which buffers its tasks look at, and for how long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from scaler.errors import SerializationError
from scaler.executor.objects import ExecutorObjects
from scaler.limits import FREED_BYTES
from scaler.objects.waiting import Steps
from scaler.protocol.executor import ExecutorConfig, RoomFrame, RowFrame
from scaler.protocol.objects import Body, Piece, Pieces
from scaler.protocol.tasks import Task, TaskRow
from scaler.worker.objects import PortObjects
from tests.simulation.memory import Memory, homes_of, names_in, travelled
from tests.simulation.waiting import waiting

if TYPE_CHECKING:
    from tests.simulation.runs import Run


class OwnObjects(ExecutorObjects):
    """The executor's side, on the file of the world."""

    def __init__(
        self, memory: Memory, config: ExecutorConfig, send: Callable[[RoomFrame], None]
    ) -> None:
        super().__init__(config, memory.file, memory.disk, send)
        self._memory = memory

    def _await_room(self, size_bytes: int) -> Steps[None]:
        for _ in self._waits(size_bytes, self._memory.truth.now):
            self._memory.truth.fail("room", "an executor waits twice")
        yield from ()

    def has_room(self, size_bytes: int) -> bool:
        """Whether nobody has to wait who writes so much."""
        used_bytes = self._room.used_bytes() + self._untold_bytes
        return used_bytes + size_bytes <= self._room.limit_bytes

    def free(self, home: int, *, is_cold: bool = False) -> None:
        self._memory.given_up(home)
        super().free(home, is_cold=is_cold)


class SimObjects:
    """The part of one executor, and of its port."""

    def __init__(
        self,
        memory: Memory,
        worker: str,
        tell_freed: Callable[[], None],
        send: Callable[[RoomFrame], None],
    ) -> None:
        self._memory = memory
        self.port = PortObjects(memory.store, FREED_BYTES)
        config = self.port.begin(worker, tell_freed)
        self.own = OwnObjects(memory, config, send)
        self._freed: list[int] = []
        """What the port has told, and the process has not read yet."""
        self._run: Run | None = None
        self._buffers: list[Any] = []
        """What the task that runs looks at."""
        self._kept: list[tuple[int, list[Any]]] = []
        """What earlier tasks have left behind, and after how many more it goes; -1: never."""

    # --- the pipes --------------------------------------------------------------------------

    def sent(self, ordinal: int, task: Task) -> Task:
        """Return a task as the process reads it."""
        self._tell_freed()
        if not task.objects and not task.inputs:
            return task
        (task,) = self.port.sent((ordinal,), (task,))
        inputs = [Body(body.payload, travelled(body.objects)) for body in task.inputs if body]
        return msgspec.structs.replace(task, objects=travelled(task.objects), inputs=tuple(inputs))

    def _tell_freed(self) -> None:
        self._freed += self.port.take_freed()

    def told(self) -> None:
        """The port sends what was freed, for it is much."""
        self._memory.truth.marks["an executor hears at once of what was freed"] += 1
        self._tell_freed()

    def hear(self) -> None:
        """The process reads what was freed."""
        freed, self._freed = self._freed, []
        self.own.freed(freed)

    def read(self, frame: RowFrame) -> TaskRow:
        """The port reads a row."""
        row = msgspec.structs.replace(frame.row, objects=travelled(frame.row.objects))
        frame = RowFrame(row, frame.kept, frame.dropped)
        for home in frame.kept:
            if home not in self._memory.names:
                self._memory.truth.fail("leases", f"{home} is kept, but freed")
        self.port.row_came(frame)
        return row

    def asked(self, frame: RoomFrame) -> None:
        """The port reads that the process waits for room."""
        self._memory.store.press(frame.size_bytes)

    # --- the process ------------------------------------------------------------------------

    def begin(self, run: Run, task: Task, expected: tuple[bytes, ...]) -> bool:
        """A task opens what is among its arguments: it must be what was put there.

        Return False if they came back damaged from the disk.
        """
        self._run = run
        if not task.objects and not task.inputs:
            return True
        pieces = [*task.objects, *(one for body in task.inputs if body for one in body.objects)]
        run.homes = homes_of(pieces)
        try:
            payload, buffers, inputs = self.own.open(task)
        except SerializationError as error:
            self._check_damaged(pieces, error)
            return False
        if any(piece.spilled for piece in pieces):
            self._memory.truth.marks["a task began with objects from the disk"] += 1
        opened = [*buffers] if task.payload or not task.objects else [payload, *buffers]
        for _, some in inputs:
            opened += some
        found = names_in(opened)
        if found != expected:
            self._memory.truth.fail("inputs", f"{task} begins with {found}, not {expected}")
        if found:
            self._memory.truth.marks["a task began with objects"] += 1
        self._buffers = opened
        return True

    def _check_damaged(self, pieces: list[Piece], error: SerializationError) -> None:
        """What cannot be opened was damaged on disk, and that is what is said."""
        truth = self._memory.truth
        names = [self._memory.names[piece.home] for piece in pieces if piece.spilled]
        is_damaged = any(name in truth.damaged for name in names)
        if not is_damaged or "came back damaged" not in str(error):
            truth.fail("disk", f"{error!r} for {pieces}")
        truth.marks["a task's argument came back damaged"] += 1

    def waiting(self, run: Run) -> Iterator[float]:
        """Yield pauses until there is room for what a task returns, see `waiting`."""
        size_bytes = 0 if self._passed(run) else run.plan.result_bytes
        if not self._memory.is_bounded or not size_bytes:
            return iter(())
        return waiting(self._memory, self.own, size_bytes, self.own._untold_bytes)

    def _passed(self, run: Run) -> list[memoryview]:
        """Return what it passes on."""
        if not run.plan.passes:
            return []
        return [one for one in self._buffers if isinstance(one, memoryview)]

    def write(self, run: Run) -> Pieces:
        """A task returns: put what is large into memory, or pass on what is there."""
        passed = self._passed(run)
        if passed:
            self._memory.truth.marks["a task passed an object on"] += 1
            run.names = names_in(passed)
            pieces = tuple([self.own.keep(one) for one in passed])
        elif run.plan.result_bytes:
            data, name = self._memory.new(run.plan.result_bytes)
            run.names = (name,)
            pieces = (self.own.keep(data),)
        else:
            return ()
        run.objects = {piece.home: piece.size_bytes for piece in pieces}
        return pieces

    def write_in_vain(self, run: Run) -> None:
        """A task is interrupted when it has written its result, and nobody is told of that."""
        if run.plan.result_bytes and self.own.has_room(run.plan.result_bytes):
            self.own.keep(self._memory.new(run.plan.result_bytes)[0])
            self._memory.truth.marks["an object was written in vain"] += 1

    def frame(self, row: TaskRow) -> RowFrame:
        """A task has ended: what it held goes, but for what it leaves behind."""
        run, self._run = self._run, None
        left = [(after - 1 if after > 0 else after, kept) for after, kept in self._kept]
        self._kept = [(after, kept) for after, kept in left if after]
        left.clear()
        if run is not None and run.plan.keeps and self._buffers:
            self._kept.append((run.plan.keeps, self._buffers))
        self._buffers = []
        frame = self.own.frame(row)
        if frame.kept:
            self._memory.truth.marks["an executor keeps an object"] += 1
        if frame.dropped:
            self._memory.truth.marks["an executor lets an object go"] += 1
        return frame

    def end(self) -> None:
        """The process is gone."""
        self._run = None
        self._buffers, self._kept = [], []
        self.own.views.close()

    # --- the oracle -------------------------------------------------------------------------

    def looks_at(self, home: int, *, in_memory: bool = False) -> bool:
        """Whether the process may read an object, or (`in_memory`) what of it is in memory.

        Not if it hangs in the kernel.
        """
        run = self._run
        if run is not None and run.is_stuck:
            return False
        if run is not None and home in run.homes and not (in_memory and run.homes[home]):
            return True
        pieces = [view.piece for view in self.own.views._views.values()]
        return any(one.home == home and not (in_memory and one.spilled) for one in pieces)

    def left(self) -> dict[str, object]:
        """Return what is not as it must be when nothing runs."""
        own, port, store = self.own, self.port, self._memory.store
        known = [home for home in own._arena.taken if home in store.objects]
        told = [abs(home) for home in (*port._freed, *self._freed)]  # negative: it was spilled
        return {
            "kept, and not by the process": port._kept.keys() ^ own._holds.keys(),
            "bytes that were written, and not told": own._untold_bytes,
            "places that nobody gives back": sorted([*known, *told]) != sorted(own._arena.taken),
        }
