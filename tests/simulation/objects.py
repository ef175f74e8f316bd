"""What the model of an executor has of the shared memory: the production code of both sides.

The process behind them is a model: which buffers its tasks look at, and for how long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from scaler.executor.objects import ExecutorObjects
from scaler.limits import FREED_BYTES
from scaler.protocol.executor import ExecutorConfig, RoomFrame, RowFrame
from scaler.protocol.objects import Body, Pieces
from scaler.protocol.tasks import Task, TaskRow
from scaler.worker.objects import PortObjects
from tests.simulation.memory import Memory, homes_of, names_in, travelled

if TYPE_CHECKING:
    from tests.simulation.runs import Run


class OwnObjects(ExecutorObjects):
    """The executor's side, on the file of the world."""

    def __init__(self, memory: Memory, config: ExecutorConfig) -> None:
        super().__init__(config, memory.file, None, self._never)
        self._memory = memory

    def _never(self, frame: RoomFrame) -> None:
        raise AssertionError("there is room for all")

    def free(self, home: int, *, is_cold: bool = False) -> None:
        self._memory.given_up(home)
        super().free(home, is_cold=is_cold)


class SimObjects:
    """The part of one executor, and of its port."""

    def __init__(self, memory: Memory, worker: str, tell_freed: Callable[[], None]) -> None:
        self._memory = memory
        self.port = PortObjects(memory.store, FREED_BYTES)
        config = self.port.begin(worker, tell_freed)
        self.own = OwnObjects(memory, config)
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

    # --- the process ------------------------------------------------------------------------

    def begin(self, run: Run, task: Task, expected: tuple[bytes, ...]) -> None:
        """A task opens what is among its arguments: it must be what was put there."""
        self._run = run
        if not task.objects and not task.inputs:
            return
        payload, buffers, inputs = self.own.open(task)
        opened = [*buffers] if task.payload or not task.objects else [payload, *buffers]
        for _, some in inputs:
            opened += some
        found = names_in(opened)
        if found != expected:
            self._memory.truth.fail("inputs", f"{task} begins with {found}, not {expected}")
        if found:
            self._memory.truth.marks["a task began with objects"] += 1
        run.homes = homes_of(
            [*task.objects, *(one for body in task.inputs if body for one in body.objects)]
        )
        self._buffers = opened

    def write(self, run: Run) -> Pieces:
        """A task returns: put what is large into memory, or pass on what is there."""
        passed = [one for one in self._buffers if isinstance(one, memoryview)]
        if run.plan.passes and passed:
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
        if run.plan.result_bytes:
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

    def looks_at(self, home: int) -> bool:
        """Whether the process may read there, unless it hangs in the kernel."""
        run = self._run
        if run is not None and home in run.homes and not run.is_stuck:
            return True
        return home in self.own.views.homes() and (run is None or not run.is_stuck)

    def left(self) -> dict[str, object]:
        """Return what is not as it must be when nothing runs."""
        own, port, store = self.own, self.port, self._memory.store
        known = [home for home in own._arena.taken if home in store.objects]
        told = [*port._freed, *self._freed]
        return {
            "kept, and not by the process": port._kept.keys() ^ own._holds.keys(),
            "places that nobody gives back": sorted([*known, *told]) != sorted(own._arena.taken),
        }
