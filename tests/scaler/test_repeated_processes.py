"""The same value, submitted again and again, and tasks that write to their arguments."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from scaler import Client
from tests.scaler.columns import Column, identity
from tests.scaler.rest import at_rest

pytestmark = pytest.mark.usefixtures("by_value")
BOUND_S = 20.0
SMALL = 1 << 17
LARGE = 1 << 21


def first(*values: Any, **named: Any) -> list[Any]:
    return [bytes(value[:3]) for value in (*values, *named.values())]


def fills(array: Any, value: int) -> Any:
    array[:] = value
    return array


@pytest.fixture(autouse=True)
def _no_object_is_left(client: Client, until: Any) -> Iterator[None]:
    yield
    until(at_rest(client.cluster.objects))
    assert client.cluster.objects._repeated._found == {}


@pytest.fixture
def homes(client: Client) -> Callable[[], list[int]]:
    """`homes()`: the objects that there are now."""
    return lambda: list(client.cluster.objects.objects)


@pytest.fixture
def sparing(cluster: Any) -> Iterator[Client]:
    """A client that stores equal content once."""
    with Client(cluster, deduplicate=True) as made:
        yield made


# --- the same bytes -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_bytes_of_many_tasks_are_stored_once(client, homes, sign, size):
    data = os.urandom(size)
    blocker = client.submit(hangs_until_removed, sign.path)
    sign.wait()
    futures = [client.submit(first, data, [data][0]) for _ in range(20)]
    futures += [client.submit(first, data, more=data) for _ in range(20)]
    mapped = [client.submit(len_of, [data, n]) for n in range(5)]
    reference = client.put({"a": data})
    assert len(homes()) == 1
    os.unlink(sign.path)
    assert all(future.result(BOUND_S) == [data[:3]] * 2 for future in futures)
    assert [future.result(BOUND_S) for future in mapped] == [size] * 5
    assert client.get(reference) == {"a": data}
    assert blocker.result(BOUND_S) is None


def hangs_until_removed(path: str) -> None:
    with open(path, "w") as sign:
        sign.write("1")
    while os.path.exists(path):
        time.sleep(0.001)


def len_of(values: list[Any]) -> int:
    return len(values[0])


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_bytes_are_bytes_again_and_are_nobody_elses(client, size):
    data = os.urandom(size)
    values = [data, [data, 1], {"a": data}, (data, bytearray(data)), Column(data)]
    for value in values[:-1]:
        back = client.submit(identity, value).result(BOUND_S)
        assert back == value
        assert type(back) is type(value)
    assert client.map(identity, values[:3]) == values[:3]
    assert client.submit(identity, values[-1]).result(BOUND_S).data == data
    assert client.submit(lambda value: type(value) is bytes, data).result(BOUND_S)
    grown = client.submit(lambda value: value.extend(b"1") or value, bytearray(data))
    assert grown.result(BOUND_S) == data + b"1"


def test_bytes_that_are_dropped_are_not_kept(client, homes, until):
    data = os.urandom(LARGE)
    before = sys.getrefcount(data)
    for _ in range(3):
        assert client.submit(len, data).result(BOUND_S) == LARGE
    until(lambda: not homes())
    assert sys.getrefcount(data) == before


def test_a_map_over_the_same_bytes_stores_them_once(client, homes, sign, until):
    def work(data: bytes, number: int, path: str) -> tuple[int, int]:
        hangs_until_removed(path) if number == 0 else None
        return len(data), number

    data, got = os.urandom(LARGE), []
    items = [(data, number, sign.path) for number in range(50)]
    thread = threading.Thread(target=lambda: got.extend(client.starmap(work, items)))
    thread.start()
    sign.wait()
    until(lambda: client._session.credit.in_flight()[0] >= 2)
    assert len(homes()) == 1
    os.unlink(sign.path)
    thread.join(BOUND_S)
    assert got == [(LARGE, number) for number in range(50)]


# --- equal content --------------------------------------------------------------------------


def test_equal_values_of_two_clients_are_stored_once(client, sparing, cluster, homes):
    with Client(cluster, deduplicate=True) as other:
        array = np.arange(SMALL)
        references = [
            sparing.put(array),
            other.put(array.copy(), name="copy"),
            sparing.options(name="view").put(list_of(array)),
        ]
        assert len(homes()) == 1
        references += [sparing.put(["x" * LARGE]), other.put(["x" * LARGE])]
        assert len(homes()) == 2
        own = array.copy()
        plain = client.put(own)
        assert len(homes()) == 3, "who has not asked for it stores what it has"
        future = other.submit(identity, array.copy())
        assert (future.result(BOUND_S) == array).all()
        assert len(homes()) == 3
        assert all((got == array).all() for got in map(np.asarray, client.get(references[:3])))
        assert sparing.map(np.sum, [array.copy() for _ in range(6)]) == [array.sum()] * 6
        del plain


def list_of(array: np.ndarray) -> list[np.ndarray]:
    return [array.copy()]


def test_a_client_says_that_it_stores_equal_content_once(client, sparing):
    assert "deduplicate=True" in repr(sparing)
    assert "deduplicate" not in repr(client)
    assert "deduplicate=True" in repr(sparing.options(name="view"))


# --- arguments that are written -------------------------------------------------------------


@pytest.mark.parametrize("size", [10, SMALL, LARGE])
def test_a_task_may_write_to_copies(client, size):
    array = np.zeros(size, dtype=np.uint8)
    writing = client.options(copy=True)
    assert "copy=True" in repr(writing)
    assert (writing.submit(fills, array, 7).result(BOUND_S) == 7).all()
    array.flags.writeable = False
    assert (writing.submit(fills, array, 8).result(BOUND_S) == 8).all()
    assert not array.any()
    values = writing.map(fills, [array] * 9, range(9))
    assert [int(value[-1]) for value in values] == list(range(9))


def test_what_comes_from_other_tasks_and_references_may_be_written_in_copies(client):
    writing = client.options(copy=True)
    zeros = client.submit(np.zeros, LARGE)
    value = zeros.result(BOUND_S)
    assert not value.flags.writeable
    stored = client.put([value])
    nested = writing.submit(lambda arrays: fills(arrays[0], 3), stored)
    futures = [writing.submit(fills, zeros, 1), writing.submit(fills, value, 2), nested]
    assert [future.result(BOUND_S)[-1] for future in futures] == [1, 2, 3]
    assert not value.any()
    assert client.get(stored, copy=True)[0].flags.writeable
    column = writing.submit(lambda column: column.data.readonly, Column(bytearray(LARGE)))
    assert column.result(BOUND_S) is False


def test_each_attempt_has_a_copy_of_its_own(client, tmp_path):
    def fails_once(array: Any, path: str) -> int:
        array += 1
        if not os.path.exists(path):
            open(path, "w").close()
            raise ValueError
        return int(array[0])

    retrying = client.options(copy=True, retries=1)
    future = retrying.submit(fails_once, np.zeros(LARGE), str(tmp_path / "sign"))
    assert future.result(BOUND_S) == 1


def test_who_writes_to_a_mapped_argument_is_told_what_to_do(client):
    arrays = [np.zeros(LARGE)]
    futures = [client.submit(fills, arrays[0], 1), client.submit(fills, client.put(arrays[0]), 1)]
    for future in futures:
        error = future.exception(BOUND_S)
        assert isinstance(error, ValueError)
        assert any("client.options(copy=True)" in note for note in error.__notes__)
    with pytest.raises(ValueError, match="read-only") as caught:
        client.map(fills, arrays, [1])
    assert any("client.options(copy=True)" in note for note in caught.value.__notes__)


def test_other_errors_are_not_told_of_copies(client):
    def fails(value: Any, text: str) -> None:
        raise ValueError(text)

    futures = [
        client.submit(fails, np.zeros(LARGE), "nothing"),
        client.submit(fails, 1, "read-only"),
        client.options(copy=True).submit(fails, np.zeros(LARGE), "read-only"),
    ]
    for future in futures:
        notes = "".join(future.exception(BOUND_S).__notes__)
        assert "copy=True" not in notes
        assert "on worker" in notes


# --- arrow ----------------------------------------------------------------------------------


def test_arrow_tables_are_mapped_and_one_that_cannot_change_is_stored_once(client, homes):
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    table = arrow.table({"a": np.arange(SMALL), "b": [str(n) for n in range(SMALL)]})
    sink = arrow.BufferOutputStream()
    with arrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    received = arrow.ipc.open_stream(sink.getvalue().to_pybytes()).read_all()
    references = [client.put(received) for _ in range(3)]
    assert len(homes()) == len(pickle_buffers(received))
    assert all(got == table for got in client.get(references))
    assert client.submit(identity, received).result(BOUND_S) == table
    assert client.options(copy=True).submit(identity, references[0]).result(BOUND_S) == table


def pickle_buffers(value: Any) -> list[pickle.PickleBuffer]:
    found: list[pickle.PickleBuffer] = []
    pickle.dumps(value, 5, buffer_callback=lambda buffer: found.append(buffer) is not None)
    return [buffer for buffer in found if buffer.raw().nbytes >= 1 << 16]
