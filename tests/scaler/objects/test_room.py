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


def tell(room: Room, used_bytes: int) -> None:
    ledger = ObjectLedger()
    ledger.used_bytes = used_bytes
    room.tell_used(ledger)


def test_where_there_is_room_nobody_waits(room):
    tell(room, 400)
    pressed: list[int] = []
    assert [*room.reserve(600, pressed.append)] == []
    assert pressed == []


def test_who_waits_asks_again_and_goes_on_when_there_is_room(room):
    tell(room, 401)
    pressed: list[int] = []
    steps = room.reserve(600, pressed.append)
    pauses = [next(steps) for _ in range(60)]
    assert pressed == [600, 600, 600]
    assert 0 < sum(pauses) < 1
    tell(room, 400)
    assert finish(steps) is None


def test_who_waits_too_long_is_told(room, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("scaler.objects.room.time.monotonic", lambda: clock[0])
    tell(room, LIMIT)
    steps = room.reserve(1, lambda _: None)
    next(steps)
    clock[0] = 9.9
    next(steps)
    clock[0] = 10.1
    with pytest.raises(ObjectStoreFullError, match="there is no room for an object of 1 bytes"):
        next(steps)
