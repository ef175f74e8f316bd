"""The actors of one node together: names, starts, mailboxes that are full, dead letters."""

from __future__ import annotations

import pickle
import weakref
from collections import deque
from typing import Any

import pytest

from actors import (
    ActorsError,
    DeadLetter,
    DeadLetterReason,
    LocalMessage,
    NodeUnreachableError,
    Terminated,
)
from actors.core.guardian import StopActor, guardian_address
from actors.core.refs import CURRENT_NODE, LocalRef, RemoteRef
from actors.limits import RUNS_PER_TURN
from actors.messages import Envelope, Reply
from actors.ref import Address
from actors.testkit import InboxRef
from tests.actors.core.stage import Do, Note, Scribe

# --- spawn ---------------------------------------------------------------------------------------


def test_an_actor_is_named_by_its_class_and_number_unless_told(stage):
    assert stage.spawn(Scribe, []).name == "scribe-1"
    assert stage.spawn(Scribe, [], name="anna").name == "anna"


def test_a_name_is_given_once_and_is_free_again_after_the_end(stage):
    ref, _ = stage.scribe(name="anna")
    with pytest.raises(ValueError, match="node here already has an actor named 'anna'"):
        stage.scribe(name="anna")
    ref.stop()
    stage.turn()
    again, _ = stage.scribe(name="anna")
    assert again != ref, "an address means one actor"


def test_what_the_constructor_raises_goes_to_who_spawned(stage):
    with pytest.raises(TypeError):
        stage.spawn(Scribe)
    assert stage.node.cells == {}
    assert stage.node.names == {}


def test_a_start_that_fails_leaves_nothing_behind(stage):
    friend, _ = stage.scribe()
    childs_book, answers = [], []

    def start(actor):
        context = actor.context
        context.spawn(Scribe, childs_book, name="child")
        context.start_timer("key", 1.0, Note("never"))
        context.watch(friend)
        context.ask(friend, Note("hi"), answers.append)
        context.tell(context.self_ref, Note("to myself"))
        raise OSError("no room")

    book = []
    with pytest.raises(OSError, match="no room"):
        stage.spawn(Scribe, book, start, name="anna")
    stage.advance(100.0)
    assert book == ["start"]
    assert childs_book == ["start", "stop"]
    assert answers == []
    assert list(stage.node.names) == [friend.name]
    assert friend.cell.watchers == {}
    assert stage.node.next_event_s() is None
    assert (Note("to myself"), DeadLetterReason.STOPPED) in stage.dead


def test_all_actors_end_the_youngest_first(stage):
    book = []
    for name in "abc":
        stage.spawn(Scribe, book, name=name)
    order = []
    for name, cell in stage.node.names.items():
        cell.actor.on_stop = lambda name=name: order.append(name)
    stage.node.stop_all()
    assert order == ["c", "b", "a"]


# --- full mailboxes ------------------------------------------------------------------------------


def test_a_message_too_much_from_an_actor_is_a_dead_letter(stage):
    ref, book = stage.scribe(mailbox_size=2)
    for text in "abc":
        ref.tell(Note(text))
    stage.turn()
    assert book == ["a", "b"]
    assert stage.dead == [(Note("c"), DeadLetterReason.MAILBOX_FULL)]
    assert ref.cell.mailbox.statistics().rejected == 1


@pytest.mark.parametrize("comes", [True, False])
def test_another_thread_waits_for_room(stage, comes):
    ref, book = stage.scribe(mailbox_size=1)
    ref.tell(Note("a"))
    stage.own_thread = False
    stage.room_comes = lambda cell: comes and not cell.run()
    ref.tell(Note("b"))
    stage.own_thread = True
    stage.turn()
    assert book == (["a", "b"] if comes else ["a"])


def test_the_end_of_another_actor_gets_into_a_full_mailbox(stage):
    watcher, book = stage.scribe(mailbox_size=1)
    ref, _ = stage.scribe()
    stage.do(watcher, lambda actor: actor.context.watch(ref))
    watcher.tell(Note("fills it"))
    ref.cell.terminate()
    stage.turn()
    assert [type(entry) for entry in book] == [str, Terminated]


# --- dead letters --------------------------------------------------------------------------------


def test_who_listens_is_told_each_dead_letter(stage):
    listener = InboxRef("listener")
    stage.node.dead_letters.listeners[listener] = None
    ref, _ = stage.scribe(name="anna")
    sender, _ = stage.scribe()
    stage.do(sender, lambda actor: actor.context.tell(ref, 7))
    (letter,) = listener.messages
    assert (letter.message, letter.target, letter.sender) == (7, "anna", sender)
    assert letter.reason is DeadLetterReason.UNHANDLED


class Heavy(LocalMessage, frozen=True):
    load: object

    def remains(self) -> str:
        if self.load is None:
            raise ValueError("nothing")
        return "a load"


class Load:
    pass


def test_a_message_says_what_is_kept_of_it_and_the_rest_goes(stage):
    ref, _ = stage.scribe()
    load = Load()
    gone = weakref.ref(load)
    ref.tell(Heavy(load))
    del load
    stage.turn()
    assert stage.dead == [("a load", DeadLetterReason.UNHANDLED)]
    assert gone() is None


def test_a_message_that_cannot_say_what_is_kept_of_it_is_named(stage):
    ref, _ = stage.scribe()
    ref.tell(Heavy(None))
    stage.turn()
    text = "Heavy, whose remains() raised ValueError('nothing')"
    assert stage.dead == [(text, DeadLetterReason.UNHANDLED)]


def test_a_dead_letter_about_a_dead_letter_is_not_told_on(stage):
    ref, _ = stage.scribe()
    stage.node.dead_letters.listeners[ref] = None
    ref.tell(7)  # `Scribe` handles no `DeadLetter`
    stage.turn()
    assert stage.node.dead_letters.count == 2
    assert [type(letter.message) for letter in stage.node.dead_letters.kept] == [int, DeadLetter]


# --- other nodes ---------------------------------------------------------------------------------


def test_a_message_to_another_node_leaves_with_the_flush(stage):
    far = stage.node.resolve(Address("there", 3, "far"))
    assert isinstance(far, RemoteRef)
    sender, _ = stage.scribe()
    stage.do(sender, lambda actor: actor.context.tell(far, Note("hi")))
    ((address, envelope),) = stage.left
    assert address == far.address
    assert (envelope.message, envelope.sender) == (Note("hi"), sender)


def test_a_message_to_another_node_wakes_a_node_that_sleeps(stage):
    stage.node.sleeping = True
    stage.node.resolve(Address("there", 3, "far")).tell(Note("hi"))
    assert stage.wakes == 1


def test_a_message_to_another_node_after_the_end_goes_nowhere(stage):
    stage.node.closed = True
    stage.node.resolve(Address("there", 3, "far")).tell(Note("hi"))
    assert stage.left == []


def test_stopping_an_actor_of_another_node_asks_its_guardian(stage):
    stage.node.resolve(Address("there", 3, "far")).stop()
    ((address, envelope),) = stage.left
    assert address == guardian_address("there")
    assert envelope.message == StopActor(3)


def test_an_ask_to_a_node_that_is_lost_fails(stage):
    far = stage.node.resolve(Address("there", 3, "far"))
    asker, _ = stage.scribe()
    answers = []
    stage.do(asker, lambda actor: actor.context.ask(far, Note("hi"), answers.append))
    future = far.ask(Note("hi"))
    stage.node.node_lost("elsewhere", NodeUnreachableError("not this one"))
    stage.node.node_lost("there", NodeUnreachableError("node there is gone"))
    stage.turn()
    assert str(answers[0]) == str(future.exception(0)) == "node there is gone"


def test_what_cannot_be_sent_is_a_dead_letter_and_its_asker_is_told(stage):
    error = NodeUnreachableError("gone")
    address = Address("there", 3, "far")
    asker, _ = stage.scribe()
    answers = []
    far = stage.node.resolve(address)
    stage.do(asker, lambda actor: actor.context.ask(far, Note("ask"), answers.append))
    ((_, envelope),) = stage.left
    reason = DeadLetterReason.UNREACHABLE
    stage.node.undeliverable(address, envelope, error, reason)
    stage.node.undeliverable(address, Envelope(Note("tell")), error, reason)
    stage.node.undeliverable(address, Reply(1, Note("reply")), error, reason)
    stage.turn()
    assert answers == [error]
    assert stage.dead == [(Note(text), reason) for text in ("ask", "tell", "reply")]


# --- refs ----------------------------------------------------------------------------------------


def test_an_address_of_this_node_leads_to_the_actor_while_it_lives(stage):
    ref, _ = stage.scribe()
    assert stage.node.resolve(ref.address) is ref
    ref.stop()
    stage.turn()
    assert isinstance(stage.node.resolve(ref.address), RemoteRef)
    assert stage.node.resolve(ref.address) == ref


@pytest.mark.parametrize("kind", [LocalRef, RemoteRef])
def test_a_ref_that_was_pickled_is_resolved_by_the_node_that_opens_it(stage, kind):
    ref, _ = stage.scribe()
    body = pickle.dumps(ref if kind is LocalRef else RemoteRef(ref.address, stage.node))
    with pytest.raises(ActorsError, match="outside of any node"):
        pickle.loads(body)
    token = CURRENT_NODE.set(stage.node)
    try:
        assert pickle.loads(body) is ref
    finally:
        CURRENT_NODE.reset(token)


def test_an_actor_knows_itself_and_the_time(stage):
    ref, book = stage.scribe()
    stage.clock.advance(3.0)
    stage.do(ref, lambda actor: book.extend([actor.context.self_ref, actor.context.now()]))
    assert book == [ref, 3.0]


def test_refs_are_compared_and_hashed_by_their_address(stage):
    ref, _ = stage.scribe(name="anna")
    same = RemoteRef(ref.address, stage.node)
    assert ref == same
    assert hash(ref) == hash(same)
    assert ref != "anna"
    assert repr(ref) == "<ActorRef anna on here>"


def test_a_message_wakes_a_node_that_sleeps_once(stage):
    ref, book = stage.scribe()
    stage.node.sleeping = True
    ref.tell(Note("a"))
    ref.tell(Note("b"))
    assert stage.wakes == 1
    stage.node.sleeping = False
    stage.turn()
    assert book == ["a", "b"]


# --- a turn --------------------------------------------------------------------------------------


def test_what_was_left_for_the_end_of_the_turn_runs_once(stage):
    ref, book = stage.scribe()
    ref.tell(Do(lambda actor: actor.context.after_turn(lambda: book.append("after"))))
    stage.node.run_ready()
    assert book == []
    stage.turn()
    stage.turn()
    assert book == ["after"]


def test_several_threads_may_end_what_reached_a_closed_node(stage):
    class TakenBySomeoneElse(deque[Any]):
        def popleft(self):
            self.clear()
            return super().popleft()

    stage.node.closed = True
    stage.node.ready = TakenBySomeoneElse([stage.scribe()[0].cell])
    stage.node.drain()
    assert not stage.node.ready


def test_actors_that_talk_without_end_do_not_hold_up_a_turn(stage):
    ref, book = stage.scribe()

    def talk(actor):
        actor.book.append(1)
        actor.context.tell(ref, Do(talk))

    ref.tell(Do(talk))
    stage.node.run_ready()
    assert len(book) == RUNS_PER_TURN
    assert stage.node.ready


def test_an_actor_that_was_scheduled_runs_without_a_message(stage):
    ref, _ = stage.scribe()
    stage.node.sleeping = True
    stage.node.schedule(ref.cell)
    stage.node.schedule(ref.cell)
    assert len(stage.node.ready) == 1
    assert stage.wakes == 2
