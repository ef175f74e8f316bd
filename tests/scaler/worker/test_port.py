"""What every executor port does: the real one, and those that other tests use in its place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from actors import LocalMessage
from actors.testkit import Simulation
from scaler.protocol.tasks import Function, RowStatus, Task, TaskRow
from scaler.worker.port import ExecutorExited, ExecutorPort, ExecutorRows
from tests.scaler.worker.fake_executor import FakeExecutor
from tests.simulation.host import SimHost
from tests.simulation.memory import Memory
from tests.simulation.plans import Options, TaskPlan
from tests.simulation.truth import Truth


class Fake:
    """Drives the fake: each step at once."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self.events: list[LocalMessage] = []
        self.port: ExecutorPort = FakeExecutor(1, "worker-1", self.events.append)
        self.fake: Any = self.port
        self.last = 0

    def up(self) -> None:
        self.fake.up()

    def send(self, count: int) -> list[int]:
        ordinals = list(range(self.last + 1, self.last + count + 1))
        self.last += count
        self.port.send(ordinals, [Task(1000 + ordinal, b"f", b"") for ordinal in ordinals])
        return ordinals

    def hold(self) -> int:
        (ordinal,) = self.send(1)
        self.fake.begin()
        return ordinal

    def release(self, count: int) -> list[int]:
        self.fake.finish()
        while self.fake.waiting:
            self.fake.begin()
            self.fake.finish()
        self.fake.deliver()
        return [row.ordinal for row in self.rows()]

    def unwind(self) -> None:
        self.fake.unwind()

    def die(self) -> None:
        self.port.kill()
        self.fake.exit()

    def rows(self) -> list[TaskRow]:
        return [
            row for event in self.events if isinstance(event, ExecutorRows) for row in event.rows
        ]


class Modelled:
    """Drives the model of the simulations; a held task runs for long."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self.sim = Simulation(0)
        self.truth = Truth(self.sim.now)
        node = self.sim.node("host")
        memory = Memory(self.truth, Options(), self.sim.random, node.after)
        host = SimHost(self.sim, node, Options(), memory)
        self.events: list[LocalMessage] = []
        self.port: ExecutorPort = host.start(1, "worker-1", self.events.append)
        self.last = 0

    def up(self) -> None:
        self.sim.run(until_s=self.sim.now() + 1.0)

    def send(self, count: int, run_s: float = 0.001) -> list[int]:
        ordinals = list(range(self.last + 1, self.last + count + 1))
        self.last += count
        for ordinal in ordinals:
            self.truth.submitted(TaskPlan(client=0, run_s=run_s), 0, 1000 + ordinal)
            self.truth.wanted(1000 + ordinal, force=True, at_once=True)
        tasks = [Task(1000 + ordinal, b"f", b"") for ordinal in ordinals]
        self.port.send(ordinals, tasks, [Function(b"f", b"", "module.f")])
        return ordinals

    def hold(self) -> int:
        (ordinal,) = self.send(1, run_s=1_000.0)
        self.sim.run(until=lambda: self.port.running() == ordinal)
        return ordinal

    def release(self, count: int) -> list[int]:
        self.sim.run(until=lambda: len(self.rows()) == count)
        self.sim.run()
        return [row.ordinal for row in self.rows()]

    def unwind(self) -> None:
        self.up()

    def die(self) -> None:
        self.port.kill()
        self.up()

    def rows(self) -> list[TaskRow]:
        return [
            row for event in self.events if isinstance(event, ExecutorRows) for row in event.rows
        ]


class Real:
    """Drives a live executor; a held task reads from a pipe."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self.bench = request.getfixturevalue("bench")
        self.driven = self.bench.start()
        self.port: ExecutorPort = self.driven.port
        self.events: list[LocalMessage] = self.driven.events
        self.fifo = request.getfixturevalue("tmp_path") / "hold"
        os.mkfifo(self.fifo)

    def up(self) -> None:
        self.bench.until(lambda: self.driven.pid)

    def send(self, count: int) -> list[int]:
        return [self.driven.submit(os.getpid) for _ in range(count)]

    def hold(self) -> int:
        ordinal: int = self.driven.submit(Path.read_bytes, self.fifo)
        self.bench.until(lambda: self.port.running() == ordinal)
        return ordinal

    def release(self, count: int) -> list[int]:
        fd = self.bench.until(self._open)
        os.close(fd)
        self.bench.until(lambda: len(self.driven.rows) == count)
        return list(self.driven.rows)

    def unwind(self) -> None:
        self.bench.until(lambda: self.driven.rows)

    def die(self) -> None:
        self.port.kill()
        self.driven.exit()

    def rows(self) -> list[TaskRow]:
        return list(self.driven.rows.values())

    def _open(self) -> int:
        """Open the pipe once somebody reads it; 0 until then."""
        try:
            return os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return 0


@pytest.fixture(params=[Fake, Modelled, Real], ids=["fake", "modelled", "real"])
def driver(request: pytest.FixtureRequest) -> Any:
    return request.param(request)


def test_what_waits_can_be_taken_back_and_what_runs_can_not(driver):
    held = driver.hold()
    first, second = driver.send(2)
    assert driver.port.take_back([held, first, second]) == (first, second)
    assert driver.port.running() == held
    assert driver.release(1) == [held]


def test_what_was_taken_back_never_runs_and_the_rest_keeps_its_order(driver):
    held = driver.hold()
    second, third, fourth = driver.send(3)
    assert driver.port.take_back([third]) == (third,)
    assert driver.release(3) == [held, second, fourth]


def test_nothing_is_taken_back_twice(driver):
    driver.hold()
    (waiting,) = driver.send(1)
    assert driver.port.take_back([waiting, waiting]) == (waiting,)
    assert driver.port.take_back([waiting]) == ()
    driver.release(1)


def test_they_come_back_in_the_order_of_the_question(driver):
    driver.hold()
    first, second, third = driver.send(3)
    assert driver.port.take_back([third, first]) == (third, first)
    assert driver.port.take_back([second]) == (second,)
    driver.release(1)


def test_what_has_ended_or_was_never_sent_cannot_be_taken_back(driver):
    held = driver.hold()
    driver.release(1)
    assert driver.port.take_back([held, 77]) == ()


def test_before_it_is_up_all_can_be_taken_back(driver):
    ordinals = driver.send(3)
    taken = driver.port.take_back(ordinals)
    assert list(taken) == ordinals
    driver.up()
    assert driver.port.running() == 0
    assert driver.rows() == []


def test_a_task_sent_again_has_a_new_ordinal_and_runs(driver):
    held = driver.hold()
    (before,) = driver.send(1)
    assert driver.port.take_back([before]) == (before,)
    (again,) = driver.send(1)
    assert driver.release(2) == [held, again]


def test_after_its_death_what_had_not_begun_can_be_taken_back(driver):
    held = driver.hold()
    (waiting,) = driver.send(1)
    driver.die()
    assert driver.port.running() == held, "the one to blame"
    assert driver.port.take_back([held, waiting]) == (waiting,)


def test_its_exit_is_told_last_and_once(driver):
    driver.up()
    driver.hold()
    driver.die()
    assert [isinstance(event, ExecutorExited) for event in driver.events] == [False, True]


def test_an_interrupt_unwinds_the_task_that_runs(driver):
    held = driver.hold()
    assert driver.port.answered() == 0
    driver.port.interrupt(held)
    driver.unwind()
    (row,) = driver.rows()
    assert (row.ordinal, row.status, row.payload) == (held, RowStatus.INTERRUPTED, b"")
    assert driver.port.answered() == held


def test_an_interrupt_of_what_has_ended_does_nothing(driver):
    held = driver.hold()
    driver.release(1)
    driver.port.interrupt(held)
    assert driver.hold() == held + 1
    assert driver.port.answered() == 0
    driver.release(2)


def test_a_closed_port_holds_nothing(driver):
    driver.hold()
    (waiting,) = driver.send(1)
    driver.die()
    driver.port.close()
    driver.port.close()
    assert driver.port.take_back([waiting]) == ()
    assert (driver.port.running(), driver.port.item(), driver.port.answered()) == (0, 0, 0)
    assert (driver.port.running_for(), driver.port.rss_bytes()) == (0.0, 0)
