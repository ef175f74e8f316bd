"""What every process does: one step after the other, and answers that are read some time later."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actors import LocalMessage
from scaler.protocol.executor import RoomFrame, RowFrame
from scaler.protocol.tasks import TaskOutput, TaskRow
from scaler.worker.port import ExecutorPrinted, ExecutorRows, ExecutorUp, ExecutorWaits
from tests.simulation.objects import SimObjects
from tests.simulation.truth import Truth

if TYPE_CHECKING:
    from tests.simulation.host import SimHost

_STEP_S = 20e-6
"""What a process itself needs between two steps, typically."""


class Steps:
    """A process without a purpose: `SimProcess` says what its steps are."""

    def __init__(
        self, host: SimHost, number: int, worker: str, tell: Callable[[LocalMessage], None]
    ) -> None:
        self.number = number
        self.worker = worker
        self.is_closed = False
        """Nobody reads its answers any more."""
        self._host = host
        self._sim = host.sim
        self._truth: Truth = host.truth
        self._tell = tell
        self._step: Any = None
        self._step_due_s = 0.0
        self._step_does: Callable[[], None] = self._cancel_step
        self._frozen_until_s = 0.0
        self._pipe: list[ExecutorUp | RowFrame | RoomFrame | TaskOutput] = []
        self._is_read = False
        """Somebody is on the way to read what is in the pipe."""
        self._is_known_up = False
        self.objects = SimObjects(host.memory, worker, self._tell_freed, self._write)

    def _tell_freed(self) -> None:
        """Much was freed: have the process hear of it, also if it waits for a task."""
        raise NotImplementedError

    def _after(self, delay_s: float, step: Callable[[], None]) -> None:
        """Take `step` next, unless something else happens before."""
        self._cancel_step()
        self._step_does = step
        due_s = max(self._sim.now() + delay_s, self._frozen_until_s)
        self._step_due_s = due_s
        self._step = self._sim.after(due_s - self._sim.now(), self._take_step)

    def _cancel_step(self) -> None:
        if self._step is not None:
            self._step.cancel()
            self._step = None

    def _take_step(self) -> None:
        self._step = None
        self._step_does()

    def _delay_s(self) -> float:
        """How long one small step takes: microseconds, or much longer without a processor."""
        return self._host.step_delay_s(_STEP_S)

    def freeze(self, for_s: float) -> None:
        """It gets no processor for so long."""
        until_s = self._frozen_until_s = max(self._frozen_until_s, self._sim.now() + for_s)
        if self._step is not None and self._step_due_s < until_s:
            self._after(until_s - self._sim.now(), self._step_does)

    # --- the pipe of answers ----------------------------------------------------------------

    def _write(self, frame: ExecutorUp | RowFrame | RoomFrame | TaskOutput) -> None:
        self._pipe.append(frame)
        if not self._is_read:
            self._is_read = True
            self._host.read_later(self._read)

    def _read(self) -> None:
        """The node reads all that is in the pipe: outputs and rows, in their order."""
        self._is_read = False
        frames, self._pipe = self._pipe, []
        if self.is_closed:
            return
        group: list[Any] = []
        for one in frames:
            if isinstance(one, RoomFrame):
                self._tell(ExecutorWaits(self.number))
                self.objects.asked(one)
                continue
            frame = self.objects.read(one) if isinstance(one, RowFrame) else one
            if group and type(frame) is not type(group[0]):
                self._pass_on(group)
                group = []
            group.append(frame)
        if group:
            self._pass_on(group)

    def _pass_on(self, group: list[Any]) -> None:
        kind = type(group[0])
        if kind is TaskRow:
            self._tell(ExecutorRows(self.number, tuple(group)))
        elif kind is TaskOutput:
            self._tell(ExecutorPrinted(self.number, tuple(group)))
        else:
            self._is_known_up = True
            self._truth.failed_starts[self.worker] = 0
            self._tell(group[0])
