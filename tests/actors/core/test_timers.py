"""Keyed timers."""

from __future__ import annotations

from actors.limits import LATE_TURN_S
from tests.actors.core.stage import Do, Note, Turning


def start(stage, ref, key, delay_s, text):
    stage.do(ref, lambda actor: actor.context.start_timer(key, delay_s, Note(text)))


def test_timers_fire_in_the_order_of_their_time(stage):
    ref, book = stage.scribe()
    start(stage, ref, "b", 2.0, "second")
    start(stage, ref, "a", 1.0, "first")
    assert stage.node.next_event_s() == 1.0
    stage.advance(0.99)
    assert book == []
    stage.advance(2.0)
    assert book == ["first", "second"]
    assert stage.node.next_event_s() is None


def test_timers_due_at_the_same_time_fire_in_the_order_they_were_started(stage):
    ref, book = stage.scribe()
    for text in "abc":
        start(stage, ref, text, 1.0, text)
    stage.advance(1.0)
    assert book == ["a", "b", "c"]


def test_a_timer_of_the_same_key_is_replaced(stage):
    ref, book = stage.scribe()
    start(stage, ref, "key", 1.0, "old")
    start(stage, ref, "key", 3.0, "new")
    stage.advance(2.0)
    assert book == []
    stage.advance(1.0)
    assert book == ["new"]


def test_a_cancelled_timer_never_fires_even_when_it_is_due(stage):
    ref, book = stage.scribe()
    start(stage, ref, "key", 1.0, "never")
    stage.clock.advance(2.0)
    stage.do(ref, lambda actor: actor.context.cancel_timer("key"))
    stage.advance(2.0)
    assert book == []


def test_a_timer_that_is_due_can_cancel_another_that_is_due(stage):
    ref, book = stage.scribe()
    cancel = Do(lambda actor: actor.context.cancel_timer("other"))
    stage.do(ref, lambda actor: actor.context.start_timer("one", 1.0, cancel))
    start(stage, ref, "other", 1.0, "never")
    stage.advance(1.0)
    assert book == []


def test_cancelling_a_timer_that_is_not_there_changes_nothing(stage):
    ref, _ = stage.scribe()
    stage.do(ref, lambda actor: actor.context.cancel_timer("key"))
    assert stage.node.next_event_s() is None


def test_a_timer_without_delay_fires_in_this_turn_and_does_not_hold_it_up(stage):
    ref, book = stage.scribe()

    def again(actor):
        actor.book.append(stage.clock.now())
        actor.context.start_timer("loop", 0.0, Do(again))

    ref.tell(Do(again))
    stage.turn()
    assert book == [0.0, 0.0], "by message and once by timer"
    stage.turn()
    assert len(book) == 3


def test_messages_of_one_turn_come_before_the_timers(stage):
    ref, book = stage.scribe()
    start(stage, ref, "key", 1.0, "timer")
    ref.tell(Note("message"))
    stage.advance(1.0)
    assert book == ["message", "timer"]


def test_the_end_of_the_run_is_told_after_timers_too(stage):
    book = []
    ref = stage.spawn(Turning, book)
    stage.do(ref, lambda actor: actor.context.start_timer("key", 1.0, Note("timer")))
    book.clear()
    stage.advance(1.0)
    assert book == ["timer", "end of turn"]


def test_an_actor_that_stops_in_a_timer_ends_and_its_other_timers_never_fire(stage):
    ref, book = stage.scribe()
    stop = Do(lambda actor: actor.context.stop())
    stage.do(ref, lambda actor: actor.context.start_timer("stop", 1.0, stop))
    start(stage, ref, "other", 1.0, "never")
    stage.advance(1.0)
    assert book == ["stop"]
    stage.advance(10.0)
    assert book == ["stop"]
    assert stage.node.next_event_s() is None


def test_cancelled_timers_do_not_pile_up(stage):
    ref, book = stage.scribe()

    def restart_often(actor):
        for _ in range(10_000):
            actor.context.start_timer("key", 100.0, Note("once"))

    stage.do(ref, restart_often)
    assert len(stage.node.timers._heap) < 100
    stage.advance(100.0)
    assert book == ["once"]


def test_the_clock_of_the_node_stands_still_during_its_own_stalls(stage):
    ref, book = stage.scribe()
    time = stage.node.time
    start(stage, ref, "before", 1.0, "before")
    time.expect(stage.clock.now())
    stage.clock.advance(5.0)
    assert stage.node.now() == LATE_TURN_S
    start(stage, ref, "meanwhile", 0.5, "meanwhile")
    assert time.go_on() == 5.0
    assert stage.node.now() == LATE_TURN_S
    stage.advance(0.5)
    assert book == ["meanwhile"]
    stage.advance(0.5)
    assert book == ["meanwhile", "before"]


def test_a_turn_that_begins_early_stalls_from_then_on(stage):
    time = stage.node.time
    time.expect(1.0)
    time.expect_now()
    stage.clock.advance(3.0)
    time.expect_now()
    assert stage.node.now() == LATE_TURN_S


def test_a_turn_in_time_stops_no_clock(stage):
    time = stage.node.time
    time.expect(1.0)
    stage.clock.advance(1.0 + LATE_TURN_S)
    time.go_on()
    stage.clock.advance(5.0)
    assert stage.node.now() == stage.clock.now() == 6.0 + LATE_TURN_S
