"""The life of pieces is the life of objects."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter

import pytest

from scaler.objects.arena import PAGE_BYTES
from scaler.objects.file import SharedFile
from scaler.objects.memory import ObjectMemory
from scaler.objects.store import OWN, ObjectStore
from scaler.protocol.objects import RANGE_SHIFT, Piece
from tests.interruptions import interruptions

BOUND_S = 10.0
DATA = os.urandom(100_001)
LARGE = os.urandom(2 << 20)


def copied(piece: Piece) -> Piece:
    """A piece as it comes from another process."""
    return Piece(piece.home, piece.size_bytes)


class Producer:
    """A process that writes, as the store sees it."""

    def __init__(self, store: ObjectStore) -> None:
        self.freed: list[tuple[int, int]] = []
        self.number = store.enter(lambda home, size, _: self.freed.append((home, size)))
        self.file = SharedFile(os.dup(store.file.fd))
        self.memory = ObjectMemory(self.file, self.number, 0)
        self.store = store

    def write(self, data: bytes = DATA) -> Piece:
        """Write an object and have its row come."""
        piece = copied(self.memory.keep(memoryview(data)))
        self.store.lease((piece,))
        return piece

    def leave(self) -> None:
        self.file.close()
        self.store.leave(self.number)


@pytest.fixture
def producer(store):
    made = Producer(store)
    yield made
    made.file.close()


# --- leases ---------------------------------------------------------------------------------


def test_an_object_is_freed_when_the_last_piece_is_gone(store):
    first = store.keep(memoryview(DATA))
    home = first.home
    second, third = store.hold(home), copied(first)
    store.lease((third,))
    for _ in range(2):
        del first, third
        store.collect()
        assert store.objects[home].leases == 1
        first, third = store.hold(home), store.hold(home)
    del first, second, third
    assert home in store.objects, "a finalizer only notes it"
    store.collect()
    assert store.objects == {}
    assert store.count == 0


def test_a_view_keeps_its_object(store):
    view = store.views.open(store.keep(memoryview(LARGE)))
    store.collect()
    assert len(store.objects) == 1
    assert view == LARGE
    del view
    store.collect()
    assert store.objects == {}


def test_pieces_that_die_on_any_thread_are_noted(store):
    pieces = [store.keep(memoryview(DATA)) for _ in range(200)]
    halves = pieces[::2], pieces[1::2]
    pieces.clear()
    threads = [threading.Thread(target=half.clear) for half in halves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND_S)
    store.collect()
    assert store.objects == {}


def test_objects_are_freed_in_the_order_in_which_their_last_pieces_died(store, producer):
    pieces = [producer.write() for _ in range(5)]
    homes = [piece.home for piece in pieces]
    for index in (3, 0, 4, 1, 2):
        pieces[index] = None
    store.collect()
    assert [home for home, _ in producer.freed] == [homes[index] for index in (3, 0, 4, 1, 2)]


def test_it_is_told_once_for_all_that_dies_before_it_is_looked_at(store):
    told: list[int] = []
    store.on_dropped = lambda: told.append(len(store.objects))
    pieces = [store.keep(memoryview(bytes([n]) + DATA)) for n in range(4)]
    del pieces[0], pieces[0]
    assert told == [4]
    store.collect()
    assert len(store.objects) == 2
    del pieces[0]
    assert told == [4, 2]
    store.collect()
    del pieces[0]
    store.collect()
    assert told == [4, 2, 1]
    assert store.objects == {}


def test_a_pack_that_fails_midway_keeps_nothing(store):
    with pytest.raises(AttributeError):
        store.pack(b"", [memoryview(DATA), memoryview(DATA), None])  # type: ignore[list-item]
    store.collect()
    assert store.objects == {}
    assert store.count == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # in finalizers
@pytest.mark.parametrize("is_warm", [False, True], ids=["new place", "warm place"])
def test_ctrl_c_anywhere_in_a_pack_leaves_no_object(store, is_warm):
    for where in interruptions(lambda: store.pack(DATA, [memoryview(DATA)]), within=("/objects/",)):
        store.collect()
        assert store.objects == {}, where
        assert store.count == 0, where
        if not is_warm:
            store.cool()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_while_it_is_told_costs_that_telling_only(store):
    def refuse() -> None:
        raise KeyboardInterrupt

    told: list[None] = []
    store.on_dropped = refuse
    store.keep(memoryview(DATA))
    store.on_dropped = lambda: told.append(None)
    store.keep(memoryview(DATA))
    assert told == [None]
    store.collect()
    assert store.objects == {}


def test_a_fork_tells_nobody(store):
    receiver, sender = os.pipe()
    store.on_dropped = lambda: os.write(sender, b"told")
    pieces = [store.keep(memoryview(DATA))]
    pid = os.fork()
    if pid == 0:
        pieces.clear()
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(sender)
    with open(receiver, "rb") as pipe:
        assert pipe.read() == b""
    store.on_dropped = lambda: None


# --- processes that write -------------------------------------------------------------------


def test_a_process_that_wrote_is_told_what_is_freed_of_its_own(store, producer):
    piece, other = producer.write(), Producer(store)
    home = piece.home
    assert home >> RANGE_SHIFT == producer.number != OWN
    kept = other.write()
    del piece
    store.collect()
    assert producer.freed == [(home, len(DATA))]
    assert other.freed == []
    del kept
    store.collect()
    other.leave()


def test_what_a_process_wrote_for_nobody_goes_with_it(store, producer, held_bytes):
    for _ in range(3):
        producer.memory.keep(memoryview(DATA))
    assert held_bytes() > 0
    told: list[None] = []
    store.on_dropped = lambda: told.append(None)
    producer.leave()
    assert told == [None]
    store.collect()
    assert held_bytes() == 0


def test_what_somebody_holds_outlives_the_process_that_wrote_it(store, producer, held_bytes):
    pieces = [producer.write(data) for data in (DATA, LARGE, DATA)]
    lost = [producer.memory.keep(memoryview(DATA)) for _ in range(2)]
    pieces.append(producer.write(DATA[:70_000]))
    producer.leave()
    store.collect()
    read = [bytes(store.views.open(piece)) for piece in pieces]
    assert read == [DATA, LARGE, DATA, DATA[:70_000]]
    assert all(store.file.read(piece.home, 100) == bytes(100) for piece in lost)
    for size in (3, 2, 1, 0):
        del pieces[size:]
        store.collect()
        assert len(store.objects) == size
    assert producer.freed == []
    assert held_bytes() == 0, "the last page of each, too"


def test_a_view_outlives_the_process_that_wrote_it(store, producer):
    piece = producer.write(LARGE)
    view = store.views.open(piece)
    del piece
    producer.leave()
    store.collect()
    assert view == LARGE
    del view
    store.collect()
    assert store.objects == {}


def test_what_was_dropped_and_not_collected_when_a_process_leaves_is_freed(
    store, producer, held_bytes
):
    producer.write()  # nobody holds it
    producer.leave()
    store.collect()
    assert store.objects == {}
    assert held_bytes() == 0


def test_ranges_are_given_once(store):
    numbers = []
    for _ in range(5):
        number = store.enter(lambda *_: None)
        numbers.append(number)
        store.leave(number)
    assert len(set(numbers)) == 5
    assert OWN not in numbers


# --- the end --------------------------------------------------------------------------------


def test_a_store_without_objects_closes_its_file(store):
    piece = store.keep(memoryview(DATA))
    del piece
    store.close()
    store.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(store.file.fd)


def test_a_closed_store_can_be_read_as_long_as_somebody_holds_something(store, held_bytes):
    piece, freed = store.keep(memoryview(LARGE)), store.keep(memoryview(DATA))
    del freed
    store.close()
    assert held_bytes() == len(LARGE), "what was warm is given back"
    view = store.views.open(piece)
    assert view == LARGE


def test_a_closed_store_gives_back_what_is_dropped_late(store, held_bytes):
    pieces = [store.keep(memoryview(bytes([n]) + DATA)) for n in range(3)]
    store.close()
    rounded = -(-(len(DATA) + 1) // PAGE_BYTES) * PAGE_BYTES
    for left in (2, 1):
        del pieces[left:]
        assert held_bytes() == left * rounded
    pieces.clear()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(store.file.fd)


# --- all of it ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_the_objects_are_those_that_somebody_holds(file, seed, held_bytes):
    chance, store = random.Random(seed), ObjectStore(file)
    producers = [Producer(store)]
    held: list[tuple[Piece, bytes]] = []
    for _ in range(400):
        what = chance.random()
        if what < 0.35:
            data = chance.randbytes(chance.choice([66_000, 70_000, 100_001]))
            writer = chance.choice([None, *producers])
            held.append(((writer.write(data) if writer else store.keep(memoryview(data))), data))
        elif what < 0.5 and held:
            other, data = chance.choice(held)
            held.append((store.hold(other.home), data))
            del other
        elif what < 0.9 and held:
            index = chance.randrange(len(held))
            assert store.views.open(held[index][0]) == held.pop(index)[1]
        elif what < 0.95:
            producers.append(Producer(store))
        elif producers:
            producers.pop(chance.randrange(len(producers))).leave()
        if chance.random() < 0.5:
            store.collect()
            count = Counter(piece.home for piece, _ in held)
            assert {home: entry.leases for home, entry in store.objects.items()} == count
            for producer in producers:
                for home, _ in producer.freed:
                    producer.memory.free(home)
                producer.freed.clear()
    assert all(store.views.open(one) == data for one, data in held)
    for producer in producers:
        producer.leave()
    held.clear()
    store.collect()
    store.cool()
    assert store.objects == {}
    assert held_bytes() == 0
