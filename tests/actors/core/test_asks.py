"""Requests, their answers and their deadlines."""

from __future__ import annotations

import pytest

from actors import (
    ActorFailedError,
    ActorsError,
    ActorStoppedError,
    AskTimeoutError,
    DeadLetterReason,
    ForkedProcessError,
    MailboxFullError,
    SystemClosedError,
    WouldDeadlockError,
)
from actors.core.asks import _TIMEOUT_CLASSES
from actors.messages import Envelope, Reply
from actors.ref import Address
from tests.actors.core.stage import Crash, Do, Note

FOREVER = Do(lambda actor: actor.context.defer_reply())


def ask(stage, pair, message, timeout_s=5.0):
    """Have the first of the pair ask the second; return the list that its answers go to."""
    answers = []
    ref, other = pair
    stage.do(ref, lambda actor: actor.context.ask(other, message, answers.append, timeout_s))
    return answers


@pytest.fixture
def pair(stage):
    return stage.scribe(name="asker")[0], stage.scribe(name="asked")[0]


# --- between actors ------------------------------------------------------------------------------


def test_an_ask_gets_its_reply(stage, pair):
    assert ask(stage, pair, Do(lambda actor: actor.context.reply(42))) == [42]
    assert len(stage.node.asks) == 0


def test_an_ask_of_an_actor_that_fails_gets_the_failure(stage, pair):
    (error,) = ask(stage, pair, Crash(ValueError("ouch")))
    assert isinstance(error, ActorFailedError)


def test_an_ask_of_an_actor_that_has_ended_fails_at_once(stage, pair):
    pair[1].stop()
    stage.turn()
    (error,) = ask(stage, pair, Note("hi"))
    assert isinstance(error, ActorStoppedError)


def test_an_open_ask_fails_when_the_asked_ends(stage, pair):
    answers = ask(stage, pair, FOREVER)
    pair[1].stop()
    stage.turn()
    assert isinstance(answers[0], ActorStoppedError)


def test_an_ask_that_waits_in_the_mailbox_of_an_actor_that_ends_fails(stage, pair):
    pair[1].tell(Do(lambda actor: actor.context.stop()))
    (error,) = ask(stage, pair, Note("too late"))
    assert isinstance(error, ActorStoppedError)


def test_an_ask_to_a_full_mailbox_fails_at_once(stage):
    asker = stage.scribe()[0]
    asked = stage.scribe(mailbox_size=1, name="tiny")[0]
    answers = []

    def fill_and_ask(actor):
        actor.context.tell(asked, Note("fills it"))
        actor.context.ask(asked, Note("too much"), answers.append)

    stage.do(asker, fill_and_ask)
    assert isinstance(answers[0], MailboxFullError)
    assert str(answers[0]) == "the mailbox of actor tiny is full (1 messages)"


def test_an_ask_without_an_answer_in_time_ends_with_an_error(stage, pair):
    answers = ask(stage, pair, FOREVER, timeout_s=2.0)
    stage.advance(1.99)
    assert answers == []
    stage.advance(0.02)
    (error,) = answers
    assert isinstance(error, AskTimeoutError)
    assert str(error).startswith("actor asked on here did not answer in time")


def test_a_reply_after_the_deadline_is_a_dead_letter(stage, pair):
    kept = []
    message = Do(lambda actor: kept.append(actor.context.defer_reply()))
    answers = ask(stage, pair, message, timeout_s=2.0)
    stage.advance(2.0)
    kept[0].send("too late")
    stage.turn()
    assert len(answers) == 1
    assert stage.dead == [("too late", DeadLetterReason.LATE_REPLY)]


def test_a_reply_that_has_arrived_comes_before_the_deadline(stage, pair):
    kept = []
    message = Do(lambda actor: kept.append(actor.context.defer_reply()))
    answers = ask(stage, pair, message, timeout_s=2.0)
    stage.clock.advance(10.0)
    kept[0].send("just in time")
    stage.turn()
    assert answers == ["just in time"]


def test_an_ask_is_forgotten_with_the_actor_that_made_it(stage, pair):
    answers = ask(stage, pair, FOREVER)
    pair[0].stop()
    stage.turn()
    assert len(stage.node.asks) == 0
    stage.advance(10.0)
    assert answers == []


@pytest.mark.parametrize("timeout_s", [0, -1.0])
def test_an_ask_has_a_deadline_in_the_future(stage, pair, timeout_s):
    with pytest.raises(ValueError, match="the timeout of an ask must be > 0"):
        stage.node.asks.open(None, timeout_s, 0.0)


def test_deadlines_of_different_length_pass_in_their_order(stage, pair):
    order = []

    def ask_three(actor):
        for timeout_s in (3.0, 1.0, 2.0):
            actor.context.ask(pair[1], FOREVER, lambda _, t=timeout_s: order.append(t), timeout_s)

    stage.do(pair[0], ask_three)
    for due_s in (1.0, 2.0, 3.0):
        assert stage.node.next_event_s() == due_s
        stage.advance(due_s - stage.clock.now())
    assert order == [1.0, 2.0, 3.0]
    assert stage.node.next_event_s() is None


def test_the_next_event_is_the_sooner_of_timer_and_deadline(stage, pair):
    ask(stage, pair, FOREVER, timeout_s=2.0)
    assert stage.node.next_event_s() == 2.0
    stage.do(pair[0], lambda actor: actor.context.start_timer("key", 1.0, Note("timer")))
    assert stage.node.next_event_s() == 1.0


def test_closed_asks_leave_no_deadline_behind(stage, pair):
    kept = []
    message = Do(lambda actor: kept.append(actor.context.defer_reply()))
    for number in range(10 * _TIMEOUT_CLASSES):
        for _ in range(2):
            ask(stage, pair, message, timeout_s=1.0 + number)
    assert stage.node.next_event_s() == 1.0
    for reply in kept:
        reply.send(None)
    stage.turn()
    assert stage.node.next_event_s() is None
    assert len(stage.node.asks._deadlines) <= _TIMEOUT_CLASSES


def test_deadlines_of_closed_asks_are_skipped(stage, pair):
    kept = []
    message = Do(lambda actor: kept.append(actor.context.defer_reply()))
    first, second, third = [ask(stage, pair, message, timeout_s=1.0) for _ in range(3)]
    assert stage.node.next_event_s() == 1.0
    kept[0].send("first")
    kept[2].send("third")
    stage.turn()
    stage.advance(1.0)
    assert (first, third) == (["first"], ["third"])
    assert isinstance(second[0], AskTimeoutError)
    assert stage.node.next_event_s() is None


# --- from outside of actors ----------------------------------------------------------------------


def test_a_thread_is_woken_with_the_reply_at_the_end_of_the_turn(stage, pair):
    future = pair[1].ask(Do(lambda actor: actor.context.reply(42)))
    stage.node.run_ready()
    assert not future.done()
    stage.node.wake_waiters()
    assert future.result(0) == 42


def test_waiting_on_the_nodes_own_thread_is_refused(stage, pair):
    future = pair[1].ask(FOREVER)
    with pytest.raises(WouldDeadlockError):
        future.result(0)


def test_a_thread_whose_deadline_passes_is_woken_with_an_error(stage, pair):
    future = pair[1].ask(FOREVER, timeout=1.0)
    stage.turn()
    stage.advance(1.0)
    assert isinstance(future.exception(0), AskTimeoutError)


def test_a_reply_to_a_thread_after_its_deadline_is_a_dead_letter(stage, pair):
    kept = []
    future = pair[1].ask(Do(lambda actor: kept.append(actor.context.defer_reply())), timeout=1.0)
    stage.turn()
    stage.advance(1.0)
    assert future.done()
    kept[0].send("too late")
    assert stage.dead == [("too late", DeadLetterReason.LATE_REPLY)]


def test_an_answer_wakes_a_node_that_sleeps(stage, pair):
    kept = []
    future = pair[1].ask(Do(lambda actor: kept.append(actor.context.defer_reply())))
    stage.turn()
    stage.node.sleeping = True
    wakes = stage.wakes
    kept[0].send("answer")
    assert stage.wakes == wakes + 1
    stage.turn()
    assert future.result(0) == "answer"


def test_a_thread_cannot_be_told_or_asked_or_stopped(stage):
    outside = stage.node.outside
    outside.deliver(Envelope("hello", None))
    outside.stop()
    assert stage.dead == [("hello", DeadLetterReason.LATE_REPLY)]
    with pytest.raises(ActorsError, match="cannot be asked"):
        outside.ask("hello")


def test_an_ask_of_a_closed_node_is_refused(stage, pair):
    stage.node.closed = True
    with pytest.raises(SystemClosedError):
        pair[1].ask(Note("hi"))


def test_an_ask_in_a_fork_of_the_process_is_refused(stage, pair):
    stage.node.abandoned = True
    with pytest.raises(ForkedProcessError, match="a fork of the one that owns node here"):
        pair[1].ask(Note("hi"))


def test_open_asks_of_threads_end_when_the_node_closes(stage, pair):
    future = pair[1].ask(FOREVER)
    actors_own = ask(stage, pair, FOREVER)
    late = pair[1].ask(Note("not handled any more"))
    pair[0].tell(Note("neither is this"))
    stage.node.stop_all()
    stage.node.closed = True
    stage.node.drain()
    for ended in (future, late):
        assert isinstance(ended.exception(0), ActorStoppedError | SystemClosedError)
    assert len(actors_own) == 0
    assert len(stage.node.asks) == 0
    assert (Note("neither is this"), DeadLetterReason.STOPPED) in stage.dead


def test_an_ask_that_nobody_can_answer_any_more_ends_when_the_node_closes(stage):
    stage.node.outgoing.clear()
    gone = stage.node.resolve(Address("elsewhere", 5, "far"))
    future = gone.ask(Note("hi"))
    stage.node.closed = True
    stage.node.drain()
    assert isinstance(future.exception(0), SystemClosedError)


def test_a_message_to_a_closed_node_ends_as_a_dead_letter(stage, pair):
    stage.node.stop_all()
    stage.node.closed = True
    pair[0].tell(Note("too late"))
    assert (Note("too late"), DeadLetterReason.STOPPED) in stage.dead


def test_a_late_deadline_that_crosses_a_reply_in_the_mailbox_changes_nothing(stage, pair):
    kept = []
    message = Do(lambda actor: kept.append(actor.context.defer_reply()))
    answers = ask(stage, pair, message, timeout_s=2.0)
    kept[0].send("on the way")
    stage.clock.advance(2.0)
    stage.node.fire()  # the reply waits in the mailbox
    stage.turn()
    assert answers == ["on the way"]


def test_a_reply_is_taken_by_a_full_mailbox(stage):
    asker = stage.scribe(mailbox_size=1)[0]
    asked = stage.scribe()[0]
    answers = []

    def ask_many(actor):
        for _ in range(5):
            actor.context.ask(asked, Do(lambda other: other.context.reply("yes")), answers.append)

    stage.do(asker, ask_many)
    assert answers == ["yes"] * 5
    asker.deliver(Envelope(Note("fills it")))
    asker.deliver(Reply(99, "late"))
    assert asker.cell.mailbox.rejected == 0
