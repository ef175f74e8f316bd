"""How large chunks become, for what is known of a function."""

from __future__ import annotations

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.client.chunking import (
    CHUNK_ITEMS,
    CHUNK_S,
    SINGLES_PER_SLOT,
    Chunker,
    ItemTimes,
    known_total,
)

FN = b"f" * 16
START_S = 30e-6


def run(chunker: Chunker, item_s: float, total: int, slots: int) -> tuple[list[int], float]:
    """Play a map; return the sizes of its chunks and how long it took."""
    sizes: list[int] = []
    free_s = [0.0] * slots
    running: list[tuple[float, int]] = []
    left, now_s = total, 0.0
    while left or running:
        while left and len(running) < chunker.open_max:
            size = min(chunker.next_size(), left)
            left -= size
            sizes.append(size)
            begin_s = max(heapq.heappop(free_s), now_s + 200e-6)
            end_s = begin_s + START_S + size * item_s
            heapq.heappush(free_s, end_s)
            heapq.heappush(running, (end_s, size))
        now_s, size = heapq.heappop(running)
        chunker.ended(size, START_S + size * item_s)
    return sizes, now_s


def test_the_first_chunk_of_an_unknown_function_is_one_item():
    assert Chunker(ItemTimes(), FN, 2, 10_000).next_size() == 1
    assert Chunker(ItemTimes(), FN, 2, None).next_size() == 1


@pytest.mark.parametrize("total", [None, 10, 1_000_000])
def test_chunks_that_must_be_single_items_stay_so_and_more_are_in_flight(total):
    times = ItemTimes()
    chunker = Chunker(times, FN, 2, total, single=True)
    for _ in range(10):
        assert chunker.next_size() == 1
        chunker.ended(1, 1e-6)
    assert chunker.open_max == 2 * SINGLES_PER_SLOT
    assert times.seconds_per_item(FN) == pytest.approx(1e-6)


def test_a_trivial_function_over_ten_thousand_items_takes_few_chunks():
    times = ItemTimes()
    sizes, took_s = run(Chunker(times, FN, 2, 10_000), 0.1e-6, 10_000, 2)
    assert sum(sizes) == 10_000
    assert len(sizes) <= 50
    assert took_s < 0.004
    sizes, took_s = run(Chunker(times, FN, 2, 10_000), 0.1e-6, 10_000, 2)
    assert sizes == [1250] * 8
    assert took_s < 0.002


def test_slow_items_go_one_by_one():
    sizes, took_s = run(Chunker(ItemTimes(), FN, 2, 20), 1.0, 20, 2)
    assert sizes == [1] * 20
    assert took_s < 10.1


def test_chunks_aim_at_some_milliseconds():
    times = ItemTimes()
    times.record(FN, 100, 0.1)
    sizes, _ = run(Chunker(times, FN, 2, 10_000), 0.001, 10_000, 2)
    assert all(10 <= size <= 15 for size in sizes[:-1])


def test_a_known_length_gives_each_slot_several_chunks():
    times = ItemTimes()
    times.record(FN, 100, 100e-6)
    sizes, _ = run(Chunker(times, FN, 4, 160), 1e-6, 160, 4)
    assert sizes == [10] * 16


def test_a_chunk_is_bounded_however_fast_the_function():
    times = ItemTimes()
    times.record(FN, 1000, 0.0)
    assert Chunker(times, FN, 2, None).next_size() == CHUNK_ITEMS
    assert Chunker(times, FN, 2, 10**9).next_size() == CHUNK_ITEMS


def test_one_fast_item_proves_little():
    chunker = Chunker(ItemTimes(), FN, 2, 10_000)
    chunker.ended(1, 1e-6)
    assert chunker.next_size() == 8
    chunker.ended(8, 8e-6)
    assert chunker.next_size() == 64


def test_chunks_shrink_when_items_become_slow():
    chunker = Chunker(ItemTimes(), FN, 2, None)
    for size in (1, 8, 64, 512):
        chunker.ended(size, size * 1e-6)
    assert chunker.next_size() == 4096
    for _ in range(12):
        size = chunker.next_size()
        chunker.ended(size, size * 0.01)
    assert chunker.next_size() <= 2


def test_no_slots_count_as_one():
    assert Chunker(ItemTimes(), FN, 0, 0).open_max >= 1
    assert Chunker(ItemTimes(), FN, 0, 0).next_size() == 1


def test_the_start_of_a_small_chunk_is_outweighed_by_a_large_one():
    times = ItemTimes()
    times.record(FN, 1, 50e-6)
    times.record(FN, 1000, 1000e-6)
    seconds = times.seconds_per_item(FN)
    assert seconds is not None
    assert seconds < 1.1e-6


def test_a_chunk_without_items_and_a_clock_that_stands_still():
    times = ItemTimes()
    times.record(FN, 0, 1.0)
    assert times.seconds_per_item(FN) is None
    times.record(FN, 5, -1.0)
    assert times.seconds_per_item(FN) == 0.0


def test_the_function_measured_longest_ago_is_forgotten():
    times = ItemTimes(functions_max=2)
    times.record(b"a", 1, 1.0)
    times.record(b"b", 1, 2.0)
    times.record(b"a", 1, 1.0)
    times.record(b"c", 1, 3.0)
    assert times.seconds_per_item(b"b") is None
    assert times.seconds_per_item(b"a") == 1.0
    assert times.seconds_per_item(b"c") == 3.0


@given(
    item_s=st.floats(0.0, 0.1),
    total=st.integers(1, 3000),
    slots=st.integers(1, 8),
    known=st.booleans(),
)
def test_a_map_takes_every_item_and_keeps_its_slots_busy(item_s, total, slots, known):
    sizes, took_s = run(
        Chunker(ItemTimes(), FN, slots, total if known else None), item_s, total, slots
    )
    assert sum(sizes) == total
    assert all(1 <= size <= CHUNK_ITEMS for size in sizes)
    even_s = total * item_s / slots
    assert took_s <= even_s + 4 * max(CHUNK_S, item_s) + len(sizes) * (START_S + 250e-6)


class Odd:
    """Sized, but it has no length, as an array of no dimension."""

    def __len__(self) -> int:
        raise TypeError("len() of unsized object")


@pytest.mark.parametrize(
    ("iterables", "total"),
    [
        ([range(5)], 5),
        ([range(5), "abc"], 3),
        ([range(5), iter("abc")], 5),
        ([iter("abc")], None),
        ([[], range(9)], 0),
        ([Odd()], None),
        ([Odd(), range(4)], 4),
        ([], None),
    ],
)
def test_the_total_is_the_shortest_length_that_is_known(iterables, total):
    assert known_total(iterables) == total
