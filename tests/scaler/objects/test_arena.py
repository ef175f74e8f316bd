"""Places in a range of the shared file: none is given twice, and what is kept warm is bounded."""

from __future__ import annotations

import itertools
import random

import pytest

from scaler.objects.arena import PAGE_BYTES, Arena, rounded_bytes

FIRST = 1 << 40
KB = 1 << 10
MB = 1 << 20


def test_the_first_place_is_the_first_of_the_range_and_has_no_memory_yet():
    arena = Arena(FIRST, MB)
    assert arena.take(100 * KB) == (FIRST, False)
    assert arena.take(1) == (FIRST + rounded_bytes(100 * KB), False)


def test_what_was_freed_last_is_taken_first_and_has_its_memory():
    arena = Arena(FIRST, MB)
    places = [arena.take(64 * KB)[0] for _ in range(3)]
    for place in places:
        assert arena.free(place) is None
    assert [arena.take(64 * KB) for _ in places] == [(place, True) for place in reversed(places)]
    assert arena.warm_bytes == 0


def test_a_place_is_for_sizes_that_round_to_its_own():
    arena = Arena(FIRST, MB)
    place, _ = arena.take(64 * KB)
    arena.free(place)
    assert arena.take(80 * KB)[0] != place
    assert arena.take(64 * KB - 1) == (place, True)


def test_a_single_place_may_be_larger_than_the_bound():
    arena = Arena(FIRST, 128 * KB, MB)
    large = [arena.take(MB)[0] for _ in range(2)]
    assert [arena.free(place) for place in large] == [None, (large[1], MB)]
    small, _ = arena.take(64 * KB)
    assert arena.free(small) == (small, 64 * KB), "it is not the only one"
    assert arena.take(MB) == (large[0], True)
    beyond, _ = arena.take(MB + 1)
    assert arena.free(beyond) is not None


def test_beyond_the_bound_memory_is_given_back_and_the_address_is_kept():
    arena = Arena(FIRST, 128 * KB)
    places = [arena.take(64 * KB)[0] for _ in range(3)]
    assert [arena.free(place) for place in places] == [None, None, (places[2], 64 * KB)]
    assert arena.warm_bytes == 128 * KB
    arena.cooled(places[2], 64 * KB)
    taken = [arena.take(64 * KB) for _ in places]
    assert taken == [(places[1], True), (places[0], True), (places[2], False)]


def test_an_arena_that_keeps_nothing_warm_gives_each_place_back():
    arena = Arena(FIRST, 0)
    place, _ = arena.take(5 * KB)
    assert arena.free(place) == (place, 8 * KB)
    other, _ = arena.take(5 * KB)
    assert other != place, "what is in there is still to go"
    arena.cooled(place, 8 * KB)
    assert arena.take(5 * KB) == (place, False)


def test_a_place_that_has_no_memory_any_more_is_taken_at_once():
    arena = Arena(FIRST, MB)
    place, _ = arena.take(64 * KB)
    assert arena.free(place, is_cold=True) is None
    assert arena.take(64 * KB) == (place, False)
    assert arena.warm_bytes == 0


def cooled(arena: Arena) -> list[tuple[int, int]]:
    """Take out all warm places."""
    places = list(iter(arena.cool, None))
    for place in places:
        arena.cooled(*place)
    return places


def test_cooling_names_each_warm_place_once_and_keeps_its_address():
    arena = Arena(FIRST, MB)
    places = [(arena.take(size)[0], size) for size in (64 * KB, 64 * KB, 128 * KB)]
    for place, _ in places:
        arena.free(place)
    assert sorted(cooled(arena)) == sorted(places)
    assert arena.cool() is None
    assert arena.warm_bytes == 0
    again = [arena.take(size) for _, size in places]
    assert sorted(again) == sorted((place, False) for place, _ in places)


def test_what_is_in_use_is_not_cooled():
    arena = Arena(FIRST, MB)
    place, _ = arena.take(64 * KB)
    assert arena.cool() is None
    assert arena.taken == {place: 64 * KB}


def test_freeing_twice_or_what_was_never_taken_is_an_error():
    arena = Arena(FIRST, MB)
    place, _ = arena.take(64 * KB)
    arena.free(place)
    for wrong in (place, place + PAGE_BYTES):
        with pytest.raises(KeyError):
            arena.free(wrong)
    assert arena.warm_bytes == 64 * KB
    assert arena.used_bytes == 0


def test_rounding_costs_an_eighth_or_a_page_at_most():
    chance = random.Random(8)
    edges = [(1 << power) + more for power in range(41) for more in (-1, 0, 1)]
    for size in [*edges, *(chance.randrange(1, 1 << 34) for _ in range(2_000))]:
        rounded = rounded_bytes(size)
        assert rounded % PAGE_BYTES == 0
        assert max(size, 1) <= rounded < 1.125 * max(size, 1) + PAGE_BYTES, size
        assert rounded_bytes(rounded) == rounded, "a place is full at its own size"


def test_no_two_places_in_use_ever_overlap():
    chance = random.Random(4)
    arena, model = Arena(FIRST, MB), {}
    free_memory: dict[int, int] = {}
    for _ in range(5_000):
        if model and chance.random() < 0.5:
            place = chance.choice(list(model))
            size = rounded_bytes(model.pop(place))
            hole = arena.free(place)
            if hole is None:
                free_memory[place] = size
            else:
                arena.cooled(*hole)
        else:
            size = chance.choice([1, 3 * KB, 70 * KB, 64 * KB, chance.randrange(1, 300 * KB)])
            place, is_warm = arena.take(size)
            assert place not in model
            assert is_warm == (free_memory.pop(place, 0) > 0)
            model[place] = size
        if chance.random() < 0.01:
            assert dict(cooled(arena)) == free_memory
            free_memory.clear()
        assert arena.warm_bytes == sum(free_memory.values()) <= MB
        assert arena.used_bytes == sum(map(rounded_bytes, model.values()))
    ends = sorted((place, place + size) for place, size in model.items())
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ends))
