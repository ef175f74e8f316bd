"""A task that was sent ahead behind a long one runs elsewhere when another executor is idle."""

import time
from concurrent.futures import wait
from pathlib import Path

import pytest

from scaler import Client
from scaler.protocol.tasks import GetStatus

BOUND_S = 20.0
BEHIND = 60


def maybe_long(gate: str) -> str:
    """Return at once, or (with a gate) when that file is there."""
    deadline_s = time.monotonic() + BOUND_S
    while gate and not Path(gate).exists() and time.monotonic() < deadline_s:
        time.sleep(0.001)
    return gate


@pytest.fixture
def client():
    with Client(workers=2) as client:
        for _ in range(5):  # now it is known as a function that takes no time: many are sent ahead
            client.cancel([client.submit(maybe_long, "")])
            wait([client.submit(maybe_long, "") for _ in range(50)])
        yield client


def test_tasks_behind_a_long_one_run_elsewhere(client, tmp_path):
    gate = tmp_path / "open"
    long = client.submit(maybe_long, str(gate))
    behind = [client.submit(maybe_long, "") for _ in range(BEHIND)]
    done = wait(behind, timeout=BOUND_S / 2).done
    assert not long.done()
    assert len(done) == BEHIND
    assert len({future.profiling_info().pid for future in behind}) == 1, "the idle executor's"
    gate.touch()
    assert long.result(BOUND_S) == str(gate)
    assert pid_of(long) not in {pid_of(future) for future in behind}


def test_with_both_executors_busy_they_wait_and_nothing_is_lost(client, tmp_path):
    gate = tmp_path / "open"
    long = [client.submit(maybe_long, str(gate)) for _ in range(2)]
    behind = [client.submit(maybe_long, "") for _ in range(BEHIND)]
    deadline_s = time.monotonic() + BOUND_S / 2
    while not (all(f.running() for f in long) and queued(client) == BEHIND):
        assert time.monotonic() < deadline_s, "not all tasks came back from behind the long ones"
    assert not any(future.done() for future in behind)
    gate.touch()
    assert [future.result(BOUND_S) for future in behind] == [""] * BEHIND
    assert [future.result(BOUND_S) for future in long] == [str(gate)] * 2


def pid_of(future):
    return future.profiling_info().pid


def queued(client):
    return client.cluster.scheduler.ask(GetStatus()).result(BOUND_S).queued
