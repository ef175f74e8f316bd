"""What cannot change is stored once, and by request what is equal."""

from __future__ import annotations

import os
import threading
from hashlib import blake2b
from typing import Any

import numpy as np
import pytest

from scaler.objects.fixed_arrays import is_fixed
from scaler.objects.ledger import Holder
from scaler.objects.store import ObjectStore
from scaler.protocol.objects import Body
from scaler.serialization.buffers import Buffers
from scaler.serialization.values import dump_value, load_value
from tests.interruptions import interruptions
from tests.scaler.columns import Column

BOUND_S = 20.0
SIZE = 100_000


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


def test_one_that_can_be_written_is_stored_once_as_long_as_nobody_writes_to_it(store):
    array = np.arange(100_000)
    bodies = [store.pack(*dumped(array)) for _ in range(3)]
    array[-1] = 5
    bodies += [store.pack(*dumped(array)) for _ in range(2)]
    array[0] = 5
    bodies.append(store.pack(*dumped(array)))
    assert [body.objects[0].home for body in bodies[:3]] == [bodies[0].objects[0].home] * 3
    assert len(store.objects) == 3
    values = [load_value(*store.unpack(body.payload, body.objects)) for body in bodies]
    assert [(value[0], value[-1]) for value in values] == [(0, 99_999)] * 3 + [(0, 5)] * 2 + [
        (5, 5)
    ]


def test_one_that_can_be_written_is_not_kept_for_its_sake(store):
    array = np.arange(100_000)
    store.pack(*dumped(array))
    store.collect()
    assert store.objects == {}
    assert store._repeated._found == store._repeated._keys == {}


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


# --- bytes ----------------------------------------------------------------------------------


def packed(store: ObjectStore, value: Any, *, by_content: bool = False) -> Body:
    buffers: Buffers = []
    return store.pack(dump_value(value, buffers), buffers, by_content=by_content)


def homes(*bodies: Body) -> list[int]:
    return [piece.home for body in bodies for piece in body.objects]


def opened(store: ObjectStore, body: Body) -> Any:
    return load_value(*store.unpack(body.payload, body.objects))


def test_the_same_bytes_are_stored_once_wherever_they_stand(store):
    data = os.urandom(SIZE)
    bodies = [packed(store, value) for value in (data, [1, data])]
    bodies.append(packed(store, [data, Column(data)]))
    assert len(set(homes(*bodies))) == len(store.objects) == 1
    assert opened(store, bodies[1]) == [1, data]


def test_bytes_are_known_for_as_long_as_any_piece_of_theirs_lives(store):
    data = os.urandom(SIZE)
    first = packed(store, data)
    shared = store.share(first, Holder.REFERENCE)
    (home,) = homes(first)
    del first
    store.collect()
    assert homes(packed(store, data)) == [home]
    del shared
    store.collect()
    assert store.objects == {}
    assert store._repeated._found == store._repeated._keys == {}


def test_equal_bytes_that_are_others_are_other_objects(store):
    data = os.urandom(SIZE)
    bodies = [packed(store, data), packed(store, bytes(bytearray(data)))]
    assert len(set(homes(*bodies))) == 2


def test_other_bytes_at_the_same_address_are_other_objects(store):
    bodies = []
    for number in range(50):
        data = bytes([number]) * SIZE
        bodies.append(packed(store, data))
        del data
    assert [opened(store, body)[0] for body in bodies] == list(range(50))


def test_a_place_that_is_used_again_is_not_taken_for_what_was_there(store):
    data = os.urandom(SIZE)
    first = packed(store, data)
    (home,) = homes(first)
    del first
    store.collect()
    other = packed(store, os.urandom(SIZE))
    assert homes(other) == [home]
    again = packed(store, data)
    assert homes(again) != [home]
    assert opened(store, again) == data


def test_after_the_end_nothing_is_held(file):
    store = ObjectStore(file)
    body = packed(store, os.urandom(SIZE))
    store.close()
    assert store._repeated._found == {}
    assert len(opened(store, body)) == SIZE
    del body


@pytest.mark.parametrize("by_content", [False, True])
def test_an_interrupt_at_any_place_leads_to_no_wrong_object(store, by_content):
    old = [os.urandom(SIZE) for _ in range(3)]

    def work() -> None:
        bodies = [packed(store, data, by_content=by_content) for data in old]
        assert [opened(store, body) for body in bodies] == old

    for _ in interruptions(work, within=("/objects/repeated",)):
        store.collect()
        for data in (*old, os.urandom(SIZE)):
            body = packed(store, data, by_content=by_content)
            assert opened(store, body) == data
            del body
    store.collect()
    assert store.objects == {}


def test_many_threads_that_store_the_same_get_the_same(store):
    data, other = os.urandom(SIZE), os.urandom(SIZE)
    equal = [bytes(bytearray(other)) for _ in range(8)]
    stored: list[tuple[Body, Body]] = []
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        barrier.wait(BOUND_S)
        pair = packed(store, data), packed(store, equal[number], by_content=True)
        stored.append(pair)

    for _ in range(10):
        stored.clear()
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(BOUND_S)
        store.collect()
        assert len(stored) == 8
        assert all(opened(store, body) == data for body, _ in stored)
        assert all(opened(store, body) == other for _, body in stored)
        last = packed(store, data), packed(store, other, by_content=True)
        assert set(homes(*last)) <= {home for pair in stored for home in homes(*pair)}


# --- content --------------------------------------------------------------------------------


def test_equal_content_is_stored_once_if_wanted(store):
    array = np.arange(SIZE)
    values = [array, array.copy(), array.tobytes(), ["x" * SIZE], ["x" * SIZE]]
    bodies = [packed(store, value, by_content=True) for value in values]
    assert len(store.objects) == 2
    for body, value in zip(bodies, values, strict=True):
        assert np.array_equal(opened(store, body), value)
    assert homes(packed(store, array.copy())) != homes(bodies[0]), "not without the wish"
    changed = array.copy()
    changed[-1] = 0
    other = packed(store, changed, by_content=True)
    assert homes(other) != homes(bodies[0])
    assert opened(store, other)[-1] == 0
    del bodies, body, other
    store.collect()
    assert store.objects == {}
    assert store._repeated._found == store._repeated._keys == {}


def test_the_same_array_and_what_is_equal_to_it_may_change_in_between(store):
    array = np.zeros(SIZE)
    bodies = []
    for number in range(3):
        array[:] = number
        bodies += [packed(store, array, by_content=True) for _ in range(2)]
    assert [opened(store, body)[-1] for body in bodies] == [0, 0, 1, 1, 2, 2]
    assert len(store.objects) == 3


def test_what_another_thread_writes_while_it_is_stored_is_never_taken_for_it(store, monkeypatch):
    array = np.zeros(SIZE)
    write = store.file.write

    def changed(buffer: memoryview, offset: int) -> Any:
        array[:] = 7
        return write(buffer, offset)

    monkeypatch.setattr(store.file, "write", changed)
    first = packed(store, array, by_content=True)
    monkeypatch.undo()
    zeros = packed(store, np.zeros(SIZE), by_content=True)
    assert opened(store, first)[0] == 7
    assert opened(store, zeros)[0] == 0


def test_an_identity_is_found_before_a_digest_is_made(store, monkeypatch):
    def counted(buffer: memoryview) -> bytes:
        made.append(buffer.nbytes)
        return blake2b(buffer).digest()

    made: list[int] = []
    monkeypatch.setattr("scaler.objects.repeated._digest_of", counted)
    array, data, fixed = np.ones(SIZE), os.urandom(SIZE), read_only()
    bodies = [packed(store, value, by_content=True) for value in [data, fixed] * 3]
    assert len(made) == 2
    bodies += [packed(store, array, by_content=True) for _ in range(3)]
    assert len(made) == 3
    bodies += [packed(store, [data, fixed, array])]
    assert len(made) == 3


def test_arrow_values_that_cannot_change_are_stored_once(store):
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    sink = arrow.BufferOutputStream()
    table = arrow.table({"a": np.arange(SIZE), "b": [str(n) for n in range(SIZE)]})
    with arrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    received = arrow.ipc.open_stream(sink.getvalue().to_pybytes()).read_all()
    bodies = [packed(store, value) for value in (received, received, {"t": received["a"]})]
    assert len(bodies[0].objects) == 3
    assert set(homes(*bodies)) == set(homes(bodies[0]))
    assert opened(store, bodies[1]) == received == table
    bodies += [packed(store, table["a"]) for _ in range(2)]
    assert len(set(homes(*bodies))) == 4
    del bodies
    store.collect()
    assert store.objects == {}
