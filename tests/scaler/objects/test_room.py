"""Who waits for room, and how long: without waiting."""

from __future__ import annotations

import pytest

from scaler.errors import ObjectStoreFullError
from scaler.objects.ledger import ObjectLedger
from scaler.objects.room import Room, make_page
from scaler.objects.waiting import finish

LIMIT = 1_000


@pytest.fixture
def room(file):
    make_page(file)
    made = Room(file, LIMIT)
    yield made
    made.close()


class Clock:
    """A clock that is set by hand."""

    now_s = 0.0

    def now(self) -> float:
        return self.now_s


def tell(room: Room, used_bytes: int) -> None:
    ledger = ObjectLedger()
    ledger.used_bytes = used_bytes
    room.tell_used(ledger)


def test_where_there_is_room_nobody_waits(room):
    tell(room, 400)
    pressed: list[int] = []
    assert [*room.waits(600, pressed.append, Clock().now)] == []
    assert pressed == []


def test_who_waits_asks_again_and_goes_on_when_there_is_room(room):
    tell(room, 401)
    pressed: list[int] = []
    clock = Clock()
    steps = room.waits(600, pressed.append, clock.now)
    for _ in range(60):
        clock.now_s += next(steps)
    assert pressed == [600, 600, 600]
    assert 0 < clock.now_s < 1
    tell(room, 400)
    assert finish(steps) is None


def test_who_waits_too_long_is_told(room):
    clock = Clock()
    tell(room, LIMIT)
    steps = room.waits(1, lambda _: None, clock.now)
    next(steps)
    clock.now_s = 9.9
    next(steps)
    clock.now_s = 10.1
    with pytest.raises(ObjectStoreFullError, match="there is no room for an object of 1 bytes"):
        next(steps)


def test_what_the_store_does_not_know_yet_takes_room_too(room):
    pressed: list[int] = []
    tell(room, 300)
    waits = room.waits(300, pressed.append, Clock().now, 500)
    next(waits)
    assert pressed == [800]
    with pytest.raises(ObjectStoreFullError) as caught:
        next(room.waits(300, pressed.append, Clock().now, LIMIT))
    assert str(caught.value) == (
        "the objects of one task, 1,300 bytes up to now, are larger than the object store, which "
        "has 1,000 bytes; allow more with object_store_bytes="
    )
