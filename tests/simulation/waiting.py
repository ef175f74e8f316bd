"""Who waits for room in the memory of a world: what blocks in production, look by look."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from scaler.errors import ObjectStoreFullError
from scaler.limits import ROOM_WAIT_S
from scaler.objects.memory import ObjectMemory
from scaler.objects.room import POLL_S

if TYPE_CHECKING:
    from tests.simulation.memory import Memory

_SLOWER = 3.0
_LONGEST_S = 1.0


def waiting(
    memory: Memory, own: ObjectMemory, size_bytes: int, untold_bytes: int = 0
) -> Iterator[float]:
    """Yield how long to pause, until there is room for so much in `own`.

    Each pause is longer than the last: who waits has a processor now and then only.

    Raises:
        ObjectStoreFullError: nothing went in time.
    """
    now: Callable[[], float] = memory.truth.now
    began_s, pause_s = now(), POLL_S
    try:
        for _ in own._waits(size_bytes, now):
            memory.truth.marks["somebody waited for room"] += 1
            yield pause_s * (0.5 + memory.random.random())
            pause_s = min(_LONGEST_S, pause_s * _SLOWER)
    except ObjectStoreFullError:
        memory.truth.marks["there was no room"] += 1
        room = memory.store.room
        is_larger = size_bytes + untold_bytes > room.limit_bytes
        if not is_larger and now() - began_s < ROOM_WAIT_S:
            memory.truth.fail("room", f"given up after {now() - began_s} s")
        raise
    if now() - began_s > ROOM_WAIT_S + 2 * _LONGEST_S and memory.truth.calm:
        memory.truth.fail("room", f"somebody waited for {now() - began_s} s")
