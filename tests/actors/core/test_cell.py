"""The life of one actor."""

from __future__ import annotations

import gc
import logging
import weakref

import pytest

from actors import (
    Actor,
    ActorFailedError,
    ActorStoppedError,
    DeadLetterReason,
    Restart,
    Terminated,
    TerminationReason,
    handles,
)
from actors.core.cell import CellState
from actors.limits import MESSAGES_PER_RUN, SLOW_HANDLER_S
from actors.messages import Envelope, Reply
from actors.testkit import InboxRef
from tests.actors.core.stage import Crash, Do, Note, Scribe, Turning


class Boom(Exception):
    """What the actors here raise."""


# --- messages ------------------------------------------------------------------------------------


def test_messages_are_handled_in_order(stage):
    ref, book = stage.scribe()
    for text in "abc":
        ref.tell(Note(text))
    assert book == []
    stage.turn()
    assert book == ["a", "b", "c"]


def test_one_run_handles_a_bounded_number_of_messages(stage):
    ref, book = stage.scribe()
    for number in range(MESSAGES_PER_RUN + 1):
        ref.tell(Note(str(number)))
    ref.cell.run()
    assert len(book) == MESSAGES_PER_RUN
    assert ref.cell.scheduled
    stage.turn()
    assert len(book) == MESSAGES_PER_RUN + 1


def test_what_arrives_during_a_run_is_handled_in_the_next(stage):
    ref, book = stage.scribe()
    ref.tell(Do(lambda actor: actor.context.tell(ref, Note("to myself"))))
    ref.cell.run()
    assert book == []
    stage.turn()
    assert book == ["to myself"]


def test_the_end_of_a_run_is_told_once_however_many_messages_came(stage):
    book = []
    ref = stage.spawn(Turning, book)
    stage.turn()
    assert book == ["start", "end of turn"]
    ref.tell(Note("a"))
    ref.tell(Note("b"))
    stage.turn()
    assert book[2:] == ["a", "b", "end of turn"]


def test_a_message_without_a_handler_is_a_dead_letter(stage):
    ref, _ = stage.scribe()
    ref.tell("nobody knows me")
    stage.turn()
    assert stage.dead == [("nobody knows me", DeadLetterReason.UNHANDLED)]


def test_a_request_without_a_handler_is_answered_with_an_error(stage):
    ref, _ = stage.scribe()
    asker = Answers()
    ref.deliver(Envelope(7, asker, 1))
    stage.turn()
    (error,) = asker.answers
    assert isinstance(error, ActorFailedError)
    assert str(error) == "Scribe has no handler for int"


def test_handles_object_takes_what_no_other_handler_takes(stage):
    class Anything(Scribe):
        @handles(object)
        def on_anything(self, message: object) -> None:
            self.book.append(("anything", message))

    book = []
    ref = stage.spawn(Anything, book)
    ref.tell(Note("mine"))
    ref.tell(7)
    stage.turn()
    assert book == ["start", "mine", ("anything", 7)]


def test_the_sender_is_named_and_only_during_its_message(stage):
    first, _ = stage.scribe(name="first")
    second, book = stage.scribe()
    note = Do(lambda actor: book.append(actor.context.sender))
    stage.do(first, lambda actor: actor.context.tell(second, note))
    second.tell(note)
    stage.turn()
    assert book == [first, None]


def test_a_slow_handler_is_named_in_a_warning(stage, caplog):
    ref, _ = stage.scribe(name="sloth")
    stage.do(ref, lambda _: stage.clock.advance(SLOW_HANDLER_S / 2))
    assert caplog.text == ""
    stage.do(ref, lambda _: stage.clock.advance(SLOW_HANDLER_S * 2))
    assert "actor sloth took 0.200 s to handle Do" in caplog.text


def test_the_counters_of_the_mailbox_say_what_was_handled(stage):
    ref, _ = stage.scribe()
    for _ in range(3):
        ref.tell(Note("x"))
    ref.tell(Do(lambda actor: actor.context.stop()))
    ref.tell(Note("too late"))
    assert ref.cell.mailbox.statistics().waiting == 5
    stage.turn()
    statistics = ref.cell.mailbox.statistics()
    assert (statistics.handled, statistics.waiting, statistics.peak) == (4, 0, 5)


# --- replies -------------------------------------------------------------------------------------


class Answers(InboxRef):
    """A ref that keeps the replies it gets."""

    __slots__ = ("answers",)

    def __init__(self) -> None:
        super().__init__("asker")
        self.answers = []

    def deliver(self, envelope) -> None:
        if isinstance(envelope, Reply):
            self.answers.append(envelope.message)
        else:
            super().deliver(envelope)


def request(stage, ref, function) -> Answers:
    """Ask `ref` to do something."""
    asker = Answers()
    ref.deliver(Envelope(Do(function), asker, 1))
    stage.turn()
    return asker


def test_a_request_is_answered_once(stage):
    ref, _ = stage.scribe()

    def reply_twice(actor):
        actor.context.reply("first")
        actor.context.reply("second")

    assert request(stage, ref, reply_twice).answers == ["first"]


def test_a_handler_that_says_nothing_answers_none(stage):
    ref, _ = stage.scribe()
    assert request(stage, ref, lambda _: None).answers == [None]


def test_a_reply_to_a_tell_is_ignored(stage):
    ref, _ = stage.scribe()
    stage.do(ref, lambda actor: actor.context.reply("nobody asked"))
    assert stage.dead == []


def test_an_answer_can_be_given_later_and_once(stage):
    ref, _ = stage.scribe()
    kept = []
    asker = request(stage, ref, lambda actor: kept.append(actor.context.defer_reply()))
    assert asker.answers == []
    kept[0].send("later")
    kept[0].send("again")
    kept[0].fail(ActorStoppedError("no"))
    assert asker.answers == ["later"]
    assert ref.cell.deferred == {}


def test_an_answer_can_be_an_error(stage):
    ref, _ = stage.scribe()
    error = ActorStoppedError("no")
    asker = request(stage, ref, lambda actor: actor.context.defer_reply().fail(error))
    assert asker.answers == [error]


def test_deferring_the_answer_to_a_tell_leads_nowhere(stage):
    ref, _ = stage.scribe()
    stage.do(ref, lambda actor: actor.context.defer_reply().send("nobody asked"))
    assert stage.dead == []


def test_the_answer_can_be_deferred_once_only(stage):
    ref, _ = stage.scribe()

    def defer_twice(actor):
        first, second = actor.context.defer_reply(), actor.context.defer_reply()
        second.send("second")
        first.send("first")

    assert request(stage, ref, defer_twice).answers == ["first"]


def test_answers_still_owed_at_the_end_are_errors(stage):
    ref, _ = stage.scribe(name="debtor")
    asker = request(stage, ref, lambda actor: actor.context.defer_reply())
    ref.stop()
    stage.turn()
    (error,) = asker.answers
    assert isinstance(error, ActorStoppedError)
    assert str(error) == "actor debtor has stopped"


# --- stop ----------------------------------------------------------------------------------------


def test_a_stop_overtakes_the_messages_that_wait(stage):
    ref, book = stage.scribe()
    ref.tell(Note("too late"))
    ref.stop()
    ref.stop()
    stage.turn()
    assert book == ["stop"]
    assert stage.dead == [(Note("too late"), DeadLetterReason.STOPPED)]
    assert ref.cell.state is CellState.STOPPED


def test_an_actor_that_stops_itself_finishes_its_message(stage):
    ref, book = stage.scribe()

    def stop(actor):
        actor.context.stop()
        actor.book.append("last words")

    ref.tell(Do(stop))
    ref.tell(Note("too late"))
    stage.turn()
    assert book == ["last words", "stop"]


def test_a_request_to_an_actor_that_has_ended_is_an_error_at_once(stage):
    ref, _ = stage.scribe(name="late")
    ref.stop()
    stage.turn()
    asker = request(stage, ref, lambda _: None)
    assert isinstance(asker.answers[0], ActorStoppedError)
    assert stage.node.dead_letters.count == 1


def test_the_ends_of_an_ended_actor_change_nothing(stage):
    ref, book = stage.scribe()
    ref.cell.terminate()
    ref.cell.terminate()
    ref.stop()
    stage.turn()
    assert book == ["stop"]


def test_a_failing_on_stop_is_the_cause_of_the_end(stage, caplog):
    class Sore(Scribe):
        def on_stop(self) -> None:
            raise Boom("sore")

    watcher, book = stage.scribe()
    ref = stage.spawn(Sore, [])
    stage.do(watcher, lambda actor: actor.context.watch(ref))
    ref.stop()
    stage.turn()
    assert book == [Terminated(ref, TerminationReason.FAILED, "Boom('sore')")]
    assert "failed in on_stop" in caplog.text


def test_an_ended_actor_is_let_go_though_its_ref_is_kept(stage):
    ref, _ = stage.scribe()
    actor = weakref.ref(ref.cell.actor)
    ref.stop()
    stage.turn()
    gc.collect()
    assert actor() is None


# --- children ------------------------------------------------------------------------------------


def test_children_end_before_their_parent_and_the_youngest_first(stage):
    parent, book = stage.scribe()

    def spawn(actor):
        for name in ("older", "younger"):
            actor.context.spawn(Named, actor.book, name, name=name)

    stage.do(parent, spawn)
    parent.stop()
    stage.turn()
    assert book == ["older starts", "younger starts", "younger stops", "older stops", "stop"]
    assert stage.node.cells == {}
    assert stage.node.names == {}


class Named(Actor):
    def __init__(self, book, name) -> None:
        self.book, self.name = book, name

    def on_start(self) -> None:
        self.book.append(f"{self.name} starts")

    def on_stop(self) -> None:
        self.book.append(f"{self.name} stops")


def test_a_child_that_ends_by_itself_is_struck_from_its_parent(stage):
    parent, book = stage.scribe()
    children = []
    stage.do(parent, lambda actor: children.append(actor.context.spawn(Scribe, [])))
    stage.do(parent, lambda actor: actor.context.stop(children[0]))
    assert parent.cell.children == {}
    parent.stop()
    stage.turn()
    assert book == ["stop"]


# --- failure -------------------------------------------------------------------------------------


def test_an_actor_that_raises_is_stopped_and_its_watcher_told_the_cause(stage, caplog):
    watcher, book = stage.scribe()
    ref, other = stage.scribe(name="fragile")
    stage.do(watcher, lambda actor: actor.context.watch(ref))
    ref.tell(Crash(Boom("ouch")))
    ref.tell(Note("too late"))
    stage.turn()
    assert book == [Terminated(ref, TerminationReason.FAILED, "Boom('ouch')")]
    assert other == ["stop"]
    assert "actor fragile failed and is stopped: Boom('ouch')" in caplog.text
    assert stage.dead == [(Note("too late"), DeadLetterReason.STOPPED)]


def test_who_asked_is_told_the_failure_with_its_traceback(stage):
    ref, _ = stage.scribe()
    asker = Answers()
    ref.deliver(Envelope(Crash(Boom("ouch")), asker, 1))
    stage.turn()
    (error,) = asker.answers
    assert isinstance(error, ActorFailedError)
    assert error.cause == "Boom('ouch')"
    assert "on_crash" in error.traceback_text


def test_who_was_answered_before_the_failure_is_not_answered_again(stage):
    ref, _ = stage.scribe()

    def reply_and_raise(actor):
        actor.context.reply("fine")
        raise Boom

    assert request(stage, ref, reply_and_raise).answers == ["fine"]


def test_requests_to_an_actor_that_failed_name_the_cause(stage):
    ref, _ = stage.scribe(name="fragile")
    ref.tell(Crash(Boom("ouch")))
    asker = request(stage, ref, lambda _: None)
    assert str(asker.answers[0]) == "actor fragile has stopped: Boom('ouch')"


def test_an_error_whose_repr_fails_does_not_hurt_the_node(stage, caplog):
    class Nasty(Exception):
        def __repr__(self) -> str:
            raise ValueError("no repr")

    watcher, book = stage.scribe()
    ref, _ = stage.scribe()
    stage.do(watcher, lambda actor: actor.context.watch(ref))
    caplog.set_level(logging.CRITICAL)
    ref.tell(Crash(Nasty()))
    stage.turn()
    assert book[0].cause.endswith("Nasty whose repr fails>")


def test_a_failing_end_of_turn_is_a_failure(stage):
    class Weary(Scribe):
        def end_of_turn(self) -> None:
            if "work" in self.book:
                raise Boom("weary")

    watcher, book = stage.scribe()
    ref = stage.spawn(Weary, [])
    stage.do(watcher, lambda actor: actor.context.watch(ref))
    ref.tell(Note("work"))
    stage.turn()
    assert book == [Terminated(ref, TerminationReason.FAILED, "Boom('weary')")]


def test_a_failing_callback_of_an_ask_is_a_failure(stage):
    ref, _ = stage.scribe()
    other, _ = stage.scribe()

    def ask(actor):
        actor.context.ask(other, Note("hi"), then=lambda _: 1 / 0)

    stage.do(ref, ask)
    assert ref.cell.cause == "ZeroDivisionError('division by zero')"


# --- restart -------------------------------------------------------------------------------------


def test_a_restarted_actor_goes_on_with_the_next_message(stage):
    ref, book = stage.scribe(supervision=Restart())
    before = ref.cell.actor
    ref.tell(Crash(Boom()))
    ref.tell(Note("next"))
    stage.turn()
    assert book == ["start", "next"]
    assert ref.cell.actor is not before


def test_a_restart_lets_go_what_the_old_instance_held(stage):
    ref, _ = stage.scribe(supervision=Restart())
    friend, friends_book = stage.scribe()
    asker = Answers()
    replies = []

    def hold(actor):
        actor.context.defer_reply()
        actor.context.spawn(Scribe, friends_book, name="child")
        actor.context.start_timer("key", 1.0, Note("too late"))
        actor.context.watch(friend)
        actor.context.ask(friend, Do(lambda other: other.context.defer_reply()), replies.append)

    ref.deliver(Envelope(Do(hold), asker, 1))
    stage.turn()
    ref.tell(Crash(Boom()))
    stage.turn()
    assert isinstance(asker.answers[0], ActorStoppedError)
    assert friends_book == ["start", "stop"]
    cell = ref.cell
    assert (cell.children, cell.timers, cell.watching, cell.deferred) == ({}, {}, {}, {})
    assert friend.cell.watchers == {}
    stage.advance(100.0)
    assert replies == []


def test_an_actor_that_fails_too_often_is_stopped(stage):
    ref, book = stage.scribe(supervision=Restart(times=2, within_s=10.0))
    for _ in range(3):
        ref.tell(Crash(Boom()))
        stage.turn()
    assert book == ["start", "start", "stop"]
    assert ref.cell.reason is TerminationReason.FAILED


def test_failures_far_apart_do_not_add_up(stage):
    ref, book = stage.scribe(supervision=Restart(times=2, within_s=10.0))
    for _ in range(20):
        ref.tell(Crash(Boom()))
        stage.advance(6.0)
    assert book == ["start"] * 20


def test_a_start_that_keeps_failing_in_a_restart_ends_the_actor(stage):
    starts = []

    def start(_):
        starts.append(1)
        if len(starts) > 1:
            raise Boom("again")

    book = []
    ref = stage.spawn(Scribe, book, start, supervision=Restart(times=5_000))
    ref.tell(Crash(Boom("first")))
    stage.turn()
    assert len(starts) == 1 + 5_000, "and no recursion that deep"
    assert ref.cell.cause == "Boom('again')"
    assert book[-1] == "stop"


def test_a_start_that_fails_once_in_a_restart_is_tried_again(stage):
    starts = []

    def start(_):
        starts.append(1)
        if len(starts) == 2:
            raise Boom("just once")

    book = []
    ref = stage.spawn(Scribe, book, start, supervision=Restart())
    ref.tell(Crash(Boom("first")))
    ref.tell(Note("next"))
    stage.turn()
    assert book == ["start", "start", "start", "next"]


# --- replies to the actor's own asks -------------------------------------------------------------


def test_the_callback_of_an_ask_has_no_sender(stage):
    ref, book = stage.scribe()
    friend, _ = stage.scribe()
    tell_first = Do(lambda other: other.context.tell(ref, Note("before the reply")))

    def ask(actor):
        actor.context.ask(friend, tell_first, lambda _: book.append(actor.context.sender))

    stage.do(ref, ask)
    assert book == ["before the reply", None], "both in one run"


def test_a_reply_that_nobody_waits_for_is_a_dead_letter(stage):
    ref, _ = stage.scribe()
    ref.deliver(Reply(77, "too late"))
    stage.turn()
    assert stage.dead == [("too late", DeadLetterReason.LATE_REPLY)]


@pytest.mark.parametrize("size", [0, -1])
def test_a_mailbox_holds_at_least_one_message(stage, size):
    with pytest.raises(ValueError, match="mailbox_size must be at least 1"):
        stage.scribe(mailbox_size=size)
