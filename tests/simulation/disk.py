"""The disk of a world: what is spilled goes there, in steps that take time, and it may be bad."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from random import Random
from typing import TYPE_CHECKING, Any

from scaler.objects.file import SharedFile, open_shared_file
from scaler.objects.holes import Holes
from scaler.objects.spill import SpillFile
from scaler.objects.spiller import Spiller
from scaler.protocol.objects import Spilled

if TYPE_CHECKING:
    from scaler.objects.store import ObjectStore
    from tests.simulation.memory import Memory
    from tests.simulation.plans import Options

NAME_BYTES = 16
"""So much of an object is really written; of a large one, in each chunk of the copy on disk."""

_CHUNK_BYTES = 1 << 20
_STEP_S = (0.0001, 0.0001, 0.001, 0.01, 0.2)


class SimDisk(SharedFile):
    """A real file, made when it is needed: of each chunk of an object it has the beginning."""

    def __init__(self) -> None:
        super().__init__(-1)
        self.takes = -1
        """So many chunks, then it is full; negative: any number."""

    def check_open(self) -> None:
        if self.fd < 0:
            real = open_shared_file()
            self.fd = os.dup(real.fd)
            real.close()

    def write(self, data: memoryview, offset: int) -> None:
        if not self.takes:
            raise OSError(errno.ENOSPC, "no space is left, by plan")
        self.takes -= 1
        self.check_open()
        super().write(data, offset)

    def read(self, offset: int, size_bytes: int) -> bytes:
        return super().read(offset, NAME_BYTES)  # as much as there was to write of a chunk

    def punch(self, offset: int, size_bytes: int) -> None:
        if self.fd >= 0:
            super().punch(offset, size_bytes)


class SimSpillFile(SpillFile):
    """The places on a disk, and which object is at each."""

    def __init__(self, memory: Memory, disk: SimDisk, options: Options, random: Random) -> None:
        super().__init__(disk)
        self._memory = memory
        self._disk = disk
        self._options = options
        self._random = random
        self.places: dict[int, int] = {}
        """Sizes of those that are in use."""

    def write(self, memory: SharedFile, home: int, size_bytes: int) -> Spilled:
        random, truth = self._random, self._memory.truth
        self._disk.takes = -1
        if random.random() < self._options.disk_full_share:
            self._disk.takes = random.randrange(-(-size_bytes // _CHUNK_BYTES))
            truth.marks["the disk was full"] += 1
        place = super().write(memory, home, size_bytes)
        first, end = place.offset, place.offset + size_bytes
        for offset, size in self.places.items():
            if first < offset + size and offset < end:
                truth.fail("disk", f"the places at {offset} and {first} are one")
        self.places[first] = size_bytes
        if random.random() < self._options.disk_damaged_share:
            self._disk.takes = -1
            self._disk.write(memoryview(b"damaged"), first)
            truth.damaged[self._memory.names[home]] = None
        return place

    def free_in(self, holes: Holes, offset: int) -> None:
        super().free_in(holes, offset)
        if self.places.pop(offset, None) is None:
            return  # it was not written to its end
        for home, entry in self._memory.store.objects.items():
            if entry.spilled is not None and entry.spilled.offset == offset:
                self._memory.truth.fail("disk", f"the place of {home} is freed, which is needed")


class SimSpiller(Spiller):
    """What spills, each step at its time in place of a thread."""

    def __init__(
        self,
        store: ObjectStore,
        disk: SimSpillFile,
        after: Callable[..., object],
        random: Random,
    ) -> None:
        super().__init__(store, disk)
        self._after = after
        self._random = random
        self._steps: Iterator[None] | None = None
        self._asked: list[int] = []
        """What was asked for since it looked, and not met meanwhile."""
        self._current_bytes: int | None = None
        """What it is at."""

    def wants(self, target_bytes: int) -> bool:
        """Whether no more than that will be left in memory, if the rest can be spilled."""
        targets = (self._current_bytes, self._spilling.target_bytes)
        return self._is_closed or any(
            target is not None and target <= max(0, target_bytes) for target in targets
        )

    def wake(self, target_bytes: int) -> None:
        if self._is_closed:
            return
        self._asked.append(target_bytes)
        self._spilling.want(target_bytes)
        if self._steps is None:
            self._steps = self._all_steps()
            self._step_later()

    def close(self) -> None:
        self._is_closed = True
        self._steps = None

    def _step_later(self) -> None:
        random = self._random
        self._after(random.choice(_STEP_S) * random.random(), self._step)

    def _step(self) -> None:
        if self._steps is None:
            return
        for _ in self._steps:
            self._step_later()
            return
        self._steps = None

    def _all_steps(self) -> Iterator[None]:
        while (target_bytes := self._spilling.take_target()) is not None:
            store: Any = self._store()
            if target_bytes != min(self._asked):
                store.truth.fail("room", f"{self._asked} was asked for, not {target_bytes}")
            self._current_bytes, self._asked = target_bytes, []
            store.was_enough = False
            yield from self._spilling.steps(store, target_bytes)
            self._current_bytes = None
            if store.was_enough:  # who asked for no more room than that has it, or asks again
                limit_bytes = store.room.limit_bytes
                self._asked = [n for n in self._asked if n < target_bytes or n >= limit_bytes]
            used_bytes = store.room.used_bytes()
            left = store.ledger.victim(dict.fromkeys(store.views.homes()))
            if used_bytes > target_bytes and left is not None and not store.was_enough:
                store.truth.fail("room", f"{left} stays, beyond {target_bytes} bytes")
