"""Which object goes to disk, and which stays."""

from __future__ import annotations

import random

import pytest

from scaler.objects.ledger import ObjectLedger, StoredObject
from scaler.protocol.objects import Spilled

PLACE = Spilled(0, 10, 0)


@pytest.fixture
def ledger() -> ObjectLedger:
    """Objects 1, 2 and 3 of 10 bytes, entered in this order."""
    made = ObjectLedger()
    for home in (1, 2, 3):
        enter(made, home)
    return made


def enter(ledger: ObjectLedger, home: int, size_bytes: int = 10) -> None:
    """Enter an object as the store does."""
    ledger.objects[home] = StoredObject(size_bytes, leases=1)
    ledger.used_bytes += size_bytes


def use(ledger: ObjectLedger, home: int) -> None:
    ledger.begin_read(home).pins -= 1


def order(ledger: ObjectLedger) -> list[int]:
    """All victims, one after the other."""
    homes = []
    while (home := ledger.victim({})) is not None:
        homes.append(home)
        assert ledger.spill(home, PLACE, {})
    return homes


def test_the_victim_is_what_was_entered_first(ledger):
    assert order(ledger) == [1, 2, 3]


def test_what_is_used_goes_later(ledger):
    assert ledger.begin_read(1) is ledger.objects[1]
    assert ledger.objects[1].pins == 1
    ledger.objects[1].pins -= 1
    use(ledger, 3)
    assert order(ledger) == [2, 1, 3]


def test_there_is_no_victim_of_nothing():
    assert ObjectLedger().victim({}) is None


def test_what_is_pinned_is_no_victim_until_it_is_not(ledger):
    ledger.objects[1].pins = 2
    assert ledger.victim({}) == 2
    ledger.objects[1].pins -= 1
    assert ledger.victim({}) == 2
    ledger.objects[1].pins -= 1
    assert ledger.victim({}) == 1


def test_what_is_mapped_is_no_victim(ledger):
    assert ledger.victim({1: None}) == 2
    assert ledger.victim(dict.fromkeys((1, 2, 3))) is None


def test_what_the_disk_refused_is_not_tried_again(ledger):
    ledger.refuse(1)
    assert order(ledger) == [2, 3]
    assert ledger.objects[1].spilled is None


def test_what_is_on_disk_takes_no_memory_and_is_not_spilled_again(ledger):
    assert ledger.spill(1, PLACE, {})
    assert ledger.objects[1].spilled is PLACE
    assert ledger.used_bytes == 20
    assert ledger.victim({}) == 2


@pytest.mark.parametrize("how", ["pinned", "mapped"])
def test_what_somebody_began_to_read_while_it_was_copied_stays(ledger, how):
    ledger.objects[1].pins = int(how == "pinned")
    mapped = {1: None} if how == "mapped" else {}
    assert not ledger.spill(1, PLACE, mapped)
    assert ledger.objects[1].spilled is None
    assert ledger.used_bytes == 30


def test_the_last_piece_frees_and_a_pin_goes_with_its_piece(ledger):
    entry = ledger.objects[2]
    entry.leases, entry.pins = 3, 1
    assert ledger.drop(2, pins=False) is None
    assert ledger.drop(2, pins=True) is None
    assert (entry.leases, entry.pins, ledger.used_bytes) == (1, 0, 30)
    assert ledger.drop(2, pins=False) is entry
    assert list(ledger.objects) == [1, 3]
    assert ledger.used_bytes == 20


def test_what_is_freed_on_disk_was_counted_before(ledger):
    ledger.spill(2, PLACE, {})
    entry = ledger.drop(2, pins=False)
    assert entry is not None
    assert entry.spilled is PLACE
    assert ledger.used_bytes == 20


@pytest.mark.parametrize("seed", range(10))
def test_whatever_happens_the_books_are_those_of_a_simple_model(seed):
    chance, ledger = random.Random(seed), ObjectLedger()
    model: list[dict[str, int]] = []  # the one that was used longest ago first
    for home in range(600):
        what = chance.random()
        one = chance.choice(model) if model else None
        mapped = {each["home"]: None for each in model if chance.random() < 0.1}
        if what < 0.4 or one is None:
            size = chance.randrange(1, 100)
            enter(ledger, home, size)
            model.append({"home": home, "size": size, "pins": 0, "refused": 0, "spilled": 0})
        elif what < 0.55:
            use(ledger, one["home"])
            model.remove(one)
            model.append(one)
        elif what < 0.65:
            ledger.objects[one["home"]].pins += 1
            one["pins"] += 1
        elif what < 0.75:
            ledger.objects[one["home"]].pins -= bool(one["pins"])
            one["pins"] -= bool(one["pins"])
        elif what < 0.78:
            ledger.refuse(one["home"])
            one["refused"] = 1
        elif what < 0.85:
            assert ledger.drop(one["home"], pins=bool(one["pins"])) is not None
            model.remove(one)
        elif not one["spilled"]:
            can = not one["pins"] and one["home"] not in mapped
            assert ledger.spill(one["home"], PLACE, mapped) is can
            one["spilled"] = int(can)
        free = [m for m in model if not (m["pins"] or m["refused"] or m["spilled"])]
        victims = [m["home"] for m in free if m["home"] not in mapped]
        assert ledger.victim(mapped) == (victims[0] if victims else None)
        assert ledger.used_bytes == sum(m["size"] for m in model if not m["spilled"])
        assert list(ledger.objects) == [m["home"] for m in model]
