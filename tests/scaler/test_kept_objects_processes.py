"""Arguments in shared memory that an executor keeps after their task."""

from __future__ import annotations

import gc
import os
import sys
import time
from typing import Any

import pytest

from scaler import Client, WorkerDiedError
from tests.scaler.columns import Column, identity, is_filled

pytestmark = pytest.mark.usefixtures("by_value")
BOUND_S = 20.0
LARGE = 1 << 21


def column(size: int = LARGE, value: int = 1) -> Column:
    return Column(bytes([value]) * size)


def dies(value: Any) -> None:
    os._exit(3)


def test_what_an_executor_keeps_stays_readable_and_is_let_go(until):
    def keep(value: Column) -> None:
        sys.kept = value  # type: ignore[attr-defined]

    def look() -> bool:
        kept = sys.kept  # type: ignore[attr-defined]
        return bool(kept.data == bytes([6]) * len(kept))

    def let_go() -> None:
        del sys.kept  # type: ignore[attr-defined]

    with Client(workers=1) as client:
        objects = client.cluster.objects.objects
        client.submit(keep, column(LARGE, 6)).result(BOUND_S)
        (home,) = objects
        for number in range(10):  # what would be written over it
            client.submit(identity, column(LARGE, number)).result(BOUND_S)
            assert client.submit(look).result(BOUND_S)
        until(lambda: list(objects) == [home])
        client.submit(let_go).result(BOUND_S)
        until(lambda: not objects)


def test_what_an_executor_kept_can_be_its_result_and_goes_with_it(until):
    def keep(value: Column) -> None:
        sys.kept = value  # type: ignore[attr-defined]

    def give() -> Column:
        kept: Column = sys.__dict__.pop("kept")
        return kept

    with Client(workers=1) as client:
        objects = client.cluster.objects.objects
        client.submit(keep, column(LARGE, 6)).result(BOUND_S)
        (home,) = objects
        given = client.submit(give).result(BOUND_S)
        assert list(objects) == [home]
        assert is_filled(given, 6)
        client.submit(keep, given).result(BOUND_S)
        del given
        with pytest.raises(WorkerDiedError):
            client.options(max_attempts=1).submit(dies, None).result(BOUND_S)
        until(lambda: not objects)


def test_an_executor_at_rest_lets_go_of_what_garbage_holds(until):
    def leave_garbage(value: Column) -> None:
        cycle: list[object] = [value]
        cycle.append(cycle)
        del value
        gc.collect()  # it is old now: only a full collection finds it

    with Client(workers=1) as client:
        objects = client.cluster.objects.objects
        futures = [client.submit(leave_garbage, column(LARGE, n)) for n in range(5)]
        for future in futures:
            future.result(BOUND_S)
        until(lambda: not objects)


def test_a_task_goes_to_the_executor_that_has_its_value_mapped(sign):
    def pid_of(value: Any, path: str = "") -> int:
        if path:
            with open(path, "w") as file:
                file.write("1")
            while os.path.exists(path):
                time.sleep(0.001)
        return os.getpid()

    with Client(workers=2) as client:
        one, two = client.put(column(LARGE, 1)), client.put(column(LARGE, 2))
        first = client.submit(pid_of, one, sign.path)
        sign.wait()
        there = client.submit(pid_of, two).result(BOUND_S)  # the other one is taken
        os.unlink(sign.path)
        here = first.result(BOUND_S)
        assert here != there
        for _ in range(10):  # who ran last would get the next, otherwise
            assert client.submit(pid_of, one).result(BOUND_S) == here
            assert client.submit(pid_of, two).result(BOUND_S) == there
