"""Large `bytes` are left out of a pickle, and come back where they were."""

from __future__ import annotations

import gc
import os
import weakref
from typing import Any

import pytest

from scaler.errors import SerializationError
from scaler.limits import INLINE_BYTES
from scaler.serialization.buffers import Buffers
from scaler.serialization.large_bytes import find_large_bytes
from scaler.serialization.values import (
    ChunkResult,
    dump_arguments,
    dump_items,
    dump_value,
    load_arguments,
    load_items,
    load_value,
)

LARGE = os.urandom(INLINE_BYTES)
OTHER = os.urandom(INLINE_BYTES + 1)


class Box:
    def __init__(self, *items: Any) -> None:
        self.items = items


class Blob(bytes):
    """Is no plain bytes."""


class Refuses:
    def __reduce__(self) -> str:
        raise ValueError("not me")


def arrived(args: tuple[Any, ...], **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any], int]:
    """What a task gets of these arguments, and how many buffers were left out."""
    buffers: Buffers = []
    payload = dump_arguments(args, kwargs, buffers)
    assert len(payload) < INLINE_BYTES
    opened_args, opened_kwargs = load_arguments(payload, [bytes(buffer) for buffer in buffers])
    return opened_args, opened_kwargs, len(buffers)


@pytest.mark.parametrize(
    "args",
    [
        (LARGE,),
        (1, "a", LARGE, LARGE),
        ([LARGE, LARGE, 3],),
        ((1, LARGE),),
        ({"a": 1, 2: LARGE},),
        ([1] * 1_000, LARGE),
        ([LARGE] * 50,),
        (lambda: 3, LARGE),
    ],
    ids=["alone", "among", "list", "tuple", "dict", "after", "many", "by value"],
)
def test_bytes_are_left_out_once_and_come_back_as_they_were(args):
    opened, _, count = arrived(args)
    assert count == 1
    others = [value for value in args if not callable(value)]
    assert [value for value in opened if not callable(value)] == others
    assert [type(value) for value in opened] == [type(value) for value in args]


def test_keywords_are_looked_at_as_well():
    args, kwargs, count = arrived((1,), a=2, data=LARGE, more=[OTHER])
    assert (args, kwargs, count) == ((1,), {"a": 2, "data": LARGE, "more": [OTHER]}, 2)


def test_what_is_one_object_stays_one_however_deep_it_lies():
    cycle: list[Any] = [LARGE]
    cycle.append(cycle)
    (first, listed, box, deep), kwargs, count = arrived(
        (LARGE, [LARGE, OTHER], Box(LARGE, cycle), [[[OTHER]]]), again=cycle
    )
    assert count == 2
    assert first is listed[0] is box.items[0] is box.items[1][0]
    assert listed[1] is deep[0][0][0] == OTHER
    assert box.items[1] is box.items[1][1] is kwargs["again"]


@pytest.mark.parametrize(
    "value",
    [bytearray(LARGE), Blob(LARGE), Box(LARGE), [[LARGE]], [*range(1_000), LARGE], {LARGE: 1}],
    ids=["bytearray", "subclass", "object", "deep", "late", "key"],
)
def test_what_is_no_bytes_or_not_near_stays_in_the_pickle(value):
    buffers: Buffers = []
    payload = dump_arguments((value,), {}, buffers)
    assert buffers == []
    (opened,), _ = load_arguments(payload)
    assert type(opened) is type(value)
    assert isinstance(value, Box) or opened == value
    assert isinstance(value, Box) is False or opened.items == value.items


def test_small_ones_and_those_that_nothing_may_be_left_out_of_stay():
    buffers: Buffers = []
    dump_arguments((LARGE[1:], [LARGE[1:]]), {}, buffers)
    assert buffers == []
    assert load_arguments(dump_arguments((LARGE,), {})) == ((LARGE,), {})


def test_long_lists_of_small_values_are_not_read_to_their_end():
    class Counts(int):
        pass

    def numbers():
        for number in range(1_000):
            looked.append(number)
            yield Counts(number)

    looked: list[int] = []
    assert find_large_bytes(numbers(), 1) == {}
    assert len(looked) < 20


def test_items_of_a_map_and_their_results_are_looked_at():
    items = [(LARGE, number, [OTHER]) for number in range(100)]
    buffers: Buffers = []
    payload = dump_items(items, 0, buffers)
    assert [len(buffer) for buffer in buffers] == [len(LARGE), len(OTHER)]
    assert load_items(payload, [bytes(buffer) for buffer in buffers]) == items
    buffers = []
    payload = dump_value(ChunkResult([1, LARGE]), buffers)
    assert [len(buffer) for buffer in buffers] == [len(LARGE)]
    assert load_value(payload, [bytes(buffers[0])]).values == [1, LARGE]
    buffers = []
    assert load_value(dump_value(LARGE, buffers), [LARGE]) is LARGE, "there is nothing to copy"


def test_a_view_of_shared_memory_becomes_bytes():
    buffers: Buffers = []
    payload = dump_value([LARGE], buffers)
    (opened,) = load_value(payload, [memoryview(bytearray(LARGE)).toreadonly()])
    assert type(opened) is bytes
    assert opened == LARGE


@pytest.mark.parametrize("value", [Refuses(), [Refuses(), lambda: 3]], ids=["plain", "by value"])
def test_what_does_not_pickle_beside_large_bytes_is_named(value):
    buffers: Buffers = []
    with pytest.raises(SerializationError, match=r"argument 1 .*not me"):
        dump_arguments((LARGE, value), {}, buffers)
    assert buffers == []


def test_nothing_is_held_afterwards():
    class Watched:
        def __reduce__(self) -> Any:
            return int, ()

    buffers: Buffers = []
    watched = Watched()
    gone = weakref.ref(watched)
    dump_arguments((LARGE, [watched]), {}, buffers)
    gc.disable()
    try:
        del watched
        assert gone() is None
    finally:
        gc.enable()
