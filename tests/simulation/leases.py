"""Which objects are there when nothing runs: those that somebody can look at, and no others."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from scaler.client.future import ScalerFuture
from scaler.errors import SerializationError
from scaler.limits import MAP_BYTES
from tests.simulation.disk import NAME_BYTES
from tests.simulation.verdicts import forget_frames

if TYPE_CHECKING:
    from tests.simulation.client import SimClient
    from tests.simulation.world import World


def check_collected(world: World) -> None:
    """Nothing is left to happen: who frees objects has seen to all of which no piece is left."""
    if world.memory.store._dropped:
        world.truth.fail("leases", "pieces of objects are gone, and nobody looks at that")


def objects_left(world: World) -> dict[str, object]:
    """Return what is wrong with the objects when all tasks have ended, and their futures are held.

    A process that has ended without a word is still held by the simulation, with all it had.
    """
    if world.truth.marks["Leave"] or any(client.gone for client in world.clients):
        return {}
    for client in world.clients:
        for future in _futures(client):
            if not future.cancelled():
                forget_frames(future.exception(0))  # opened: it is known what it holds
    _forget_what_is_shown(world)
    for executor in world.truth.alive.values():
        executor.objects.hear()
    left = _looked_again(world, lambda: _difference(world))
    for executor in world.truth.alive.values():
        wrong = {what: found for what, found in executor.objects.left().items() if found}
        left[f"objects of {executor}"] = wrong
    return left


def _difference(world: World) -> dict[str, object]:
    store, names, needed = world.memory.store, world.memory.names, dict.fromkeys(_needed(world))
    pinned = {home: entry.pins for home, entry in store.objects.items() if entry.pins}
    for executor in world.truth.alive.values():
        for home in executor.objects.own._holds:
            pinned[home] = pinned.get(home, 0) - 1
    store.check_used()
    return {
        "pins of nobody": [home for home, pins in pinned.items() if pins],
        **_disk_left(world),
        "objects that nobody needs": [names.get(home) for home in store.objects.keys() - needed],
        "objects that are gone": [home for home in needed if home not in store.objects],
        "objects nobody knows": [name for home, name in names.items() if home not in store.objects],
    }


def _disk_left(world: World) -> dict[str, object]:
    """Return what is not on disk as the books say."""
    places = world.memory.store.places
    entries = world.memory.store.objects.values()
    known = sorted([entry.spilled.offset for entry in entries if entry.spilled is not None])
    used = sorted(places.places) if places is not None else []
    taken = sorted(places._arena.taken) if places is not None else []
    spilled = [home for home, entry in world.memory.store.objects.items() if entry.spilled]
    return {
        "places on disk": [] if known == used == taken else (known, used, taken),
        "memory of what is on disk": [
            home for home in spilled if any(world.memory.file.read(home, NAME_BYTES))
        ],
    }


def _needed(world: World) -> Iterator[int]:
    """Yield the objects that are looked at, or may be."""
    for executor in world.truth.alive.values():
        yield from executor.objects.own._holds
    for client in world.clients:
        for future in _futures(client):
            task = world.truth.tasks[future.task_id]
            if future.cancelled() or not task.runs or task.result is None:
                continue
            error = future.exception(0)
            if error is not None and not isinstance(error, SerializationError):
                continue  # the client was closed, or nobody answered
            keeps_pickle = future._is_input or error is not None
            for home, size_bytes in task.runs[-1].objects.items():
                if keeps_pickle or size_bytes >= MAP_BYTES:
                    yield home


def _futures(client: SimClient) -> Iterator[ScalerFuture]:
    """Yield what the user holds."""
    yield from client.futures.values()
    for call in client.calls:
        for future, _, _ in call.futures:
            yield future


def check_dropped(world: World) -> None:
    """All has been closed, and all futures are dropped: no object is left."""
    marks = world.truth.marks
    if marks["Leave"] or marks["CrashNode"]:  # what had crashed is still held by the simulation
        return
    for client in world.clients:
        client.forget()
    _forget_what_is_shown(world)
    store = world.memory.store
    store.stop_spilling()

    def left() -> dict[str, object]:
        found = {
            "objects": [*store.objects],
            "leases": len(store.ledger.leases),
            "names": [*world.memory.names.values()],
            "bytes": store.room.used_bytes() or store.ledger.used_bytes,
            **_disk_left(world),
        }
        return {what: some for what, some in found.items() if some}

    if found := _looked_again(world, left):
        world.truth.fail("objects", f"left when all was dropped: {found}")
    store.close()


def _forget_what_is_shown(world: World) -> None:
    """The simulation keeps what failed, with all that is in it.

    A worker that gives up fails, and the frames of that hold the messages that it handled.
    """
    for failure in world.sim.failures:
        forget_frames(failure.error)


def let_go(world: World) -> None:
    """Give descriptors and mappings back: a world that ended badly may never be freed itself."""
    for client in world.clients:
        client.forget()
    for executor in world.truth.alive.values():
        executor.objects.end()
    world.memory.store.cool()
    world.memory.file.close()
    if world.memory.disk is not None:
        world.memory.disk.close()


def _looked_again(world: World, look: Callable[[], dict[str, object]]) -> dict[str, object]:
    """Return what `look` finds, and finds again when cycles have been collected."""
    world.memory.store.collect()
    found = look()
    if any(found.values()):
        gc.collect()
        world.memory.store.collect()
        found = look()
    return found
