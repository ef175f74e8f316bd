"""What other nodes and threads have done here."""

from __future__ import annotations

import pytest

from actors import ActorRef, Terminated, TerminationReason
from actors.actor import DEFAULT_SUPERVISION
from actors.core.guardian import (
    GUARDIAN_NUMBER,
    CallOnNode,
    Guardian,
    NodeGone,
    PingNode,
    SpawnActor,
    StopActor,
    StopNode,
    UnwatchActor,
    WatchActor,
)
from actors.ref import Address
from actors.testkit import InboxRef
from tests.actors.core.stage import Scribe


class Guarded:
    """A guardian on a node, and how often the node was to finish."""

    def __init__(self, stage) -> None:
        self.stage = stage
        self.finishes = 0
        self.ref = stage.spawn(Guardian, stage.node, self._finish, name="guardian")

    def _finish(self) -> None:
        self.finishes += 1

    def ask(self, message):
        future = self.ref.ask(message)
        self.stage.turn()
        return future.result(0)

    def tell(self, message) -> None:
        self.ref.tell(message)
        self.stage.turn()


@pytest.fixture
def guarded(stage) -> Guarded:
    return Guarded(stage)


def spawn_message(*args, name=None):
    return SpawnActor(Scribe, args, {}, name, DEFAULT_SUPERVISION, 5)


def test_the_guardian_is_the_first_actor(guarded):
    assert guarded.ref.address.number == GUARDIAN_NUMBER


def test_it_spawns_and_replies_the_ref(stage, guarded):
    book = []
    ref = guarded.ask(spawn_message(book, name="anna"))
    assert isinstance(ref, ActorRef)
    assert book == ["start"]
    assert stage.node.names["anna"].mailbox.size == 5


def test_what_a_start_raises_is_the_reply(stage, guarded):
    guarded.ask(spawn_message([], name="anna"))
    with pytest.raises(ValueError, match="already has an actor named 'anna'"):
        guarded.ask(spawn_message([], name="anna"))
    assert guarded.ref.cell.actor is not None, "the guardian lives on"


def test_it_calls_functions_on_the_nodes_thread(guarded):
    assert guarded.ask(CallOnNode(lambda: 42)) == 42
    with pytest.raises(ZeroDivisionError):
        guarded.ask(CallOnNode(lambda: 1 / 0))


def test_it_answers_a_ping_and_ends_the_node(guarded):
    assert guarded.ask(PingNode()) is None
    guarded.tell(StopNode())
    assert guarded.finishes == 1


def test_it_stops_actors(stage, guarded):
    ref, book = stage.scribe()
    guarded.tell(StopActor(ref.address.number))
    guarded.tell(StopActor(ref.address.number))
    assert book == ["stop"]


def test_it_enters_and_strikes_watchers(stage, guarded):
    ref, _ = stage.scribe()
    watcher, other = InboxRef("watcher"), InboxRef("other")
    guarded.tell(WatchActor(ref.address, watcher))
    guarded.tell(WatchActor(ref.address, other))
    guarded.tell(UnwatchActor(ref.address, other))
    ref.stop()
    stage.turn()
    assert watcher.messages == [Terminated(ref, TerminationReason.STOPPED)]
    assert other.messages == []
    guarded.tell(UnwatchActor(ref.address, watcher))


def test_it_tells_at_once_that_an_actor_has_ended(guarded):
    watcher = InboxRef("watcher")
    guarded.tell(WatchActor(Address("here", 77, "gone"), watcher))
    (ended,) = watcher.messages
    assert (ended.ref.address.number, ended.reason) == (77, TerminationReason.UNKNOWN)


def test_it_is_told_the_end_of_a_node_that_has_no_link_to_here(stage, guarded):
    watcher, book = stage.scribe(name="watcher")
    far = stage.node.resolve(Address("there", 3, "far"))
    answers = []
    stage.do(watcher, lambda actor: actor.context.watch(far))
    stage.do(watcher, lambda actor: actor.context.ask(far, "?", then=answers.append))
    guarded.tell(NodeGone("elsewhere", "elsewhere is gone"))
    assert book == answers == []
    guarded.tell(NodeGone("there", "there is gone"))
    stage.turn()
    assert book == [Terminated(far, TerminationReason.NODE_LOST, "there is gone")]
    assert [repr(answer) for answer in answers] == ["NodeUnreachableError('there is gone')"]
