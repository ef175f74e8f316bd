"""Memory is given back in steps, and others have their turn in between."""

from __future__ import annotations

import os
from functools import partial

import pytest

from actors.testkit import ActorHarness
from scaler.objects.arena import PAGE_BYTES
from scaler.objects.file import FILE_BYTES
from scaler.objects.holes import Holes
from scaler.objects.keeper import ObjectKeeper, ObjectsDropped
from scaler.objects.store import ObjectStore
from scaler.protocol.objects import RANGE_SHIFT

MB = 1 << 20
FIRST = 3 << RANGE_SHIFT
STEP_BYTES = 16 * MB


@pytest.fixture
def punched(file, monkeypatch) -> list[tuple[int, int]]:
    """What is punched, part by part."""
    parts: list[tuple[int, int]] = []
    punch = file.punch

    def note(offset: int, size_bytes: int) -> None:
        parts.append((offset, size_bytes))
        punch(offset, size_bytes)

    monkeypatch.setattr(file, "punch", note)
    return parts


def test_holes_are_punched_in_their_order_and_in_steps(file, punched, held_bytes):
    holes, done = Holes(), list[int]()
    for number, size in enumerate((5 * MB, MB, 2 * MB)):
        file.write(memoryview(bytes(size)), FIRST + number * 8 * MB)
        holes.add(file, FIRST + number * 8 * MB, size, partial(done.append, number))
    assert [holes.punch(3 * MB) for _ in range(3)] == [True, True, False]
    assert done == [0, 1, 2]
    assert punched == [
        (FIRST, 3 * MB),
        (FIRST + 3 * MB, 2 * MB),
        (FIRST + 8 * MB, MB),
        (FIRST + 16 * MB, 2 * MB),
    ]
    assert held_bytes() == 0
    assert not holes.punch(MB)


def test_where_nothing_was_written_is_passed_over(file, punched, held_bytes):
    places = [FIRST, FIRST + (1 << 35), FIRST + (1 << 39)]
    for place in places:
        file.write(memoryview(bytes(MB)), place)
    holes = Holes()
    holes.add(file, FIRST, 1 << RANGE_SHIFT)
    steps = 1
    while holes.punch(MB):
        steps += 1
    assert steps <= 4
    assert held_bytes() == 0
    assert sum(size for _, size in punched) == 3 * MB


def test_what_was_closed_has_nothing_to_give_back(file):
    holes, done = Holes(), []
    holes.add(file, FIRST, MB, lambda: done.append(True))
    file.close()
    assert not holes.punch(FILE_BYTES)
    assert done == [True]


# --- the actor --------------------------------------------------------------------------------


@pytest.fixture
def kit(store) -> ActorHarness[ObjectKeeper]:
    return ActorHarness(ObjectKeeper, store)


def next_turn(kit: ActorHarness[ObjectKeeper]) -> None:
    kit.advance(kit.timers["more"].due_s - kit.clock.now())


def test_a_large_object_is_given_back_in_many_turns(store, kit, punched, held_bytes):
    store._arena._warm_bytes_max = 0
    piece = store.keep(memoryview(bytes(100 * MB)))
    assert held_bytes() == 100 * MB
    del piece
    kit.tell(ObjectsDropped())
    assert store.objects == {}, "who waits for room need not wait for this"
    assert held_bytes() == 84 * MB
    kit.tell(ObjectsDropped())
    assert held_bytes() == 84 * MB, "more that is dropped does not make a turn longer"
    for left in (68, 52, 36, 20, 4, 0):
        next_turn(kit)
        assert held_bytes() == left * MB
    assert max(size for _, size in punched) == STEP_BYTES
    kit.advance(1.0)
    assert len(punched) == 7, "the place is of 104 MB"
    assert store.keep(memoryview(bytes(100 * MB))).home == punched[0][0], "its place is free again"


def test_many_small_objects_are_freed_in_many_turns(store, kit):
    pieces = [store.keep(memoryview(b"%09d" % n * 8_000)) for n in range(600)]
    store.on_dropped = lambda: None
    pieces.clear()
    kit.tell(ObjectsDropped())
    left = [len(store.objects)]
    while store.objects:
        next_turn(kit)
        left.append(len(store.objects))
    assert left == [344, 88, 0]


def test_at_the_end_all_is_given_back_at_once(file, held_bytes):
    store = ObjectStore(file)
    store._arena._warm_bytes_max = 0
    kit = ActorHarness(ObjectKeeper, store)
    fd = os.dup(file.fd)
    piece = store.keep(memoryview(bytes(100 * MB)))
    del piece
    kit.tell(ObjectsDropped())
    store.close()
    assert os.fstat(fd).st_blocks * 512 == PAGE_BYTES
    os.close(fd)
