"""Values that are put once and named by references, with real executors."""

from __future__ import annotations

import dataclasses
import gc
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from scaler import Client, ClientClosedError, ClientError, InputFailedError, SerializationError
from tests.scaler.columns import Column, identity
from tests.scaler.rest import at_rest

pytestmark = pytest.mark.usefixtures("by_value")
BOUND_S = 20.0
SMALL = 1 << 17
LARGE = 1 << 21


@dataclasses.dataclass
class Order:
    items: Any
    note: str = ""


def first_bytes(*values: Any, **named: Any) -> list[int]:
    """The first byte of each value, however deep it lies."""
    found: list[int] = []
    for value in (*values, *named.values()):
        if isinstance(value, Order):
            found += first_bytes(value.items)
        elif isinstance(value, dict):
            found += first_bytes(*value.values())
        elif isinstance(value, list | tuple):
            found += first_bytes(*value)
        else:
            found.append((value.data if isinstance(value, Column) else value)[0])
    return found


def fail(value: Any = None) -> None:
    raise ValueError("failed")


@pytest.fixture(autouse=True)
def _no_object_is_left(client: Client, until: Any) -> Iterator[None]:
    yield
    until(at_rest(client.cluster.objects))


@pytest.fixture
def other(cluster: Any) -> Iterator[Client]:
    """A second client of the same cluster."""
    with Client(cluster) as made:
        yield made


# --- put and get ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [None, 0, "text", [1, {"a": (2, None)}], b"x" * SMALL, bytearray(b"y" * LARGE), "ö" * SMALL],
    ids=["none", "zero", "text", "nested", "bytes", "bytearray", "long text"],
)
def test_what_was_put_is_what_is_got(client, value):
    reference = client.put(value)
    for got in (client.get(reference), client.submit(identity, reference).result(BOUND_S)):
        assert got == value
        assert type(got) is type(value)


def test_a_buffer_is_mapped_read_only_and_a_copy_can_be_written(client):
    reference = client.send_object(Column(bytearray(b"a" * LARGE)))
    value = client.get(reference)
    assert value.data.readonly
    assert len(client.cluster.objects.views) == 1
    copy = client.get(reference, copy=True)
    copy.data[0] = 99
    assert client.get(reference).data == value.data == b"a" * LARGE


def test_arrays_are_mapped_by_all_and_by_the_same_name(client):
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(LARGE // 8)
    reference = client.put(array, name="range")
    assert client.map(numpy.sum, [reference] * 4) == [array.sum()] * 4
    got = client.get(reference)
    assert (got == array).all()
    assert not got.flags.writeable
    assert client.get(reference, copy=True).flags.writeable
    assert len(client.objects()) == 1


def test_later_changes_of_what_was_put_are_not_seen(client):
    data = bytearray(b"a" * LARGE)
    reference = client.put([data, Column(data)])
    data[0] = 0
    assert first_bytes(client.get(reference)) == [97, 97]


def test_many_are_got_at_once_references_and_futures_alike(client):
    handles = [client.put(1), client.submit(pow, 2, 3), client.put([2])]
    assert client.get(handles) == [1, 8, [2]]
    assert client.get(tuple(handles)) == [1, 8, [2]]
    assert client.get(handles[1]) == 8
    assert client.get([]) == []


def test_a_copy_of_the_value_of_a_future_is_the_callers_own(client):
    future = client.submit(list, (1, 2))
    copy = client.get(future, copy=True)
    copy.append(3)
    assert client.get(future) == [1, 2]
    assert client.get(future) is future.result()


def test_get_raises_what_the_task_raised(client):
    handles = [client.put(1), client.submit(fail)]
    with pytest.raises(ValueError, match="failed"):
        client.get(handles)
    handles.clear()


@pytest.mark.parametrize("wrong", [3, "name", None, object()], ids=str)
def test_what_is_no_handle_is_refused(client, wrong):
    with pytest.raises(TypeError):
        client.get(wrong)
    with pytest.raises(TypeError, match="takes references and futures"):
        client.get([wrong])
    with pytest.raises(TypeError, match=r"takes a reference, got .*; see future.release"):
        client.delete(wrong)


def test_a_future_is_not_deleted_but_released(client):
    future = client.submit(pow, 2, 3)
    with pytest.raises(TypeError, match=r"see future.release\(\)"):
        client.delete(future)
    assert future.result(BOUND_S) == 8


# --- names ------------------------------------------------------------------------------------


def test_a_reference_says_what_it_names(client):
    reference = client.put([1] * 3, name="größe")
    assert reference.name == "größe"
    assert repr(reference) == f"<ObjectReference 'größe', {reference.size_bytes} bytes>"
    assert client.put({}).name == "dict"
    assert client.put(b"x" * SMALL).size_bytes > SMALL


@pytest.mark.parametrize(
    ("name", "error"), [(3, TypeError), ("x" * 300, ValueError), ("\ud800", ValueError)]
)
def test_a_name_that_cannot_be_is_refused_and_nothing_is_stored(client, name, error):
    with pytest.raises(error, match="name must"):
        client.put(bytes(SMALL), name)
    assert client.objects() == ()


def test_two_references_may_have_one_name(client):
    first, second = client.put(1, name="same"), client.put(2, name="same")
    assert client.get([first, second]) == [1, 2]
    assert first != second


# --- as arguments -----------------------------------------------------------------------------


def test_a_reference_is_its_value_wherever_it_stands(client):
    made = [client.put(Column(bytes([number]) * LARGE)) for number in range(1, 5)]
    one, two, three, four = made
    nested = [one, (two, {"key": three}), Order([four])]
    assert client.submit(first_bytes, nested, named=one).result(BOUND_S) == [1, 2, 3, 4, 1]
    assert nested[0] is one, "what the caller holds is as it was"
    assert client.submit(first_bytes, one, one).result(BOUND_S) == [1, 1]


def test_maps_take_references(client):
    made = [client.put(bytes([number]) * SMALL) for number in range(20)]
    assert client.map(first_bytes, made) == [[number] for number in range(20)]
    assert list(client.imap(first_bytes, made)) == [[number] for number in range(20)]
    assert client.starmap(first_bytes, [(one, two) for one in made[:2] for two in made[:2]]) == [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
    ]
    single = client.options(retries=1, timeout=BOUND_S)
    assert single.map(first_bytes, made, [made[3]] * 20) == [[n, 3] for n in range(20)]


def test_references_and_futures_stand_side_by_side(client):
    reference = client.put(bytes([7]) * SMALL)
    future = client.submit(bytes, [9])
    assert client.submit(first_bytes, future, reference, [future]).result(BOUND_S) == [9, 7, 9]
    failing = client.submit(first_bytes, reference, client.submit(fail))
    with pytest.raises(InputFailedError, match="failed"):
        failing.result(BOUND_S)


def test_a_task_has_its_value_though_the_reference_was_dropped_or_deleted(client, sign, until):
    def waits(value: Column, path: str) -> int:
        until_s = 20.0
        import os
        import time

        end_s = time.monotonic() + until_s
        while not os.path.exists(path) and time.monotonic() < end_s:
            time.sleep(0.002)
        return value.data[0]

    futures = []
    for number, end in enumerate((client.delete, lambda _: None, lambda _: client.clear())):
        reference = client.put(Column(bytes([number]) * LARGE))
        futures.append(client.submit(waits, reference, sign.path))
        end(reference)
        del reference
    assert len(client.objects()) == 3
    with open(sign.path, "w") as file:
        file.write("go")
    assert [future.result(BOUND_S) for future in futures] == [0, 1, 2]
    until(lambda: not client.objects())


def test_a_retry_has_the_value_of_a_deleted_reference(client):
    def raises(value: Column) -> None:
        raise ValueError(value.data[0])

    reference = client.put(Column(bytes([5]) * LARGE))
    future = client.options(retries=2).submit(raises, reference)
    client.delete(reference)
    with pytest.raises(ValueError, match="5"):
        future.result(BOUND_S)
    assert future.profiling_info().attempt == 3


# --- other clients ----------------------------------------------------------------------------


def test_all_clients_of_a_cluster_may_use_a_reference(client, other):
    reference = client.put(Column(bytes([3]) * LARGE), name="shared")
    assert first_bytes(other.get(reference)) == [3]
    assert other.submit(first_bytes, [reference]).result(BOUND_S) == [3]
    other.clear()
    assert first_bytes(client.get(reference)) == [3], "it is not the other client's to clear"
    other.delete(reference)
    with pytest.raises(ClientError, match="it was deleted"):
        client.get(reference)


def test_a_reference_of_another_cluster_is_refused(client):
    reference = client.put(bytes([4]) * LARGE)
    with Client(workers=1) as stranger:
        with pytest.raises(ClientError, match=r"is of another cluster; pass client\.get"):
            stranger.submit(first_bytes, reference)
        with pytest.raises(ClientError, match="is of another cluster"):
            stranger.map(first_bytes, [[reference]])
        value = client.get(reference)
        assert stranger.submit(first_bytes, value).result(BOUND_S) == [4]


def test_other_clients_are_told_that_the_client_of_a_reference_was_closed(cluster, client, until):
    with Client(cluster) as made:
        reference = made.put(bytes([4]) * LARGE, name="gone")
    text = "<ObjectReference 'gone', deleted> names nothing any more: its client was closed"
    for use in (client.get, lambda one: client.submit(identity, one)):
        with pytest.raises(ClientError, match=text):
            use(reference)
    until(lambda: not client.objects())


# --- deleted, closed, impossible --------------------------------------------------------------


def test_what_was_deleted_names_nothing(client, until):
    reference, kept = client.put(bytes(LARGE), name="x"), client.put(2)
    for _ in range(2):
        client.delete(reference)
        assert repr(reference) == "<ObjectReference 'x', deleted>"
        for use in (client.get, lambda one: client.submit(identity, [one])):
            with pytest.raises(ClientError, match="names nothing any more: it was deleted"):
                use(reference)
    until(lambda: not client.objects())
    client.clear()
    with pytest.raises(ClientError, match=r"client.clear\(\) was called"):
        client.get(kept)
    with pytest.raises(ClientError, match="it was deleted"):
        client.get(reference)


def test_what_is_refused_leaves_the_client_as_it_was(client):
    reference, deleted = client.put(Column(bytes([1]) * LARGE)), client.put(1)
    client.delete(deleted)
    with pytest.raises(ClientError):
        client.submit(first_bytes, reference, Column(bytes(LARGE)), deleted)
    gc.collect()
    assert client.submit(first_bytes, reference).result(BOUND_S) == [1]


def test_a_closed_client_puts_nothing_and_its_references_are_gone(cluster):
    with Client(cluster) as made:
        reference = made.put(bytes(LARGE))
    with pytest.raises(ClientClosedError):
        made.put(bytes(LARGE))
    with pytest.raises(ClientError, match="its client was closed"):
        made.get(reference)
    made.delete(reference)
    made.clear()


def test_a_client_that_is_closed_while_it_puts_a_large_value_says_so(until):
    class Late:
        def __reduce__(self) -> Any:
            until(lambda: made.cluster.objects.file.fd < 0)
            return bytes, ()

    def put() -> None:
        try:
            made.put([Late(), bytes(LARGE)])
        except BaseException as error:
            raised.append(error)

    raised: list[BaseException] = []
    with Client(workers=1) as made:
        thread = threading.Thread(target=put)
        thread.start()
    thread.join(BOUND_S)
    assert [type(error) for error in raised] == [ClientClosedError]


def test_what_cannot_be_pickled_is_not_put(client):
    with pytest.raises(SerializationError, match="lock"):
        client.put([Column(bytes(LARGE)), threading.Lock()])
    future, reference = client.submit(pow, 2, 3), client.put(1)
    for wrong, instead in ((future, r"result\(\)"), (reference, r"client.get\(\)")):
        for value in (wrong, [wrong]):
            with pytest.raises(ClientError, match=f"cannot be pickled here: .*Pass .*{instead}"):
                client.put(value)
    gc.collect()
    assert client.objects() == ()


def test_a_reference_is_no_part_of_a_function_or_of_a_pickle(client):
    reference = client.put(1, name="x")
    with pytest.raises(ClientError, match=r"<ObjectReference 'x', .*Pass client.get\(\) of it"):
        client.submit(lambda: reference)
    with pytest.raises(ClientError, match="cannot be pickled here"):
        pickle.dumps(reference)


def test_no_reference_is_made_within_a_result(client):
    def give() -> Any:
        from scaler.client.object_reference import ObjectReference

        return ObjectReference.__name__

    assert client.submit(give).result(BOUND_S) == "ObjectReference"


# --- what there is ----------------------------------------------------------------------------


def test_the_table_says_what_there_is_and_who_holds_it(client, until):
    named = client.put(bytes(LARGE), name="zeros <b>")
    future = client.submit(bytes, SMALL)
    until(future.done)
    mapped = client.submit(identity, client.put(Column(bytes(2 * LARGE)))).result(BOUND_S)
    until(lambda: [sum(i.holders.values()) for i in client.objects()] == [2, 1, 1])
    first, second, third = table = client.objects()
    assert (first.size_bytes, first.pinned, first.spilled) == (2 * LARGE, True, False)
    assert (second.name, second.holders, second.pinned) == ("zeros <b>", {"reference": 1}, False)
    assert (third.name, third.holders) == ("", {"result": 1})
    lines = repr(table).splitlines()
    assert lines[0].split() == ["id", "name", "bytes", "held", "by", "state"]
    assert lines[1].split() == [hex(first.id), "4,194,304", "1", "result,", "1", "view", "pinned"]
    assert lines[-1] == f"3 objects, {sum(info.size_bytes for info in table):,} bytes"
    html = table._repr_html_()
    assert "zeros &lt;b&gt;" in html
    assert f"{second.size_bytes:,}" in html
    del mapped, named, future


def test_the_table_of_nothing_is_a_table(client):
    assert client.objects() == ()
    assert repr(client.objects()).splitlines()[-1] == "0 objects, 0 bytes"
    assert "Objects" in client.objects()._repr_html_()


def test_a_released_future_gives_its_memory_back_and_keeps_its_state(client, until):
    future = client.submit(bytes, LARGE)
    assert not future.release(), "it has no value yet"
    until(future.done)
    assert len(client.objects()) == 1
    assert future.release()
    until(lambda: not client.objects())
    assert future.done()
    assert future.release()


def test_dropping_the_last_name_of_a_reference_on_any_thread_frees_the_value(client, until):
    held = [client.put(bytes([n]) * SMALL) for n in range(50)]
    threads = [threading.Thread(target=held.pop) for _ in range(25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND_S)
    until(lambda: len(client.objects()) == 25)
    held.clear()
    until(lambda: not client.objects())


def test_views_with_options_have_the_same_references(client):
    view = client.options(name="other", retries=1)
    reference = view.put(bytes([8]) * SMALL)
    assert client.submit(first_bytes, reference).result(BOUND_S) == [8]
    assert view.submit(first_bytes, reference).result(BOUND_S) == [8]
    client.clear()
    with pytest.raises(ClientError, match="clear"):
        view.get(reference)


def test_references_are_made_and_listed_on_many_threads(client):
    errors: list[BaseException] = []
    is_over = threading.Event()

    def put() -> None:
        try:
            while not is_over.is_set():
                client.put(1)
        except BaseException as error:
            errors.append(error)

    held = [client.put(number) for number in range(2_000)]
    thread = threading.Thread(target=put)
    thread.start()
    try:
        for _ in range(200):
            client.objects()
    finally:
        is_over.set()
        thread.join(BOUND_S)
    assert errors == []
    assert client.get(held[3]) == 3
