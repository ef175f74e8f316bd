"""What a user of the simulation gives to a task: results of others, and what is large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scaler.protocol.objects import Piece
from tests.simulation.memory import names_in

if TYPE_CHECKING:
    from scaler.client.future import ScalerFuture
    from tests.simulation.client import SimClient
    from tests.simulation.plans import TaskPlan


class Arguments:
    """The arguments of one task, as they are pickled."""

    def __init__(self, client: SimClient, plan: TaskPlan) -> None:
        self._client = client
        self.pieces: list[Piece] = []
        self.names: list[bytes] = []
        """What is in the objects of `pieces`."""
        self.needs: tuple[ScalerFuture, ...] = ()
        for size_bytes in plan.argument_bytes:
            self._write(size_bytes)
        for future in [client.futures[need] for need in plan.needs if need in client.futures]:
            self._add(future)

    def _add(self, future: ScalerFuture) -> None:
        """Name a result; of one whose pickle was dropped when it was opened, give the value."""
        row = future._row or future._ran
        if row is None or row.payload or future.cancelled() or future._failed():
            self.needs += (future,)
        else:
            self._give(future.result(0)[2:])

    def _give(self, buffers: tuple[Any, ...]) -> None:
        for buffer in buffers:
            if isinstance(buffer, memoryview):
                self.pieces.append(self._client.objects.keep(buffer))
                self.names += names_in((buffer,))
                self._client.world.truth.marks["a user gave an object again"] += 1
            else:  # a copy of something small
                self._write(100_000)

    def _write(self, size_bytes: int) -> None:
        data, name = self._client.world.memory.new(size_bytes)
        self.pieces.append(self._client.objects.keep(data))
        self.names.append(name)
