"""The process of a node is killed: who watched its actors hears of it, wherever it is."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from actors import (
    Actor,
    ActorRef,
    ActorSystem,
    Node,
    NodeUnreachableError,
    Terminated,
    TerminationReason,
    handles,
)
from actors.testkit import Probe

pytestmark = pytest.mark.usefixtures("by_value")

BOUND_S = 20.0


class Where(Actor):
    @handles(str)
    def on_text(self, text: str) -> None:
        self.context.reply(os.getpid())


class Watcher(Actor):
    """Watches an actor and has an open request to it; tells a probe how both end."""

    def __init__(self, other: ActorRef, probe: ActorRef) -> None:
        self.other = other
        self.probe = probe

    def on_start(self) -> None:
        self.context.watch(self.other)

    @handles(str)
    def on_text(self, text: str) -> None:
        self.context.reply(text)

    @handles(Terminated)
    def on_end(self, message: Terminated) -> None:
        self.context.tell(self.probe, f"{message.reason.value}: {message.cause}")


@pytest.fixture
def system() -> Iterator[ActorSystem]:
    with ActorSystem() as made:
        yield made


def kill(node: Node, actor: ActorRef) -> None:
    """Kill the process of a node, and wait until that is known."""
    os.kill(actor.ask("where?").result(BOUND_S), signal.SIGKILL)
    assert node.ended.wait(BOUND_S)


def test_an_actor_of_another_child_process_is_told(system: ActorSystem) -> None:
    probe = Probe(system)
    node, other_node = system.start_node("one"), system.start_node("other")
    actor = node.spawn(Where)
    watcher = other_node.spawn(Watcher, actor, probe.ref)
    assert watcher.ask("watching?").result(BOUND_S) == "watching?"
    kill(node, actor)
    assert probe.expect(str) == "node lost: node one is gone: killed by SIGKILL"


def test_a_watch_that_comes_too_late_is_answered_everywhere(system: ActorSystem) -> None:
    probe = Probe(system)
    node, other_node = system.start_node("one"), system.start_node("other")
    actor = node.spawn(Where)
    kill(node, actor)
    probe.watch(actor)
    assert probe.expect_terminated(actor).reason is TerminationReason.NODE_LOST
    other_node.spawn(Watcher, actor, probe.ref)
    assert probe.expect(str) == "node lost: node one is gone"


def test_a_ref_to_a_process_that_has_ended_does_not_lead_to_the_next_one(
    system: ActorSystem,
) -> None:
    node = system.start_node("one")
    old = node.spawn(Where)
    kill(node, old)
    node = system.start_node("one")
    new = node.spawn(Where)
    assert node.name == "one"
    assert old != new
    assert isinstance(old.ask("where?").exception(BOUND_S), NodeUnreachableError)
    assert new.ask("where?").result(BOUND_S) > 0
