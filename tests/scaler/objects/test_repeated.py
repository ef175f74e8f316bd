"""Arrays that cannot change are stored once."""

from __future__ import annotations

import numpy as np
import pytest

from scaler.objects.repeated import is_fixed
from scaler.serialization.buffers import Buffers
from scaler.serialization.values import dump_value


def read_only(size: int = 100_000) -> np.ndarray:
    array = np.arange(size)
    array.flags.writeable = False
    return array


def home_of(store, array: np.ndarray) -> int:
    buffers: Buffers = []
    body = store.pack(dump_value(array, buffers), buffers)
    (piece,) = body.objects
    return piece.home


def test_an_array_that_cannot_be_written_is_stored_once_as_long_as_it_lives(store):
    array = read_only()
    home = home_of(store, array)
    store.collect()
    assert [home_of(store, array) for _ in range(3)] == [home] * 3
    store.collect()
    assert list(store.objects) == [home]
    del array
    store.collect()
    assert store.objects == {}


def test_one_that_can_be_written_is_stored_as_it_is_each_time(store):
    array = np.arange(100_000)
    first = store.pack(*dumped(array))
    array[0] = 5
    second = store.pack(*dumped(array))
    assert first.objects[0].home != second.objects[0].home
    assert len(store.objects) == 2


def dumped(array: np.ndarray) -> tuple[bytes, Buffers]:
    buffers: Buffers = []
    return dump_value(array, buffers), buffers


def test_another_array_at_the_same_place_is_another_object(store):
    for number in range(20):
        array = np.full(100_000, number)
        array.flags.writeable = False
        buffers: Buffers = []
        body = store.pack(dump_value(array, buffers), buffers)
        view = store.unpack(body.payload, body.objects)[1][0]
        assert np.frombuffer(view, dtype=array.dtype)[0] == number
        del array, view


@pytest.mark.parametrize(
    ("array", "fixed"),
    [
        (read_only(), True),
        (read_only()[5:], True),
        (np.frombuffer(bytes(80), dtype=float), True),
        (np.frombuffer(memoryview(bytes(80)), dtype=float), True),
        (np.frombuffer(bytearray(80), dtype=float), False),
        (np.arange(10), False),
        (b"no array", False),
    ],
)
def test_what_cannot_change(array: object, fixed: bool):
    assert is_fixed(array) is fixed


def test_a_view_of_what_can_be_written_can_change():
    view = np.arange(10)[:]
    view.flags.writeable = False
    assert not is_fixed(view)
