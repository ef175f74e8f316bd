"""Results of tasks as arguments of others, with real executors."""

from __future__ import annotations

import dataclasses
import os
import time
from concurrent.futures import as_completed
from typing import Any

import pytest

from scaler import Client, ClientError, InputFailedError, SerializationError, TaskTimeoutError

pytestmark = pytest.mark.usefixtures("by_value")
BOUND_S = 20.0


@dataclasses.dataclass
class Order:
    items: list[Any]


def total(*parts: Any) -> int:
    return sum(part.items[0] if isinstance(part, Order) else part for part in parts)


def late(value: int, after_s: float = 0.05) -> int:
    time.sleep(after_s)
    return value


def test_a_future_is_an_argument_wherever_it_stands(client):
    one, two, three = (client.submit(late, number) for number in (1, 2, 3))
    future = client.submit(total, one, part := Order([two]), *[three])
    assert future.result(BOUND_S) == 6
    assert part.items == [two], "what the caller holds is as it was"
    assert client.submit(sorted, [three, one, two]).result(BOUND_S) == [1, 2, 3]
    assert client.submit(dict, a=one, b=[two]).result(BOUND_S) == {"a": 1, "b": [2]}


def test_futures_that_ended_before_are_arguments_too(client):
    small, large = client.submit(pow, 2, 3), client.submit(bytes, 100_000)
    for future in as_completed([small, large], BOUND_S):
        future.result()
    assert client.submit(pow, small, 2).result(BOUND_S) == 64
    assert client.submit(len, large).result(BOUND_S) == 100_000


def test_a_map_over_futures_waits_for_them(client):
    futures = [client.submit(late, number, 0.001) for number in range(20)]
    assert client.map(total, futures, range(20)) == [2 * number for number in range(20)]
    single = client.options(timeout=10.0)
    assert single.map(total, futures, range(20)) == [2 * number for number in range(20)]


def test_long_chains_and_wide_fans_come_to_their_end(client):
    future = client.submit(total)
    for number in range(1_000):
        future = client.submit(total, future, number % 2)
    assert future.result(BOUND_S) == 500
    fan = [client.submit(total, future, number) for number in range(300)]
    assert client.submit(total, *fan).result(BOUND_S) == 300 * 500 + sum(range(300))


def test_what_fails_fails_what_needs_it_and_nothing_else(client):
    bad = client.submit(late, "wrong", after_s="x")
    dependent = client.submit(total, bad)
    last = client.submit(total, dependent)
    other = client.submit(total, 1)
    for future in (dependent, last):
        error = future.exception(BOUND_S)
        assert isinstance(error, InputFailedError)
        assert f"task {bad.task_id}" in str(error)
        assert type(error.__cause__) is TypeError
    assert other.result(BOUND_S) == 1


def test_a_cancel_of_what_is_needed_and_of_what_waits(client):
    running = client.submit(time.sleep, 60)
    waiting, dropped = client.submit(total, running), client.submit(total, running)
    assert dropped.cancel()
    assert running.cancel()
    error = waiting.exception(BOUND_S)
    assert isinstance(error, InputFailedError)
    assert str(error).endswith("was cancelled")


def test_a_task_that_waits_meets_its_deadline(client):
    running = client.submit(time.sleep, 60)
    waiting = client.options(deadline=0.1).submit(total, running)
    assert isinstance(waiting.exception(BOUND_S), TaskTimeoutError)
    assert running.cancel()


def test_a_task_whose_executor_died_gets_its_inputs_again(client, new_sign):
    sign = new_sign()

    def dies_once(value: int) -> int:
        if not sign.text():
            with open(sign.path, "w") as file:
                file.write("died")
            os._exit(3)
        return value

    assert client.submit(dies_once, client.submit(late, 5)).result(BOUND_S) == 5


def test_futures_elsewhere_are_refused(client, cluster):
    future = client.submit(pow, 2, 2)
    with pytest.raises(ClientError, match="refers to what cannot travel"):
        client.submit(lambda: future)
    with Client(cluster) as other, pytest.raises(ClientError, match="of another client"):
        other.submit(total, future)
    assert future.result(BOUND_S) == 4


def test_an_input_that_cannot_be_opened_is_said_to_be_so(client):
    class Closed:
        def __reduce__(self) -> Any:
            return open, ("/no/such/file",)

    made = client.submit(Closed)
    error = client.submit(total, made).exception(BOUND_S)
    assert isinstance(error, SerializationError)
    assert "FileNotFoundError" in str(error)
