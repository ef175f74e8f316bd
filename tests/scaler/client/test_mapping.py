"""Map and imap over chunks that a test runs by hand."""

from __future__ import annotations

import gc
import itertools
import os
import pickle
import random
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest

from scaler.client import mapping
from scaler.client.chunking import OPEN_PER_SLOT, Chunker, ItemTimes
from scaler.client.future import CancelOutcome, ScalerFuture
from scaler.client.mapping import run_imap, run_map, star_items, zip_items
from scaler.errors import ClusterBrokenError
from scaler.protocol.tasks import RowStatus, TaskRow
from scaler.serialization.exceptions import dump_exception
from scaler.serialization.values import ChunkResult, dump_value

BOUND_S = 10.0
SLOTS = 2


class Chunks:
    """Takes chunks as a client does, and runs each when `run` is called or at once."""

    def __init__(self, session: Any, fn: Callable[..., Any]) -> None:
        self.session = session
        self.fn = fn
        self.at_once = True
        self.item_s = 1e-6
        self.submitted: list[tuple[ScalerFuture, list[Any]]] = []
        self.cancelled: list[tuple[list[int], float]] = []

    def submit(self, items: list[Any], first: int) -> ScalerFuture:
        assert first == sum(self.sizes())
        future = self.session.future(len(self.submitted))
        self.submitted.append((future, pickle.loads(pickle.dumps(items))))
        if self.at_once:
            self.run(future.task_id)
        return future

    def cancel(self, futures: list[ScalerFuture], timeout_s: float) -> None:
        self.cancelled.append(([future.task_id for future in futures], timeout_s))
        for future in futures:
            future.set_cancel_confirmed()

    def run(self, number: int) -> None:
        future, items = self.submitted[number]
        values: list[Any] = []
        result = ChunkResult(values)
        for index, item in enumerate(items):
            try:
                values.append(self.fn(*item))
            except Exception as error:
                result = ChunkResult(values, index, dump_exception(error, note="there"))
                break
        run_s = len(items) * self.item_s
        payload = dump_value(result)
        future.set_result_ready(
            TaskRow(1, number, RowStatus.SUCCEEDED, payload, 1.0, 1.0 + run_s, run_s, 1, "w", 1, 1)
        )

    def sizes(self) -> list[int]:
        return [len(items) for _, items in self.submitted]


@pytest.fixture
def chunks(session):
    return lambda fn: Chunks(session, fn)


def chunker(total: int | None = None) -> Chunker:
    return Chunker(ItemTimes(), b"f", SLOTS, total)


def singles(made: Chunks) -> Chunker:
    """Say that items take a second, so that every item is a chunk."""
    made.item_s = 1.0
    return chunker()


def do_map(made: Chunks, items: Iterator[Any], chosen: Chunker | None = None) -> list[Any]:
    return run_map(made.submit, made.cancel, items, chosen or chunker())


def do_imap(made: Chunks, items: Iterator[Any], chosen: Chunker | None = None) -> Any:
    return run_imap(made.submit, made.cancel, items, chosen or chunker())


def even_only(value: int) -> int:
    if value % 2:
        raise ValueError(f"{value} is odd")
    return value


class Singles(Chunks):
    """Takes each item as a task of its own."""

    def run(self, number: int) -> None:
        future, [item] = self.submitted[number]
        try:
            row = self.session.row(self.fn(*item))
        except Exception as error:
            row = self.session.row(error=error)
        future.set_result_ready(row)


# Values.


@pytest.mark.parametrize("do", [do_map, do_imap])
@pytest.mark.parametrize("total", [0, 1, 2, 7, 100, 5000])
def test_values_come_in_order(chunks, do, total):
    made = chunks(lambda a, b: a * 10 + b)
    values = list(do(made, zip_items([range(total), range(1, total + 1)])))
    assert values == [a * 10 + a + 1 for a in range(total)]
    assert made.cancelled == []


@pytest.mark.parametrize("do", [do_map, do_imap])
def test_where_each_item_is_a_task_its_value_is_the_items(session, do):
    made = Singles(session, lambda a: (a, a))
    single = Chunker(ItemTimes(), b"f", SLOTS, 500, single=True)
    assert list(do(made, zip_items([range(500)]), single)) == [(a, a) for a in range(500)]
    assert made.sizes() == [1] * 500


def test_where_each_item_is_a_task_an_error_names_it(session):
    made = Singles(session, even_only)
    single = Chunker(ItemTimes(), b"f", SLOTS, None, single=True)
    with pytest.raises(ValueError, match="7 is odd") as caught:
        do_map(made, zip_items([[2, 4, 7, 8]]), single)
    assert caught.value.__notes__[-1] == "raised for item 2 of the map"


def test_the_shortest_iterable_ends_it(chunks):
    made = chunks(lambda *args: args)
    assert do_map(made, zip_items(["abc", itertools.count(), [7, 8]])) == [
        ("a", 0, 7),
        ("b", 1, 8),
    ]


def test_map_without_iterables_is_a_type_error():
    with pytest.raises(TypeError, match="at least one iterable"):
        zip_items([])
    with pytest.raises(TypeError, match="not iterable"):
        zip_items([5])  # type: ignore[list-item]


def test_starmap_spreads_its_items(chunks):
    made = chunks(pow)
    assert do_map(made, star_items([(2, 3), [3, 2], range(2)])) == [8, 9, 0]
    assert do_map(made, star_items([])) == []
    with pytest.raises(TypeError, match="not iterable"):
        do_map(made, star_items([5]))  # type: ignore[list-item]


def test_ten_thousand_cheap_items_take_few_chunks(chunks):
    made = chunks(lambda value: value)
    assert do_map(made, zip_items([range(10_000)]), chunker(10_000)) == list(range(10_000))
    assert len(made.submitted) <= 50
    assert made.sizes()[0] == 1


@pytest.mark.parametrize("do", [do_map, do_imap])
def test_chunks_that_end_in_any_order_give_values_in_order(chunks, in_thread, wait_until, do):
    made = chunks(lambda value: value)
    made.at_once = False
    stop = threading.Event()

    def work() -> None:
        draw = random.Random(3)
        waiting: list[int] = []
        seen = 0
        while not stop.is_set() or waiting:
            waiting += range(seen, seen := len(made.submitted))
            if waiting:
                made.run(waiting.pop(draw.randrange(len(waiting))))

    in_thread(work)
    values = list(do(made, zip_items([range(3000)])))
    stop.set()
    assert values == list(range(3000))


@pytest.mark.parametrize(("do", "bounded"), [(do_map, False), (do_imap, True)])
def test_a_slow_first_chunk_holds_up_imap_only(chunks, in_thread, wait_until, do, bounded):
    made = chunks(lambda value: value)
    made.at_once = False
    values: list[Any] = []
    in_thread(lambda: values.extend(do(made, zip_items([range(40)]), singles(made))))
    open_max = SLOTS * OPEN_PER_SLOT

    def run(numbers: range) -> None:
        for number in numbers:
            wait_until(lambda number=number: len(made.submitted) > number)
            made.run(number)

    ahead = open_max if bounded else 40
    run(range(1, ahead))
    if bounded:
        assert len(made.submitted) == open_max
    made.run(0)
    run(range(ahead, 40))
    wait_until(lambda: len(values) == 40)
    assert values == list(range(40))


# imap is lazy.


def test_imap_submits_nothing_before_it_is_read(chunks):
    made = chunks(abs)
    values = do_imap(made, zip_items([[1, 2]]))
    assert made.submitted == []
    assert next(values) == 1


def test_imap_over_an_endless_iterable(chunks):
    made = chunks(lambda value: value * 2)
    values = do_imap(made, zip_items([itertools.count()]))
    assert list(itertools.islice(values, 100_000)) == list(range(0, 200_000, 2))
    values.close()


def test_imap_takes_a_bounded_number_of_items_ahead(chunks):
    made = chunks(lambda value: value)
    taken: list[int] = []

    def endless() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            yield number

    items = zip_items([endless()])
    values = do_imap(made, items, singles(made))
    for read in range(1, 50):
        next(values)
        assert len(taken) <= read + SLOTS * OPEN_PER_SLOT
    values.close()


def test_imap_keeps_the_slots_busy_while_it_is_read(chunks):
    made = chunks(lambda value: value)
    values = do_imap(made, zip_items([range(100)]), singles(made))
    for read in range(50):
        assert next(values) == read
        assert len(made.submitted) >= read + SLOTS * OPEN_PER_SLOT - 1
    values.close()


def test_imap_gives_out_what_is_there_when_items_are_slow_to_come(chunks, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(mapping, "monotonic", lambda: now[0])
    taken: list[int] = []

    def slow() -> Iterator[int]:
        for n in range(20):
            now[0] += 1.0
            taken.append(n)
            yield n

    made = chunks(lambda value: value)
    for read, value in enumerate(do_imap(made, zip_items([slow()]))):
        assert value == read
        assert len(taken) <= read + 2
    assert made.sizes() == [1] * 20


def test_closing_imap_cancels_the_rest_newest_first_and_waits_for_nothing(chunks):
    made = chunks(lambda value: value)
    values = do_imap(made, zip_items([itertools.count()]), singles(made))
    assert next(values) == 0
    made.at_once = False
    for expected in range(1, 8):
        assert next(values) == expected
    values.close()
    assert made.cancelled == [([14, 13, 12, 11, 10, 9, 8], 0.0)]
    assert list(values) == []


def test_leaving_imap_cancels_the_rest(chunks):
    made = chunks(lambda value: value)
    for value in do_imap(made, zip_items([itertools.count()]), singles(made)):
        made.at_once = False
        if value == 3:
            break
    gc.collect()
    assert len(made.cancelled) == 1
    assert made.cancelled[0][0] == sorted(made.cancelled[0][0], reverse=True)
    assert all(future.done() for future, _ in made.submitted)


# Errors.


@pytest.mark.parametrize("do", [do_map, do_imap])
def test_the_error_names_its_item(chunks, do):
    made = chunks(even_only)
    with pytest.raises(ValueError, match="301 is odd") as caught:
        list(do(made, zip_items([[*range(0, 300, 2), 301, 303, 304]])))
    assert "raised for item 150 of the map" in caught.value.__notes__


def test_the_lowest_error_wins_whichever_comes_first(chunks, in_thread, wait_until):
    made = chunks(even_only)
    made.at_once = False
    raised: list[BaseException] = []

    def run() -> None:
        try:
            do_map(made, zip_items([[0, 2, 5, 7, 8, 9, 10, 12, 14, 16]]), singles(made))
        except ValueError as error:
            raised.append(error)

    in_thread(run)
    wait_until(lambda: len(made.submitted) == 8)
    for number in (5, 3, 2, 1):
        made.run(number)
    assert raised == []
    made.run(0)
    wait_until(lambda: raised)
    assert str(raised[0]) == "5 is odd"
    assert made.cancelled == [([7, 6, 4], 30.0)]
    assert len(made.submitted) == 8


def test_imap_gives_the_values_before_the_error(chunks):
    made = chunks(even_only)
    values = do_imap(made, zip_items([[0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 21, 22, 23]]))
    assert list(itertools.islice(values, 10)) == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]
    with pytest.raises(ValueError, match="21 is odd"):
        next(values)


def test_after_an_error_nothing_more_is_submitted(chunks):
    made = chunks(even_only)
    with pytest.raises(ValueError, match="1 is odd"):
        do_map(made, zip_items([itertools.count(1)]))
    assert len(made.submitted) <= SLOTS * OPEN_PER_SLOT


def test_the_loss_of_a_whole_chunk_names_its_items(chunks, in_thread, wait_until):
    made = chunks(lambda value: value)
    raised: list[BaseException] = []

    def run() -> None:
        try:
            do_map(made, zip_items([range(1000)]))
        except ClusterBrokenError as error:
            raised.append(error)

    def submit(items: list[Any], first: int) -> ScalerFuture:
        made.at_once = len(items) == 1
        future = Chunks.submit(made, items, first)
        if not made.at_once:
            future.set_error(ClusterBrokenError("gone"))
        return future

    made.submit = submit
    in_thread(run)
    wait_until(lambda: raised)
    number = made.sizes().index(8)
    assert raised[0].__notes__ == [f"raised for one of items {number} to {number + 7} of the map"]


def test_a_chunk_cancelled_by_others_ends_the_map(chunks, in_thread, wait_until):
    made = chunks(lambda value: value)
    made.at_once = False
    raised: list[BaseException] = []

    def run() -> None:
        try:
            do_map(made, zip_items([range(20)]))
        except CancelledError as error:
            raised.append(error)

    in_thread(run)
    wait_until(lambda: len(made.submitted) == 8)
    for future, _ in reversed(made.submitted):
        future.set_cancel_confirmed(CancelOutcome.CANCELED)
    wait_until(lambda: raised)
    assert len(made.submitted) == 8


class StubbornError(Exception):
    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)


def test_an_error_that_takes_no_note_is_raised_all_the_same(chunks):
    made = chunks(lambda value: value)
    made.at_once = False

    def submit(items: list[Any], first: int) -> ScalerFuture:
        future = made.submit(items, first)
        future.set_error(StubbornError("no notes"))
        return future

    with pytest.raises(StubbornError, match="no notes"):
        run_map(submit, made.cancel, zip_items([[1]]), chunker())


@pytest.mark.parametrize("do", [do_map, do_imap])
def test_an_iterable_that_raises_midway_cancels_and_raises(chunks, do):
    made = chunks(lambda value: value)
    made.at_once = False

    def items() -> Iterator[int]:
        yield from range(3)
        raise OSError("the file ended")

    with pytest.raises(OSError, match="the file ended"):
        list(do(made, zip_items([items()]), singles(made)))
    assert made.cancelled == [([2, 1, 0], 30.0)]


def test_a_submit_that_raises_cancels_and_raises(chunks):
    made = chunks(lambda value: value)
    made.at_once = False

    def submit(items: list[Any], first: int) -> ScalerFuture:
        if len(made.submitted) == 5:
            raise ClusterBrokenError("gone")
        return made.submit(items, first)

    with pytest.raises(ClusterBrokenError):
        run_map(submit, made.cancel, zip_items([range(100)]), singles(made))
    assert made.cancelled == [([4, 3, 2, 1, 0], 30.0)]


@pytest.mark.parametrize("do", [do_map, do_imap])
def test_ctrl_c_cancels_what_was_submitted(chunks, in_thread, wait_until, do):
    made = chunks(lambda value: value)
    made.at_once = False

    def press() -> None:
        wait_until(lambda: len(made.submitted) == 8)
        made.run(0)
        made.run(3)
        os.kill(os.getpid(), signal.SIGINT)

    in_thread(press)
    with pytest.raises(KeyboardInterrupt):
        list(do(made, zip_items([range(8)]), singles(made)))
    (cancelled, timeout_s), *more = made.cancelled
    assert more == []
    assert timeout_s == 30.0
    assert cancelled == [7, 6, 5, 4, 2, 1]


class Marked:
    pass


def test_a_map_that_failed_keeps_nothing_alive(chunks, monkeypatch):
    kept: list[Any] = []

    def load(_: bytes) -> BaseException:
        error = ValueError("with a passenger")
        error.passenger = Marked()  # type: ignore[attr-defined]
        kept.append(weakref.ref(error.passenger))  # type: ignore[attr-defined]
        return error

    monkeypatch.setattr(mapping, "load_exception", load)
    made = chunks(even_only)
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(ValueError, match="passenger"):
            do_map(made, zip_items([[1]]))
        assert [ref() for ref in kept] == [None]
    finally:
        gc.enable()
