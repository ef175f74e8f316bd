"""A node goes on when its launcher has died: another one takes its place."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from actors import (
    Actor,
    ActorSystem,
    ExitStatus,
    Launcher,
    LaunchError,
    NodeThread,
    SystemClosedError,
    TerminationReason,
    handles,
)
from actors.testkit import Probe
from tests.actors.runtime.nest import no_descriptor_free

pytestmark = [
    pytest.mark.usefixtures("by_value"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

BOUND_S = 20.0


class Where(Actor):
    @handles(str)
    def on_text(self, text: str) -> None:
        self.context.reply(os.getpid())


@pytest.fixture
def system() -> Iterator[ActorSystem]:
    with ActorSystem() as made:
        yield made


def present(system: ActorSystem) -> Launcher:
    launcher: Launcher = system.call(lambda: system.launcher)
    return launcher


def kill_launcher(system: ActorSystem) -> None:
    """Kill it, and wait until the node has noticed."""
    launcher = present(system)
    os.kill(launcher.pid, signal.SIGKILL)
    while not launcher.end_cause:
        system.call(lambda: None)


def where(system: ActorSystem, name: str) -> int:
    """Start a node, and return the pid of an actor on it."""
    pid: int = system.start_node(name).spawn(Where).ask("?").result(BOUND_S)
    return pid


def start_a_child(system: ActorSystem) -> None:
    """Have the launcher start a child that does nothing, and wait for its end."""
    ends: list[ExitStatus] = []
    system.call(lambda: system.launcher.launch("operator:is_", b"", [], on_exit=ends.append))
    while not ends:
        system.call(lambda: None)
    assert ends[0].code == 0


def test_nodes_lost_with_the_launcher_are_told_lost_and_can_be_started_anew(
    system: ActorSystem, alive: Callable[[int], bool], caplog: pytest.LogCaptureFixture
) -> None:
    node = system.start_node("calculations")
    actor = node.spawn(Where)
    probe = Probe(system)
    probe.watch(actor)
    pid = actor.ask("?").result(BOUND_S)
    with caplog.at_level(logging.WARNING, "actors"):
        kill_launcher(system)
    end = probe.expect_terminated(actor)
    assert end.reason is TerminationReason.NODE_LOST
    assert "the launcher died (killed by SIGKILL)" in str(end.cause)
    assert node.ended.wait(BOUND_S)
    assert node.exit_cause == "the launcher died (killed by SIGKILL)"
    assert not alive(pid)
    assert "node main lost all its child processes" in caplog.text
    assert alive(where(system, "calculations"))


def test_launchers_that_die_one_after_the_other_are_each_replaced(system: ActorSystem) -> None:
    pids = []
    for number in range(5):
        pids.append(where(system, f"node-{number}"))
        kill_launcher(system)
    assert len(set(pids)) == 5
    assert where(system, "last") not in pids


def test_a_launcher_may_die_before_it_does_anything(system: ActorSystem) -> None:
    for number in range(3):
        killer = threading.Thread(target=kill_launcher, args=(system,))
        killer.start()
        with suppress(LaunchError):
            system.start_node(f"node-{number}")
        killer.join()
    assert where(system, "last") != os.getpid()


def test_a_node_whose_start_dies_with_the_launcher_did_not_start(system: ActorSystem) -> None:
    def start() -> None:
        try:
            system.start_node("doomed")
        except LaunchError as error:
            errors.append(error)

    errors: list[LaunchError] = []
    os.kill(present(system).pid, signal.SIGSTOP)  # so that it gets the order and does nothing
    starter = threading.Thread(target=start)
    starter.start()
    while "doomed" not in system._children or not present(system)._children:
        system.call(lambda: None)
    kill_launcher(system)
    starter.join(BOUND_S)
    assert "the launcher died" in str(errors[0])
    assert where(system, "doomed") != os.getpid()


def test_the_launcher_lives_as_long_as_the_node_whoever_needed_it(
    system: ActorSystem, alive: Callable[[int], bool]
) -> None:
    kill_launcher(system)
    pids: list[int] = []
    starter = threading.Thread(target=lambda: pids.append(where(system, "other")))
    starter.start()
    starter.join()
    assert alive(present(system).pid)
    assert alive(pids[0])
    kill_launcher(system)
    with pytest.raises(LaunchError, match="only its own thread starts one"):
        _ = system.launcher


def test_a_launcher_that_cannot_be_set_up_is_not_started_again(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with ActorSystem(preload=["no_such_module"]) as system:
        first = present(system)
        for _ in range(3):
            with pytest.raises(LaunchError, match="no_such_module"):
                system.start_node("other")
        assert present(system) is first
    assert capfd.readouterr().err.count("ModuleNotFoundError: No module") == 1


@pytest.mark.parametrize(("deaths", "why"), [(21, "21 died within 60 s"), (5, "5 in a row died")])
def test_too_many_deaths_end_the_node(
    deaths: int, why: str, until: Callable[[Callable[[], Any]], Any]
) -> None:
    broken: list[BaseException] = []
    thread = NodeThread("short", on_broken=broken.append)
    system = ActorSystem(thread=thread)
    for _ in range(deaths):
        if deaths == 21:
            start_a_child(system)
        kill_launcher(system)
    with pytest.raises(LaunchError, match=f"node short gives up: .*{why}.*SIGKILL"):
        system.start_node("other")
    until(lambda: broken)
    with pytest.raises(SystemClosedError, match=r"system short has ended: .*node short gives up"):
        system.spawn(Where)
    assert why in str(broken.pop())
    assert broken == []
    system.close()
    assert not thread.is_alive()


def test_without_descriptors_there_is_a_clear_error_soon_and_later_a_launcher(
    system: ActorSystem,
) -> None:
    kill_launcher(system)
    with no_descriptor_free():
        begin_s = time.monotonic()
        with pytest.raises(LaunchError, match=r"launcher could not be started: .*Too many open"):
            present(system)
        assert time.monotonic() - begin_s < 5
    assert where(system, "other") != os.getpid()


def test_a_shortage_of_a_moment_is_waited_for(system: ActorSystem) -> None:
    kill_launcher(system)
    pids: list[int] = []
    asker = threading.Thread(target=lambda: pids.append(present(system).pid))
    with no_descriptor_free():
        asker.start()
        asker.join(0.1)
        assert pids == []
    asker.join(BOUND_S)
    assert len(pids) == 1


def test_a_system_can_be_closed_while_its_launcher_dies() -> None:
    for busy in (True, False, True):
        system = ActorSystem()
        launcher = present(system)
        if busy:
            where(system, "other")
        os.kill(launcher.pid, signal.SIGKILL)
        begin_s = time.monotonic()
        system.close()
        assert time.monotonic() - begin_s < 5
