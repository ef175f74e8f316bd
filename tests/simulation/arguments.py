"""What a user of the simulation gives to a task: results of others, and what is large."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from scaler.protocol.objects import Piece
from tests.simulation.memory import names_in
from tests.simulation.waiting import waiting

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
        self._given: list[Any] = []
        """What is large of results that are given as values."""
        for future in [client.futures[need] for need in plan.needs if need in client.futures]:
            self._add(future)

    def _add(self, future: ScalerFuture) -> None:
        """Name a result; of one whose pickle was dropped when it was opened, give the value."""
        row = future._row or future._ran
        if row is None or row.payload or future.cancelled() or future._failed():
            future._is_input = True
            self.needs += (future,)
        else:
            self._given += future.result(0)[2:]

    def write(self, plan: TaskPlan) -> Iterator[float]:
        """Put what is large into memory; yield pauses where there is no room, see `waiting`."""
        for size_bytes in plan.argument_bytes:
            yield from self._write(size_bytes)
        given, self._given = self._given, []
        for buffer in given:
            if isinstance(buffer, memoryview):
                self.pieces.append(self._client.objects.keep(buffer))
                self.names += names_in((buffer,))
                self._client.world.truth.marks["a user gave an object again"] += 1
            else:  # a copy of something small
                yield from self._write(100_000)

    def _write(self, size_bytes: int) -> Iterator[float]:
        memory = self._client.world.memory
        if memory.is_bounded:
            yield from waiting(memory, self._client.objects, size_bytes)
        data, name = memory.new(size_bytes)
        self.pieces.append(self._client.objects.keep(data))
        self.names.append(name)
