"""What a user does wrong in a handler costs that actor, and nobody else anything."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors import (
    Actor,
    ActorFailedError,
    ActorStoppedError,
    Restart,
    SystemClosedError,
    Terminated,
    TerminationReason,
    handles,
)
from actors.core.guardian import Guardian, SpawnActor
from tests.actors.core.stage import Crash, Do, Note, Scribe

NAN = float("nan")
TEXT: Any = "x"
EXITS = [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()]


@pytest.fixture(autouse=True)
def out_of_reach_of_ctrl_c(stage):
    """As the thread of a node is."""
    stage.node.interruptible = False


@pytest.fixture
def watched(stage):
    """An actor, and the book of one that watches it."""
    watcher, book = stage.scribe()
    ref, _ = stage.scribe()
    stage.do(watcher, lambda actor: actor.context.watch(ref))
    return ref, book


def leave(_):
    raise SystemExit(3)


def failed(ref, cause):
    return [Terminated(ref, TerminationReason.FAILED, cause)]


# --- what is no Exception ------------------------------------------------------------------------


@pytest.mark.parametrize("error", EXITS, ids=repr)
def test_what_means_more_than_an_actor_ends_only_the_actor(stage, watched, error):
    ref, book = watched
    ref.tell(Crash(error))
    stage.turn()
    stage.turn()
    assert book == failed(ref, repr(error))


def test_the_asker_and_the_log_are_told_what_it_was(stage, caplog):
    ref, _ = stage.scribe()
    future = ref.ask(Do(leave))
    stage.turn()
    error = future.exception(0)
    assert isinstance(error, ActorFailedError)
    assert error.cause == "SystemExit(3)"
    assert "in leave" in error.traceback_text
    (record,) = caplog.records
    assert record.exc_info[1].__cause__.code == 3


def test_an_exit_in_the_callback_of_an_ask_is_a_failure(stage, watched):
    ref, book = watched
    friend, _ = stage.scribe()
    stage.do(ref, lambda actor: actor.context.ask(friend, Note("hi"), leave))
    stage.turn()
    assert book == failed(ref, "SystemExit(3)")


@pytest.mark.parametrize("method", ["end_of_turn", "on_stop"])
def test_an_exit_in_what_the_node_calls_is_a_failure(stage, method):
    leaver = type("Leaver", (Scribe,), {method: leave})
    ref = stage.spawn(leaver, [])
    if method == "on_stop":
        ref.stop()
    stage.turn()
    assert ref.cell.reason is TerminationReason.FAILED
    assert ref.cell.cause == "SystemExit(3)"
    assert stage.node.cells == {}


def test_an_exit_in_a_restart_is_a_failure_of_the_start(stage):
    starts = []

    def start(_):
        starts.append(1)
        if len(starts) > 1:
            raise SystemExit(3)

    ref = stage.spawn(Scribe, [], start, supervision=Restart(times=2))
    ref.tell(Crash(GeneratorExit()))
    stage.turn()
    assert len(starts) == 3
    assert ref.cell.cause == "SystemExit(3)"


def test_an_exit_at_the_start_reaches_who_spawned_as_a_failure(stage):
    with pytest.raises(ActorFailedError, match=r"SystemExit\(3\)") as raised:
        stage.spawn(Scribe, [], leave)
    assert isinstance(raised.value.__cause__, SystemExit)
    assert stage.node.cells == {}
    guardian = stage.spawn(Guardian, stage.node, lambda: None)
    before = guardian.cell.actor
    future = guardian.ask(SpawnActor(Scribe, ([], leave), {}, None, Restart(), None))
    stage.turn()
    assert isinstance(future.exception(0), ActorFailedError)
    assert guardian.cell.actor is before, "it is no failure of the guardian"


def test_a_supervised_actor_is_restarted_after_an_exit(stage):
    ref, book = stage.scribe(supervision=Restart())
    ref.tell(Do(leave))
    ref.tell(Note("next"))
    stage.turn()
    assert book == ["start", "next"]


def test_ctrl_c_passes_in_a_thread_that_it_reaches(stage):
    stage.node.interruptible = True
    ref, _ = stage.scribe()
    ref.tell(Crash(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        stage.turn()
    ref.tell(Crash(SystemExit(3)))
    stage.node.schedule(ref.cell)
    stage.turn()
    assert ref.cell.cause == "SystemExit(3)"


def test_a_message_whose_type_cannot_be_hashed_is_a_failure(stage, watched):
    ref, book = watched

    class Meta(type):
        def __hash__(self) -> int:
            raise RuntimeError("no hash")

    class Odd(metaclass=Meta):
        pass

    ref.tell(Odd())
    future = ref.ask(Odd())
    stage.turn()
    stage.turn()
    assert book == failed(ref, "RuntimeError('no hash')")
    assert isinstance(future.exception(0), ActorStoppedError)
    other, _ = stage.scribe()
    future = other.ask(Odd())
    stage.turn()
    assert isinstance(future.exception(0), ActorFailedError)


# --- after_turn ----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("late"), SystemExit(3)], ids=repr)
def test_what_was_left_for_the_end_of_the_turn_fails_its_actor_only(stage, watched, error):
    ref, book = watched
    other, others_book = stage.scribe()

    def fail():
        raise error

    ref.tell(Do(lambda actor: actor.context.after_turn(fail)))
    other.tell(Do(lambda actor: actor.context.after_turn(lambda: others_book.append("after"))))
    stage.turn()
    stage.turn()
    assert others_book == ["after"]
    assert book == failed(ref, repr(error))


def test_a_supervised_actor_is_restarted_after_a_failed_after_turn(stage):
    ref, book = stage.scribe(supervision=Restart(times=1))
    for _ in range(2):
        stage.do(ref, lambda actor: actor.context.after_turn(lambda: 1 / 0))
        ref.tell(Note("next"))
        stage.turn()
    assert book == ["start", "next", "stop"]


def test_an_after_turn_of_an_actor_that_has_stopped_is_logged(stage, caplog):
    ref, book = stage.scribe(supervision=Restart())

    def leave_twice(actor):
        actor.context.after_turn(lambda: 1 / 0)
        actor.context.stop()

    stage.do(ref, leave_twice)
    assert book == ["stop"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "stopped actor scribe-1 failed in after_turn" in caplog.text


# --- arguments of a wrong type -------------------------------------------------------------------

MISTAKES = {
    "watch": (lambda c: c.watch("anna"), TypeError, "ref must be an ActorRef, got 'anna'"),
    "unwatch": (lambda c: c.unwatch(3), TypeError, "ref must be an ActorRef, got 3"),
    "stop": (lambda c: c.stop(""), TypeError, "ref must be an ActorRef, got ''"),
    "after_turn": (lambda c: c.after_turn(None), TypeError, "callback must be callable"),
    "complex": (lambda c: c.start_timer("a", 1j, 0), TypeError, "delay_s must be a number"),
    "text": (lambda c: c.start_timer("a", "5", 0), TypeError, "delay_s must be a number"),
    "nan": (lambda c: c.start_timer("a", NAN, 0), ValueError, "delay_s must be >= 0 .* got nan"),
    "negative": (lambda c: c.start_timer("a", -1, 0), ValueError, "delay_s must be >= 0"),
    "key": (lambda c: c.start_timer([], 1.0, 0), TypeError, r"key must be hashable, got \[\]"),
    "cancel": (lambda c: c.cancel_timer([]), TypeError, "key must be hashable"),
    "class": (lambda c: c.spawn(int), TypeError, "actor_class must be a subclass of Actor"),
    "instance": (lambda c: c.spawn(Actor()), TypeError, "actor_class must be a subclass of Actor"),
    "name": (lambda c: c.spawn(Actor, name=3), TypeError, "name must be a string or None, got 3"),
    "size": (lambda c: c.spawn(Actor, mailbox_size="x"), TypeError, "mailbox_size must be an int"),
    "rule": (lambda c: c.spawn(Actor, supervision=3), TypeError, "supervision must be a Stop or"),
    "times": (
        lambda c: c.spawn(Actor, supervision=Restart(times=TEXT)),
        TypeError,
        r"of a Restart must be numbers, got Restart\(times='x'",
    ),
    "within": (
        lambda c: c.spawn(Actor, supervision=Restart(within_s=NAN)),
        ValueError,
        "of a Restart must be >= 0",
    ),
    "tell": (lambda c: c.tell(None, 1), AttributeError, "deliver"),
    "ask": (lambda c: c.ask(None, 1, print), AttributeError, "address"),
}


@pytest.mark.parametrize(("call", "error", "text"), MISTAKES.values(), ids=MISTAKES)
def test_an_argument_of_a_wrong_type_is_named_and_nothing_is_done(stage, call, error, text):
    ref, book = stage.scribe()

    def do(actor):
        with pytest.raises(error, match=text):
            call(actor.context)
        actor.book.append("caught")

    stage.do(ref, do)
    cell, node = ref.cell, stage.node
    assert book == ["caught"]
    assert (cell.watching, cell.timers, cell.children, len(node.cells)) == ({}, {}, {}, 1)
    assert (len(node.asks), node.after_turn, node.next_event_s()) == (0, [], None)
    ref.stop()
    stage.turn()
    assert book == ["caught", "stop"]


# --- a node that has ended -----------------------------------------------------------------------


def test_an_ask_of_a_node_that_has_failed_says_why(stage):
    class Silent(Actor):
        @handles(Note)
        def on_note(self, message: Note) -> None:
            self.context.defer_reply()

    ref = stage.spawn(Silent)
    open_ask = ref.ask(Note("hi"))
    stage.turn()
    stage.node.end_cause = "OSError('disk')"
    stage.node.closed = True
    stage.node.drain()
    text = r"^node here has ended by an error before the reply: OSError\('disk'\)$"
    with pytest.raises(SystemClosedError, match=text):
        open_ask.result(0)
    with pytest.raises(SystemClosedError, match=r"^node here has ended by an error: OSError"):
        ref.ask(Note("hi"))
