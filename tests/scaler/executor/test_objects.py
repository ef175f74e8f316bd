"""What an executor tells of the objects that it looks at."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from scaler.executor.objects import ExecutorObjects
from scaler.limits import INLINE_BYTES
from scaler.objects.file import open_shared_file
from scaler.objects.store import ObjectStore
from scaler.protocol.executor import ExecutorConfig, RowFrame, ViewsFrame
from scaler.protocol.objects import Piece
from scaler.protocol.tasks import RowStatus, Task, TaskRow

ROW = TaskRow(1, 1, RowStatus.SUCCEEDED, b"", 0.0, 0.0, 0.0, 0, "w", 1, 1)


@pytest.fixture
def store():
    with_room = ObjectStore(open_shared_file())
    yield with_room
    with_room.close()


@pytest.fixture
def objects(store):
    config = ExecutorConfig("w", store.enter(lambda *_: None), 1 << 20, 1 << 30)
    made = ExecutorObjects(config, store.file, None, lambda frame: None)
    yield made
    made.cool()
    made._room.close()


@pytest.fixture
def pieces(store):
    made = [store.keep(memoryview(bytes([number]) * INLINE_BYTES)) for number in range(3)]
    yield made
    made.clear()


def opened(objects: ExecutorObjects, *pieces: Piece) -> list[Any]:
    _, buffers, _ = objects.open(Task(1, b"f", b"pickle", objects=pieces))
    return list(buffers)


def told(frame: RowFrame) -> tuple[tuple[int, ...], tuple[int, ...]]:
    assert frame.row is ROW
    return frame.kept, frame.dropped


def test_what_ends_with_its_task_is_not_told(objects, pieces):
    values = opened(objects, *pieces)
    assert [bytes(value[:1]) for value in values] == [b"\0", b"\1", b"\2"]
    values.clear()
    assert told(objects.frame(ROW)) == ((), ())


def test_what_outlives_its_task_is_told_once_and_again_when_it_goes(objects, pieces):
    kept = opened(objects, *pieces)[1][5:10]
    assert told(objects.frame(ROW)) == ((pieces[1].home,), ())
    assert told(objects.frame(ROW)) == ((), ())
    more = opened(objects, *pieces[1:])  # another view of the same, and a new one
    assert told(objects.frame(ROW)) == ((pieces[2].home,), ())
    del kept
    assert told(objects.frame(ROW)) == ((), ()), "the other view of it is still there"
    more.pop()
    opened(objects, pieces[0])
    assert told(objects.frame(ROW)) == ((), (pieces[2].home,))
    more.clear()
    assert told(objects.frame(ROW)) == ((), (pieces[1].home,))
    assert not objects._holds
    assert not objects._kept


def test_garbage_of_the_task_keeps_nothing(objects, pieces):
    cycle: list[Any] = opened(objects, pieces[0])
    cycle.append(cycle)
    del cycle
    assert told(objects.frame(ROW)) == ((), ())
    assert not objects.has_doubts


def old_garbage(objects: ExecutorObjects, piece: Piece) -> None:
    cycle: list[Any] = opened(objects, piece)
    cycle.append(cycle)
    gc.collect()  # it is not young any more


def test_old_garbage_is_collected_by_the_way_or_when_there_is_time(objects, pieces):
    old_garbage(objects, pieces[0])
    assert told(objects.frame(ROW)) == ((), ())
    old_garbage(objects, pieces[1])  # too soon for another full collection
    assert told(objects.frame(ROW)) == ((pieces[1].home,), ())
    assert objects.has_doubts
    assert objects.settle() == ViewsFrame((pieces[1].home,))
    assert not objects.has_doubts
    assert objects.settle() is None


def test_what_is_really_kept_stays_when_there_is_time(objects, pieces):
    kept = opened(objects, pieces[0])
    objects.frame(ROW)
    objects.has_doubts = True
    assert objects.settle() is None
    assert bytes(kept[0][:1]) == b"\0"
