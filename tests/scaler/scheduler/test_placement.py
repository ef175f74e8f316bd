"""Which worker gets a task: one that has its large objects, among those that are as free."""

from __future__ import annotations

import pytest

from actors.testkit import InboxRef
from scaler.limits import MAP_BYTES
from scaler.protocol.objects import Body, Piece
from scaler.protocol.tasks import Task
from scaler.scheduler.holders import _HOMES_MAX, _WORKERS_MAX, Holders
from scaler.scheduler.records import WorkerEntry
from tests.scaler.scheduler.desk import row, task_id

X, Y = Piece(1 << 40, MAP_BYTES), Piece(2 << 40, MAP_BYTES)
SMALL = Piece(3 << 40, MAP_BYTES - 1)


@pytest.fixture
def trio(desk):
    """Three idle workers: the first has seen X, the second Y, and the third was busy last."""
    desk.connect()
    for number in range(3):
        desk.add_worker(f"w{number}", credit=2)
    desk.submit(1, objects=(X,))
    desk.submit(2, objects=(Y,))
    desk.submit(3)
    where = {desk.sent_to(worker)[0]: worker for worker in desk.kit.actor.workers}
    for number in (1, 2, 3):
        desk.end(where[number], row(number))
    return where[1], where[2], where[3]


@pytest.mark.parametrize("as_input", [False, True], ids=["argument", "result of another"])
def test_a_task_goes_to_the_idle_worker_that_has_its_object(desk, trio, as_input):
    first, second, _ = trio
    numbers = iter(range(10, 30))
    for _ in range(4):
        for worker, piece in ((first, X), (second, Y)):
            number = next(numbers)
            if as_input:
                body = Body(b"", (piece,))
                desk.submit(number, needs=(90,), inputs=(body,))
            else:
                desk.submit(number, objects=(SMALL, piece))
            assert desk.sent_to(worker)[-1] == number
            desk.end(worker, row(number))
    assert desk.is_at_rest()


def test_one_that_is_idle_goes_before_one_that_has_the_object(desk, trio):
    first, second, third = trio
    desk.submit(10, objects=(X,))
    desk.submit(11, objects=(X,))
    assert desk.sent_to(first)[-1] == 10
    assert 11 in (desk.sent_to(second)[-1], desk.sent_to(third)[-1])


def test_among_busy_ones_with_room_it_goes_to_the_one_that_has_the_object(desk, trio):
    first, second, third = trio
    desk.submit(10, 11, 12)
    for number, worker, piece in ((20, second, Y), (21, first, X)):
        desk.submit(number, objects=(piece,))
        assert desk.sent_to(worker)[-1] == number
    desk.submit(22)
    assert desk.sent_to(third)[-1] == 22


def test_a_worker_without_room_gets_nothing(desk, trio):
    first, second, third = trio
    desk.submit(10, 11, 12)
    desk.submit(13, objects=(X,))
    assert desk.sent_to(first)[-1] == 13
    desk.submit(14, objects=(X,))
    assert 14 in (desk.sent_to(second)[-1], desk.sent_to(third)[-1])


def test_a_worker_that_left_gets_nothing(desk, trio):
    first, second, third = trio
    desk.kit.terminate(first)
    desk.submit(10, objects=(X,))
    assert 10 in (desk.sent_to(second)[-1], desk.sent_to(third)[-1])


def test_small_objects_do_not_count(desk, trio):
    first, _, _ = trio
    desk.submit(10, objects=(SMALL,))
    holders = desk.kit.actor.placement._holders
    assert holders.of(_task(SMALL)) == []
    assert holders.of(_task(X)) == [desk.kit.actor.workers[first]]


def _task(piece):
    return Task(task_id(1), b"f", b"", objects=(piece,))


def test_what_is_known_is_bounded():
    holders = Holders()
    workers = [
        WorkerEntry(f"w{number}", InboxRef(f"w{number}"), 1) for number in range(_WORKERS_MAX + 2)
    ]
    for worker in workers:
        holders.note(_task(X), worker)
    holders.note(_task(X), workers[2])
    assert holders.of(_task(X)) == [workers[2], *reversed(workers[3:])]
    for number in range(_HOMES_MAX + 5):
        holders.note(_task(Piece(number << 21, MAP_BYTES)), workers[0])
    assert len(holders) == _HOMES_MAX
    assert holders.of(_task(X)) == []
