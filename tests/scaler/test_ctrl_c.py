"""Ctrl-C in the middle of a client's call costs that call, and nobody else anything."""

from __future__ import annotations

import time

import pytest

from scaler import CancelOutcome
from tests.interruptions import interruptions

BOUND_S = 10.0


def test_ctrl_c_anywhere_in_a_submit_loses_neither_credit_nor_the_next_task(client, until):
    points = 0
    for where in interruptions(lambda: client.submit(pow, 2, 3)):
        assert client.submit(pow, 2, 4).result(BOUND_S) == 16, where
        until(lambda: "0 tasks and 0 bytes in flight" in repr(client), 2.0)
        points += 1
    assert points > 10


def test_ctrl_c_anywhere_in_a_result_leaves_the_future_as_it_is(client):
    points = 0
    for where in interruptions(lambda: client.submit(time.sleep, 0.002).result(BOUND_S)):
        assert client.submit(pow, 2, 4).result(BOUND_S) == 16, where
        points += 1
    assert points > 10
    future = client.submit(pow, 2, 5)
    for where in interruptions(lambda: future.result(BOUND_S)):
        assert future.result(BOUND_S) == 32, where


@pytest.mark.timeout(60)
def test_a_signal_handler_may_put_and_submit_anywhere_in_a_put_and_a_submit(client, until):
    data = bytes(100_000)

    def use() -> None:
        reference = client.put(data)
        assert client.submit(len, reference).result(BOUND_S) == len(data)

    for call in (lambda: client.put(data), lambda: client.submit(len, data)):
        points = 0
        for where in interruptions(call, use, within=("/scaler/client/", "/scaler/objects/")):
            assert client.submit(pow, 2, 4).result(BOUND_S) == 16, where
            points += 1
        assert points > 50
    until(lambda: not client.cluster.objects.objects)
    assert client.cluster.objects.room.used_bytes() == 0


def test_ctrl_c_anywhere_in_a_map_leaves_nothing_of_it(client, until):
    points = 0
    for where in interruptions(lambda: client.map(pow, range(10), range(10))):
        assert client.map(abs, [-1]) == [1], where
        until(lambda: "0 tasks and 0 bytes in flight" in repr(client), 2.0)
        points += 1
    assert points > 10


def test_ctrl_c_anywhere_in_a_cancel_leaves_it_open_for_another(client):
    points = 0
    future = client.submit(time.sleep, 60)
    for where in interruptions(lambda: future.cancel()):  # noqa: PLW0108 - another each time
        assert future.cancel(), where
        assert future.cancel_outcome is CancelOutcome.CANCELED, where
        future = client.submit(time.sleep, 60)
        points += 1
    assert points > 10


@pytest.mark.parametrize("leave", ["close", "disconnect"])
def test_ctrl_c_anywhere_in_a_close_leaves_it_open_for_another(cluster, leave):
    from scaler import Client

    clients = []

    def end() -> None:
        client = Client(cluster)
        clients.append(client)
        client.submit(time.sleep, 60)
        getattr(client, leave)()

    for where in interruptions(end):
        for client in clients:
            client.close()
            assert client.closed, where
        clients.clear()
    for client in clients:
        client.close()
