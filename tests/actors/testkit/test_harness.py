"""One actor in a harness: what it does is recorded, what the test does reaches it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import pytest

from actors import (
    Actor,
    ActorFailedError,
    ActorRef,
    ActorStoppedError,
    AskTimeoutError,
    DeadLetterReason,
    DeferredReply,
    LocalMessage,
    Message,
    NodeUnreachableError,
    Restart,
    Stop,
    Terminated,
    TerminationReason,
    UnencodableMessageError,
    handles,
)
from actors.testkit import (
    ActorHarness,
    Asked,
    AskState,
    Failed,
    InboxRef,
    ManualClock,
    Replied,
    Spawned,
    Stopped,
    Timer,
    TimerCancelled,
    Told,
    Unwatched,
    Watched,
)


class Do(LocalMessage, frozen=True):
    """Have the actor do anything."""

    action: Callable[[Puppet], object]


class Note(Message, frozen=True):
    text: str


class Add(Message, frozen=True):
    number: int


class Introduce(Message, frozen=True):
    ref: ActorRef
    others: tuple[ActorRef, ...] = ()


class Unknown(Message, frozen=True):
    pass


class Puppet(Actor):
    """Does what it is told, and remembers what happened."""

    def __init__(self, total: int = 0, *, log: list[Any] | None = None) -> None:
        self.total = total
        self.log: list[Any] = [] if log is None else log
        self.held: list[DeferredReply] = []

    def on_start(self) -> None:
        self.log.append("start")

    def on_stop(self) -> None:
        self.log.append("stop")

    def end_of_turn(self) -> None:
        self.log.append("end")

    @handles(Do)
    def on_do(self, message: Do) -> None:
        message.action(self)

    @handles(Add)
    def on_add(self, message: Add) -> None:
        self.total += message.number
        self.context.reply(self.total)

    @handles(Note, Introduce, Terminated)
    def on_other(self, message: object) -> None:
        self.log.append(message)

    def boom(self) -> None:
        raise KeyError("boom")

    def hold(self) -> None:
        self.held.append(self.context.defer_reply())

    def ask(self, ref: ActorRef, message: object, timeout_s: float = 10.0) -> None:
        self.context.ask(ref, message, self.log.append, timeout_s)


BOOM = Do(Puppet.boom)
HOLD = Do(Puppet.hold)


def happened(kit: ActorHarness[Puppet]) -> list[Any]:
    """Return what the puppet remembers, without starts and turns."""
    return [entry for entry in kit.actor.log if entry not in ("start", "end")]


# --- messages and turns -------------------------------------------------------------------------


def test_the_class_of_production_runs_with_its_own_arguments() -> None:
    kit = ActorHarness(Puppet, 10, log=["mine"], name="puppet")
    assert type(kit.actor) is Puppet
    assert kit.actor.total == 10
    assert kit.actor.log == ["mine", "start", "end"]
    assert kit.ref.name == "puppet"
    assert repr(kit) == "<ActorHarness of puppet>"


def test_what_the_constructor_or_on_start_raises_reaches_the_test() -> None:
    class Broken(Actor):
        def on_start(self) -> None:
            raise OSError("no port")

    with pytest.raises(OSError, match="no port"):
        ActorHarness(Broken)
    with pytest.raises(TypeError):
        ActorHarness(Puppet, nonsense=1)


def test_each_message_is_a_turn_of_its_own() -> None:
    kit = ActorHarness(Puppet)
    kit.tell(Note("a"))
    kit.tell(Note("b"))
    assert kit.actor.log == ["start", "end", Note("a"), "end", Note("b"), "end"]


def test_messages_told_together_share_one_turn() -> None:
    kit = ActorHarness(Puppet)
    kit.tell_all(Add(1) for _ in range(1_000))
    assert kit.actor.total == 1_000
    assert kit.actor.log == ["start", "end", "end"]


def test_a_turn_collects_tells_asks_and_answers() -> None:
    kit = ActorHarness(Puppet)
    kit.tell(Do(lambda puppet: puppet.ask(InboxRef(), Note("?"))))
    kit.actor.log.clear()
    with kit.turn():
        kit.tell(Add(1))
        with kit.turn():
            pending = kit.ask(Add(1))
        kit.asked[0].answer("yes")
        assert kit.actor.total == 0
        assert not pending.replied
    assert pending.reply == 2
    assert kit.actor.log == ["yes", "end"]


def test_a_turn_whose_block_raises_handles_nothing_until_the_next() -> None:
    kit = ActorHarness(Puppet)
    with pytest.raises(ZeroDivisionError), kit.turn():
        kit.tell(Add(1))
        raise ZeroDivisionError
    assert kit.actor.total == 0
    kit.tell(Add(1))
    assert kit.actor.total == 2


def test_a_message_to_itself_is_handled_after_the_current_one() -> None:
    kit = ActorHarness(Puppet)

    def note_later(puppet: Puppet) -> None:
        puppet.context.tell(puppet.context.self_ref, Note("later"))
        puppet.log.append("now")

    kit.tell(Do(note_later))
    assert happened(kit) == ["now", Note("later")]
    assert kit.told == [Told(kit.ref, Note("later"))]


def test_an_actor_can_ask_itself() -> None:
    kit = ActorHarness(Puppet)
    kit.tell(Do(lambda puppet: puppet.ask(puppet.context.self_ref, Add(3))))
    assert happened(kit) == [3]


def test_an_actor_that_talks_to_itself_without_end_is_stopped_by_the_harness() -> None:
    class Chatterbox(Actor):
        @handles(Note)
        def on_note(self, message: Note) -> None:
            self.context.tell(self.context.self_ref, message)

    kit = ActorHarness(Chatterbox)
    with pytest.raises(RuntimeError, match="without end"):
        kit.tell(Note("again"))


def test_a_message_through_the_ref_runs_a_turn_as_well() -> None:
    kit = ActorHarness(Puppet)
    kit.ref.tell(Add(1))
    assert kit.actor.total == 1
    assert kit.ref.ask(Add(1)).result(0) == 2


def test_after_turn_runs_last_and_once() -> None:
    kit = ActorHarness(Puppet)
    log = kit.actor.log
    kit.tell(Do(lambda puppet: puppet.context.after_turn(lambda: log.append("after"))))
    kit.tell(Add(1))
    assert log == ["start", "end", "end", "after", "end"]


def test_what_after_turn_sends_is_handled() -> None:
    kit = ActorHarness(Puppet)
    kit.tell(Do(lambda puppet: puppet.context.after_turn(lambda: kit.ref.tell(Add(5)))))
    assert kit.actor.total == 5


def test_the_sender_is_the_ref_that_the_test_names() -> None:
    kit = ActorHarness(Puppet)
    sender = InboxRef("sender")
    seen = Do(lambda puppet: puppet.log.append(puppet.context.sender))
    kit.tell(seen)
    kit.tell(seen, sender)
    kit.ask(seen)
    kit.ask(seen, sender)
    assert happened(kit) == [None, sender, None, sender]
    assert happened(kit)[3] is sender


# --- what it did --------------------------------------------------------------------------------


def test_all_effects_are_recorded_in_order() -> None:
    kit = ActorHarness(Puppet)
    friend = InboxRef("friend")

    def act(puppet: Puppet) -> None:
        context = puppet.context
        context.tell(friend, Note("hello"))
        puppet.ask(friend, Add(1), 7.0)
        context.watch(friend)
        context.start_timer("tick", 2.0, Note("tick"))
        context.cancel_timer("tick")
        context.cancel_timer("never set")
        context.unwatch(friend)
        context.unwatch(friend)
        context.stop(friend)
        context.reply("done")

    kit.ask(Do(act))
    told, asked, watched, timer, cancelled, unwatched, stopped, replied = kit.effects
    assert told == Told(friend, Note("hello"))
    assert isinstance(asked, Asked)
    assert (asked.ref, asked.message, asked.timeout_s) == (friend, Add(1), 7.0)
    assert watched == Watched(friend)
    assert timer == Timer("tick", 2.0, Note("tick"))
    assert cancelled == TimerCancelled("tick")
    assert unwatched == Unwatched(friend)
    assert stopped == Stopped(friend)
    assert isinstance(replied, Replied)
    assert replied.message == "done"
    assert (kit.told, kit.asked, kit.replies) == ([told], [asked], ["done"])
    assert (kit.stopped, kit.watched, kit.timers) == ([friend], [], {})
    assert friend.stopped


def test_messages_can_be_read_by_receiver_and_taken_by_type() -> None:
    kit = ActorHarness(Puppet)
    one, two = InboxRef("one"), InboxRef("two")

    def act(puppet: Puppet) -> None:
        for ref, message in [(one, Note("a")), (two, Add(1)), (one, Add(2))]:
            puppet.context.tell(ref, message)

    kit.tell(Do(act))
    assert kit.messages_to(one) == [Note("a"), Add(2)]
    assert one.messages == [Note("a"), Add(2)]
    assert kit.take(Add) == Add(1)
    assert kit.take(Add) == Add(2)
    with pytest.raises(AssertionError, match=r"no Add was told, but .*Note"):
        kit.take(Add)


def test_an_ask_can_be_taken_by_type() -> None:
    kit = ActorHarness(Puppet)
    kit.tell(Do(lambda puppet: puppet.ask(InboxRef(), Add(1))))
    with pytest.raises(AssertionError, match=r"no Note was asked, but .*Add"):
        kit.take_asked(Note)
    assert kit.take_asked(Add).message == Add(1)
    assert kit.asked == []


def test_clear_forgets_the_past_and_keeps_what_is_open() -> None:
    kit = ActorHarness(Puppet)
    friend = InboxRef()

    def act(puppet: Puppet) -> None:
        puppet.context.watch(friend)
        puppet.context.start_timer(1, 1.0, Add(1))
        puppet.ask(friend, Add(1), 2.0)

    kit.tell_all([Do(act), Unknown()])
    kit.clear()
    assert (kit.effects, kit.asked, kit.dead_letters) == ([], [], [])
    assert (kit.watched, list(kit.timers)) == ([friend], [1])
    kit.advance(2.0)
    assert kit.actor.total == 1
    assert isinstance(happened(kit)[0], AskTimeoutError)


def test_a_spawned_child_is_an_inbox_and_does_not_run() -> None:
    kit = ActorHarness(Puppet)
    spawn = Do(
        lambda puppet: puppet.log.append(
            puppet.context.spawn(Puppet, 5, log=["x"], name="kid", supervision=Restart(1))
        )
    )
    kit.tell(spawn)
    (child,) = happened(kit)
    assert isinstance(child, InboxRef)
    assert child.name == "kid"
    assert kit.spawned == [Spawned(Puppet, (5,), {"log": ["x"]}, child, Restart(1))]


# --- asks of the test ---------------------------------------------------------------------------


def test_a_reply_answers_the_request() -> None:
    kit = ActorHarness(Puppet)
    assert kit.ask(Add(4)).reply == 4
    assert kit.replies == [4]


def test_a_handler_without_a_reply_answers_none() -> None:
    kit = ActorHarness(Puppet)
    pending = kit.ask(Note("x"))
    assert pending.replied
    assert pending.reply is None
    assert kit.replies == [None]


def test_a_reply_to_a_tell_is_ignored() -> None:
    kit = ActorHarness(Puppet)
    kit.tell(Add(4))
    assert kit.replies == []


def test_a_deferred_reply_comes_later_and_once() -> None:
    kit = ActorHarness(Puppet)
    pending = kit.ask(HOLD)
    assert not pending.replied
    with pytest.raises(AssertionError, match="has not been answered"):
        pending.reply
    kit.actor.held[0].send("first")
    kit.actor.held[0].send("second")
    assert pending.reply == "first"
    assert kit.replies == ["first"]


def test_a_deferred_reply_to_a_tell_does_nothing() -> None:
    kit = ActorHarness(Puppet)
    kit.tell(HOLD)
    kit.actor.held[0].send("first")
    assert kit.replies == []


def test_a_deferred_failure_is_the_askers_error() -> None:
    kit = ActorHarness(Puppet)
    pending = kit.ask(HOLD)
    kit.actor.held[0].fail(ActorStoppedError("gone"))
    assert isinstance(pending.error, ActorStoppedError)
    with pytest.raises(ActorStoppedError, match="gone"):
        pending.reply


def test_a_request_that_is_not_answered_in_time_expires() -> None:
    kit = ActorHarness(Puppet)
    pending = kit.ask(HOLD, timeout_s=3.0)
    kit.advance(2.9)
    assert not pending.replied
    kit.advance(0.1)
    assert isinstance(pending.error, AskTimeoutError)
    kit.actor.held[0].send("late")
    assert isinstance(pending.error, AskTimeoutError)
    assert [letter.reason for letter in kit.dead_letters] == [DeadLetterReason.LATE_REPLY]


def test_a_message_without_handler_is_a_dead_letter() -> None:
    kit = ActorHarness(Puppet)
    kit.tell(Unknown())
    (letter,) = kit.dead_letters
    assert (letter.message, letter.reason) == (Unknown(), DeadLetterReason.UNHANDLED)
    assert "no handler for Unknown" in str(kit.ask(Unknown()).error)


def test_a_full_mailbox_turns_messages_away() -> None:
    kit = ActorHarness(Puppet, mailbox_size=2)
    kit.tell_all([Add(1)] * 3)
    assert kit.actor.total == 2
    assert [letter.reason for letter in kit.dead_letters] == [DeadLetterReason.MAILBOX_FULL]


# --- asks of the actor --------------------------------------------------------------------------


def asking(timeout_s: float = 10.0) -> tuple[ActorHarness[Puppet], Asked]:
    """Return a harness whose actor has one open request."""
    kit = ActorHarness(Puppet)
    kit.tell(Do(lambda puppet: puppet.ask(InboxRef("friend"), Add(1), timeout_s)))
    return kit, kit.asked[0]


def test_an_answer_reaches_then() -> None:
    kit, asked = asking()
    assert asked.open
    asked.answer(42)
    assert happened(kit) == [42]
    assert asked.state is AskState.ANSWERED
    assert repr(asked) == "<Asked friend Add(number=1), answered>"


def test_a_failed_ask_reaches_then_as_an_error() -> None:
    kit, asked = asking()
    asked.fail(ActorStoppedError("gone"))
    assert isinstance(happened(kit)[0], ActorStoppedError)
    assert asked.state is AskState.FAILED


def test_an_ask_expires_when_its_time_has_come() -> None:
    kit, asked = asking(3.0)
    kit.advance(2.999)
    assert asked.open
    kit.advance(0.001)
    assert isinstance(happened(kit)[0], AskTimeoutError)
    assert asked.state is AskState.EXPIRED


def test_an_ask_can_expire_without_the_clock() -> None:
    kit, asked = asking()
    asked.expire()
    assert isinstance(happened(kit)[0], AskTimeoutError)
    assert kit.clock.now() == 0
    kit.advance(20.0)
    assert len(happened(kit)) == 1


def test_an_answer_after_the_deadline_is_a_dead_letter() -> None:
    kit, asked = asking(1.0)
    kit.advance(1.0)
    asked.answer(42)
    assert len(happened(kit)) == 1
    (letter,) = kit.dead_letters
    assert (letter.message, letter.reason) == (42, DeadLetterReason.LATE_REPLY)


def test_an_ask_is_answered_only_once() -> None:
    _, asked = asking()
    asked.answer(1)
    with pytest.raises(RuntimeError, match="answers a request once"):
        asked.answer(2)


def test_then_is_not_called_after_a_stop() -> None:
    kit, asked = asking()
    kit.stop()
    assert asked.state is AskState.DROPPED
    asked.answer(1)
    assert happened(kit) == ["stop"]


# --- time ---------------------------------------------------------------------------------------


def start(key: str, delay_s: float) -> Do:
    """Return the order to set a timer."""
    return Do(lambda puppet: puppet.context.start_timer(key, delay_s, Note(key)))


def test_timers_fire_in_the_order_of_their_time() -> None:
    kit = ActorHarness(Puppet)
    kit.tell_all([start("late", 3.0), start("soon", 1.0), start("never", 9.0)])
    assert {key: timer.due_s for key, timer in kit.timers.items()} == {
        "late": 3.0,
        "soon": 1.0,
        "never": 9.0,
    }
    kit.advance(5.0)
    assert happened(kit) == [Note("soon"), Note("late")]
    assert list(kit.timers) == ["never"]
    assert kit.clock.now() == 5.0


def test_a_timer_of_the_same_key_replaces_the_first() -> None:
    kit = ActorHarness(Puppet)
    kit.tell_all([start("x", 1.0), start("x", 2.0)])
    kit.advance(1.5)
    assert happened(kit) == []
    kit.advance(1.0)
    assert happened(kit) == [Note("x")]


def test_a_cancelled_timer_never_fires() -> None:
    kit = ActorHarness(Puppet)
    kit.tell(start("x", 1.0))
    kit.tell(Do(lambda puppet: puppet.context.cancel_timer("x")))
    kit.advance(5.0)
    assert happened(kit) == []


def test_a_timer_that_is_set_again_by_its_message_keeps_its_period() -> None:
    class Clockwork(Actor):
        def on_start(self) -> None:
            self.ticks: list[float] = []
            self.context.start_timer("tick", 1.0, Note("tick"))

        @handles(Note)
        def on_note(self, message: Note) -> None:
            self.ticks.append(self.context.now())
            self.context.start_timer("tick", 1.0, message)

    kit = ActorHarness(Clockwork)
    kit.advance(3.5)
    assert kit.actor.ticks == [1.0, 2.0, 3.0]


def test_a_timer_without_delay_fires_when_the_clock_is_asked_to_move() -> None:
    kit = ActorHarness(Puppet)
    kit.tell(start("x", 0.0))
    assert happened(kit) == []
    kit.advance(0.0)
    assert happened(kit) == [Note("x")]


def test_a_clock_can_be_shared() -> None:
    clock = ManualClock(100.0)
    one, two = ActorHarness(Puppet, clock=clock), ActorHarness(Puppet, clock=clock)
    two.tell(start("x", 1.0))
    one.advance(2.0)
    assert happened(two) == []
    two.advance(0.0)
    assert happened(two) == [Note("x")]
    assert clock.now() == 102.0


def test_time_does_not_run_backwards() -> None:
    kit = ActorHarness(Puppet)
    with pytest.raises(ValueError, match="only moves forward"):
        kit.advance(-1.0)


# --- deathwatch ---------------------------------------------------------------------------------


def test_the_end_of_a_watched_actor_is_told_once() -> None:
    kit = ActorHarness(Puppet)
    friend = InboxRef("friend")
    kit.tell(Do(lambda puppet: puppet.context.watch(friend)))
    kit.terminate(friend, TerminationReason.FAILED, "ValueError()")
    kit.terminate(friend)
    assert happened(kit) == [Terminated(friend, TerminationReason.FAILED, "ValueError()")]
    assert kit.watched == []


def test_the_end_of_another_actor_is_not_told() -> None:
    kit = ActorHarness(Puppet)
    kit.terminate(InboxRef())
    assert happened(kit) == []


def test_watching_an_actor_that_has_ended_is_answered_at_once() -> None:
    kit = ActorHarness(Puppet)
    friend = InboxRef()
    kit.terminate(friend)
    kit.tell(Do(lambda puppet: puppet.context.watch(friend)))
    assert happened(kit) == [Terminated(friend, TerminationReason.UNKNOWN)]


@pytest.mark.parametrize(
    ("reason", "error_type"),
    [
        (TerminationReason.STOPPED, ActorStoppedError),
        (TerminationReason.NODE_LOST, NodeUnreachableError),
    ],
)
def test_open_asks_fail_before_the_end_is_told(
    reason: TerminationReason, error_type: type[Exception]
) -> None:
    kit = ActorHarness(Puppet)
    friend = InboxRef("friend")

    def act(puppet: Puppet) -> None:
        puppet.context.watch(friend)
        puppet.ask(friend, Add(1))

    kit.tell(Do(act))
    kit.terminate(friend, reason)
    error, terminated = happened(kit)
    assert type(error) is error_type
    assert terminated == Terminated(friend, reason)


# --- ends and failures --------------------------------------------------------------------------


def test_stop_ends_children_then_the_actor() -> None:
    kit = ActorHarness(Puppet)
    children: list[ActorRef] = []
    spawn = Do(lambda puppet: children.append(puppet.context.spawn(Puppet)))
    kit.tell_all([spawn, spawn, spawn])
    kit.terminate(children[1])
    kit.stop()
    kit.stop()
    assert kit.stopped == [children[2], children[0]]
    assert happened(kit) == ["stop"]
    assert not kit.alive
    assert repr(kit) == "<ActorHarness of puppet, stopped>"


def test_what_waits_behind_a_stop_is_not_handled() -> None:
    kit = ActorHarness(Puppet)
    with kit.turn():
        held = kit.ask(HOLD)
        kit.tell(Do(lambda puppet: puppet.context.stop()))
        kit.tell(Add(1))
        waiting = kit.ask(Add(1))
    assert kit.actor.total == 0
    assert isinstance(held.error, ActorStoppedError)
    assert isinstance(waiting.error, ActorStoppedError)
    assert isinstance(kit.ask(Add(1)).error, ActorStoppedError)
    assert [letter.reason for letter in kit.dead_letters] == [DeadLetterReason.STOPPED] * 3


def test_an_exception_in_a_handler_reaches_the_test() -> None:
    kit = ActorHarness(Puppet)
    with pytest.raises(KeyError, match="boom"):
        kit.tell(BOOM)
    assert not kit.alive
    assert [type(error) for error in kit.failures] == [KeyError]
    assert isinstance(kit.effects[0], Failed)


def test_an_exception_at_the_end_of_a_turn_reaches_the_test() -> None:
    class Broken(Actor):
        def end_of_turn(self) -> None:
            raise KeyError("turn")

    with pytest.raises(KeyError, match="turn"):
        ActorHarness(Broken)


def test_an_exception_in_then_reaches_the_test() -> None:
    kit = ActorHarness(Puppet)
    kit.tell(
        Do(lambda puppet: puppet.context.ask(InboxRef(), Add(1), lambda _reply: puppet.boom()))
    )
    with pytest.raises(KeyError, match="boom"):
        kit.asked[0].answer(1)


def test_the_asker_is_told_of_an_exception_instead_of_the_test() -> None:
    kit = ActorHarness(Puppet)
    pending = kit.ask(BOOM)
    assert isinstance(pending.error, ActorFailedError)
    assert "KeyError('boom')" in pending.error.cause
    assert "in boom" in pending.error.traceback_text
    assert [type(error) for error in kit.failures] == [KeyError]


def test_with_supervision_a_failure_stops_the_actor_as_in_production() -> None:
    kit = ActorHarness(Puppet, supervision=Stop())
    kit.tell(BOOM)
    assert not kit.alive
    assert happened(kit) == ["stop"]


def test_a_restart_makes_a_new_instance_that_keeps_the_mailbox() -> None:
    kit = ActorHarness(Puppet, 10, supervision=Restart(times=1, within_s=60.0))
    first = kit.actor
    kit.tell(start("x", 1.0))
    held = kit.ask(HOLD)
    kit.tell_all([Add(1), BOOM, Add(2)])
    assert kit.actor is not first
    assert kit.actor.total == 12
    assert kit.timers == {}
    assert isinstance(held.error, ActorStoppedError)
    kit.tell(BOOM)
    assert not kit.alive
    assert len(kit.failures) == 2


# --- the codec ----------------------------------------------------------------------------------


class Careless(Message, frozen=True):
    anything: Any


class Plain:
    def __init__(self, items: list[int]) -> None:
        self.items = items


def test_messages_cross_the_border_as_copies() -> None:
    kit = ActorHarness(Puppet)
    friend = InboxRef()
    plain = Plain([1])
    kit.tell(Do(lambda puppet: puppet.context.tell(friend, plain)))
    plain.items.append(2)
    assert friend.messages[0].items == [1]


def test_refs_in_messages_come_back_as_themselves() -> None:
    kit = ActorHarness(Puppet)
    friend, other = InboxRef("friend"), InboxRef("other")
    kit.tell(Introduce(friend, (other, kit.ref)))
    (message,) = happened(kit)
    assert message.ref is friend
    assert message.others[0] is other
    assert message.others[1] is kit.ref


def test_refs_in_untyped_messages_come_back_as_themselves() -> None:
    kit = ActorHarness(Puppet)
    friend = InboxRef("friend")
    kit.tell(Do(lambda puppet: puppet.context.tell(friend, {"to": friend, "call": lambda: friend})))
    assert friend.messages[0]["to"] is friend
    assert friend.messages[0]["call"]() is friend


@pytest.mark.parametrize("content", [object(), (1, 2), InboxRef()])
def test_a_message_that_would_not_arrive_as_it_is_fails(content: object) -> None:
    kit = ActorHarness(Puppet)
    with pytest.raises(UnencodableMessageError):
        kit.tell(Careless(content))


def test_nan_arrives_as_it_is() -> None:
    kit = ActorHarness(Puppet)
    friend = InboxRef()
    kit.tell(Do(lambda puppet: puppet.context.tell(friend, Careless(float("nan")))))
    (arrived,) = friend.messages
    assert math.isnan(arrived.anything)


def test_what_an_actor_cannot_send_fails_the_test_even_under_supervision() -> None:
    kit = ActorHarness(Puppet, supervision=Restart())
    send = Do(lambda puppet: puppet.context.tell(InboxRef(), Careless(object())))
    with pytest.raises(UnencodableMessageError, match="Careless"):
        kit.tell(send)


def test_a_local_message_does_not_cross() -> None:
    kit = ActorHarness(Puppet)
    friend = InboxRef()
    kit.tell(Do(lambda puppet: puppet.context.tell(friend, HOLD)))
    assert friend.messages == [HOLD]
    assert friend.messages[0] is HOLD


def test_without_codec_messages_are_passed_on_as_they_are() -> None:
    kit = ActorHarness(Puppet, codec=False)
    friend = InboxRef()
    message = Careless(object())
    kit.tell(Do(lambda puppet: puppet.context.tell(friend, message)))
    assert friend.messages[0] is message


def test_an_exit_of_a_handler_fails_the_test_and_does_not_end_it() -> None:
    kit = ActorHarness(Puppet)
    with pytest.raises(ActorFailedError, match=r"SystemExit\(3\)") as raised:
        kit.tell(Do(lambda _: sys.exit(3)))
    assert isinstance(raised.value.__cause__, SystemExit)
    assert not kit.alive


def test_a_failing_after_turn_fails_the_test() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    kit = ActorHarness(Puppet)
    with pytest.raises(ZeroDivisionError):
        kit.tell(Do(lambda puppet: puppet.context.after_turn(fail)))
    assert not kit.alive
    supervised = ActorHarness(Puppet, supervision=Restart())
    supervised.tell(Do(lambda puppet: puppet.context.after_turn(fail)))
    assert supervised.alive
    assert [type(error) for error in supervised.failures] == [ZeroDivisionError]


def test_ctrl_c_passes_through() -> None:
    def interrupt(_: Puppet) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ActorHarness(Puppet, supervision=Restart()).tell(Do(interrupt))


@pytest.mark.parametrize(
    "mistake",
    [
        lambda context: context.watch("x"),
        lambda context: context.unwatch(None),
        lambda context: context.stop("x"),
        lambda context: context.start_timer("key", float("nan"), "message"),
        lambda context: context.start_timer([], 1.0, "message"),
        lambda context: context.cancel_timer([]),
        lambda context: context.spawn(int),
    ],
)
def test_the_context_refuses_what_that_of_production_refuses(mistake: Callable[[Any], Any]) -> None:
    kit = ActorHarness(Puppet)
    with pytest.raises((TypeError, ValueError)):
        kit.tell(Do(lambda puppet: mistake(puppet.context)))
    assert (kit.timers, kit.spawned) == ({}, [])
