"""What a spiller does, step by step, and how long one waits for room: no thread, no sleep."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scaler.objects.file import open_shared_file
from scaler.objects.ledger import Holder
from scaler.objects.spill import SpillFile
from scaler.objects.spilling import Spilling
from scaler.objects.store import ObjectStore
from scaler.protocol.objects import Piece

SIZE = 100_000
LIMIT = 3 * SIZE


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    made = ObjectStore(open_shared_file(), limit_bytes=LIMIT)
    made.on_dropped = made.collect
    yield made
    made.on_dropped = lambda: None
    made.close()
    made.file.close()


@pytest.fixture
def spilling() -> Iterator[Spilling]:
    made = Spilling(SpillFile(open_shared_file()))
    yield made
    made.disk.file.close()


def written(store: ObjectStore, number: int) -> Piece:
    return store.keep(memoryview(bytes([number]) * SIZE))


def on_disk(store: ObjectStore) -> list[int]:
    return [home for home, entry in store.objects.items() if entry.spilled is not None]


def taken(spilling: Spilling) -> int:
    return len(spilling.disk._arena.taken)


# --- what goes to disk ------------------------------------------------------------------------


def test_the_least_that_anybody_wants_left_is_the_target(spilling):
    assert spilling.take_target() is None
    for target_bytes in (300, 100, 200):
        spilling.want(target_bytes)
    assert spilling.take_target() == 100
    assert spilling.take_target() is None


def test_the_oldest_go_until_the_target_is_met(store, spilling):
    pieces = [written(store, number) for number in range(3)]
    for _ in spilling.steps(store, SIZE):
        pass
    assert on_disk(store) == [pieces[0].home, pieces[1].home]
    assert store.room.used_bytes() == SIZE
    assert [any(store.file.read(piece.home, SIZE)) for piece in pieces] == [False, False, True]


def test_what_is_freed_between_any_two_steps_leaves_nothing(store, spilling):
    for count in range(5):
        pieces = [written(store, 1)]
        for number, _ in enumerate(spilling.steps(store, 0)):
            if number == count:
                pieces.clear()
        pieces.clear()
        store.collect()
        assert not store.objects
        assert store.count == store.room.used_bytes() == 0


@pytest.mark.parametrize("count", [0, 1])
def test_what_is_pinned_between_two_steps_stays_in_memory(store, spilling, count):
    piece = written(store, 7)
    steps, pin = spilling.steps(store, 0), None
    for number, _ in enumerate(steps):
        if number == count:
            pin = store.hold(piece.home, Holder.EXECUTOR)
    assert pin is not None
    assert on_disk(store) == []
    assert taken(spilling) == 0
    assert store.file.read(piece.home, SIZE) == bytes([7]) * SIZE


@pytest.mark.parametrize("count", range(4))
def test_who_goes_no_further_leaves_all_in_order(store, spilling, count):
    piece = written(store, 7)
    steps = spilling.steps(store, 0)
    for _ in range(count):
        next(steps)
    del steps
    assert taken(spilling) == len(on_disk(store)) == (count > 2)
    assert store.room.used_bytes() == (0 if count > 2 else SIZE)
    assert [entry.leases for entry in store.objects.values()] == [1]
    assert piece.home in store.objects
