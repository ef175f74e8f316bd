"""A system of actors in virtual time: order, delays, asks, timers, batches, failures."""

from __future__ import annotations

import sys

import pytest

from actors import AskTimeoutError, DeadLetterReason, Restart, handles
from actors.testkit import (
    Delays,
    Event,
    EventKind,
    InvariantError,
    LivelockError,
    Simulation,
    UnexpectedFailureError,
)
from tests.actors.testkit.simulated_actors import (
    Ask,
    Fail,
    Mute,
    Number,
    Sink,
    Source,
    Ticker,
    Watch,
    gathering,
)

FAST = Delays(slow_share=0.0, stall_share=0.0)


def test_messages_of_one_sender_never_overtake_each_other() -> None:
    for seed in range(30):
        sim, sink = gathering(seed, delays=Delays.drawn(Simulation(seed).random))
        assert sim.run().reason == "quiet"
        for name in ("neighbour", "source-0", "source-3"):
            assert [number for source, number in sink.got if source == name] == list(range(10))


def test_messages_of_different_senders_come_in_orders_that_the_seed_draws() -> None:
    def order(seed: int) -> tuple[str, ...]:
        delays = Delays(local_s=(0.0, 0.01), remote_s=(0.0, 0.01))
        sim, sink = gathering(seed, sources=2, count=2, delays=delays)
        sim.run()
        return tuple(source for source, _ in sink.got)

    assert len({order(seed) for seed in range(600)}) > 60  # of 6! / (2! 2! 2!) = 90


def test_the_order_of_a_message_and_its_answer_to_others_is_drawn_too() -> None:
    def first(seed: int) -> str:
        sim = Simulation(seed)
        sink = sim.node("a").spawn(Sink, name="sink")
        asker = sim.node("b").spawn(Sink, name="asker")
        sim.tell(asker, Ask(sink, 7))
        sim.tell(sink, Number(8))
        sim.run()
        return str(sim.nodes["a"].actor(sink).got[0][0])

    assert {first(seed) for seed in range(40)} == {"", "asker"}


def test_some_messages_take_much_longer() -> None:
    def times(share: float) -> list[float]:
        slow = Delays(slow_share=share, slow_s=(5.0, 6.0), stall_share=0.0)
        sim, sink = gathering(1, sources=20, count=1, delays=slow)
        sim.run()
        return list(sink.times)

    assert max(times(0.0)) < 0.01
    assert min(times(1.0)) > 5.0
    assert 0 < sum(at_s > 5.0 for at_s in times(0.5)) < 21


def test_time_is_virtual_and_timers_are_exact() -> None:
    sim = Simulation(1, delays=FAST)
    node = sim.node("node")
    ticker = node.spawn(Ticker, 3600.0, ticks=24)
    end = sim.run()
    assert node.actor(ticker).times == [3600.0 * (hour + 1) for hour in range(24)]
    assert end.reason == "quiet"
    assert end.events == 24
    assert end.time_s == 86_400.0


def test_a_run_ends_at_a_time_after_some_events_or_on_a_condition() -> None:
    sim = Simulation(1, delays=FAST)
    node = sim.node("node")
    ticker = node.actor(node.spawn(Ticker, 1.0))
    assert (sim.run(until_s=10.5).reason, sim.now(), len(ticker.times)) == ("time", 10.5, 10)
    assert (sim.run(max_events=5).reason, len(ticker.times)) == ("events", 15)
    assert sim.run(until=lambda: len(ticker.times) == 20).reason == "condition"
    assert len(ticker.times) == 20
    assert sim.step()
    assert len(ticker.times) == 21


def test_an_ask_is_answered_or_ends_at_its_deadline() -> None:
    sim = Simulation(1, delays=FAST)
    node = sim.node("a")
    asker, mute, sink = node.spawn(Sink), node.spawn(Mute), sim.node("b").spawn(Sink)
    sim.tell(asker, Ask(sink, 5))
    sim.tell(asker, Ask(mute, 6, timeout_s=7.0))
    sim.run()
    answers = node.actor(asker).answers
    assert answers[0] == 5
    assert type(answers[1]) is AskTimeoutError
    assert sim.now() == pytest.approx(7.0, abs=0.01)


def test_an_ask_from_outside_is_answered_or_ends_at_its_deadline() -> None:
    sim = Simulation(1)
    node = sim.node("a")
    sink, mute = node.spawn(Sink), node.spawn(Mute)
    answered = sim.ask(sink, Number(5))
    late = sim.ask(mute, Number(6), timeout_s=3.0)
    future = sink.ask(Number(7))
    assert not answered.replied
    sim.run()
    assert answered.reply == 5
    assert type(late.error) is AskTimeoutError
    assert future.result(timeout=0) == 7


def test_what_arrives_while_a_node_is_busy_is_handled_in_one_turn() -> None:
    calm_sim, calm = gathering(1, delays=Delays(stall_share=0.0))
    busy_sim, busy = gathering(1, delays=Delays(stall_share=0.3, stall_s=(0.0, 0.01)))
    calm_sim.run()
    busy_sim.run()
    assert max(calm.turns) == 1
    assert max(busy.turns) > 3
    assert sum(busy.turns) == sum(calm.turns) == 50


def test_messages_within_a_node_may_be_delivered_within_the_turn() -> None:
    sim = Simulation(1, delays=Delays(local_s=None))
    node = sim.node("node")
    sink = node.spawn(Sink)
    node.spawn(Source, sink, 5)
    sim.run()
    assert node.actor(sink).turns[-1] == 5
    assert sim.now() == 0.0


def test_callbacks_after_a_turn_run_when_its_messages_are_handled() -> None:
    seen: list[int] = []

    class Late(Sink):
        def on_number(self, message: Number) -> None:
            super().on_number(message)
            self.context.after_turn(lambda: seen.append(len(self.turns)))

    sim = Simulation(1)
    ref = sim.node("node").spawn(Late)
    sim.tell(ref, Number(1))
    sim.run()
    assert seen == [2]  # on_start's turn, and the one of the message


def test_callbacks_come_when_they_are_due_unless_they_are_cancelled() -> None:
    sim = Simulation(1)
    called: list[tuple[str, float]] = []
    sim.after(2.0, lambda: called.append(("second", sim.now())))
    sim.after(1.0, lambda: called.append(("first", sim.now())))
    sim.after(1.5, lambda: called.append(("never", sim.now()))).cancel()
    sim.run()
    assert called == [("first", 1.0), ("second", 2.0)]
    with pytest.raises(ValueError, match="only moves forward"):
        sim.after(-1.0, print)


def test_a_handler_that_raises_ends_the_run() -> None:
    sim = Simulation(1)
    ref = sim.node("node").spawn(Sink, name="sink")
    sim.tell(ref, Fail())
    with pytest.raises(UnexpectedFailureError, match=r"node/sink raised .* ValueError") as caught:
        sim.run()
    assert type(caught.value.__cause__) is ValueError


def test_a_failure_that_was_expected_is_only_noted() -> None:
    sim = Simulation(1, expect_failures=lambda ref, error: ref.name == "sink")
    node = sim.node("node")
    ref = node.spawn(Sink, name="sink", supervision=Restart(times=1, within_s=60.0))
    sim.tell(ref, Number(1))
    sim.run()
    before = node.actor(ref)
    sim.tell(ref, Fail())
    sim.run()
    assert node.actor(ref) is not before  # production supervision restarted it
    assert [failure.ref for failure in sim.failures] == [ref]
    sim.tell(ref, Fail())
    sim.run()
    with pytest.raises(LookupError):
        node.actor(ref)
    sim.tell(node.spawn(Sink, name="other"), Fail())
    with pytest.raises(UnexpectedFailureError):
        sim.run()


def test_what_a_model_raises_within_an_actor_ends_the_run_as_it_is() -> None:
    class Careful(Sink):
        def on_number(self, message: Number) -> None:
            raise InvariantError("no numbers")

    sim = Simulation(1, expect_failures=True)
    sim.tell(sim.node("node").spawn(Careful), Number(1))
    with pytest.raises(InvariantError, match="no numbers"):
        sim.run()


def test_an_actor_is_told_the_end_of_another_after_all_that_it_sent() -> None:
    for seed in range(60):
        sim = Simulation(seed, delays=Delays.drawn(Simulation(seed).random))
        home, far = sim.node("home"), sim.node("far")
        sink = home.spawn(Sink, name="sink")
        for node, name in ((home, "near"), (far, "far")):
            source = node.spawn(Source, sink, 5, then_stop=True, name=name)
            sim.tell(sink, Watch(source))
        sim.run()
        got = home.actor(sink).got
        for name in ("near", "far"):
            of_it = [number for source, number in got if source.startswith(name)]
            assert of_it == [0, 1, 2, 3, 4, -1]


def test_an_actor_of_another_node_is_stopped_by_a_message() -> None:
    sim = Simulation(1)
    sink = sim.node("home").spawn(Sink, name="sink")
    sim.tell(sink, Number(1))
    sim.run()
    sink.stop()
    sim.run()
    with pytest.raises(LookupError):
        sim.nodes["home"].actor(sink)
    asked = sim.ask(sink, Number(2))
    sim.run()
    assert "has stopped" in str(asked.error)


def test_an_actor_may_stop_one_of_another_node() -> None:
    class Stopper(Sink):
        def on_watch(self, message: Watch) -> None:
            self.context.watch(message.ref)
            self.context.stop(message.ref)

    sim = Simulation(1)
    stopper, sink = sim.node("a").spawn(Stopper), sim.node("b").spawn(Sink)
    sim.tell(stopper, Watch(sink))
    sim.run(max_events=1)
    assert sim.nodes["b"].actor(sink), "the request is on its way"
    sim.run()
    assert [ended.ref for ended in sim.nodes["a"].actor(stopper).ended] == [sink]
    with pytest.raises(LookupError):
        sim.nodes["b"].actor(sink)


def test_a_message_may_be_told_in_the_name_of_an_actor() -> None:
    sim = Simulation(1)
    node = sim.node("a")
    sink, other = node.spawn(Sink), node.spawn(Sink, name="other")
    sim.tell(sink, Number(1), sender=other)
    sim.run()
    assert node.actor(sink).got == [("other", 1)]


def test_checks_see_each_event_when_all_that_it_led_to_is_done() -> None:
    sim, sink = gathering(3, sources=2, count=3)
    events: list[Event] = []
    handled: list[int] = []

    def check(event: Event) -> None:
        events.append(event)
        handled.append(len(sink.got))

    sim.on_event(check)
    sim.run()
    assert len(events) == sim.events == 9
    assert {event.kind for event in events} == {EventKind.MESSAGE}
    assert all(seen >= number for number, seen in enumerate(handled, 1))
    assert [event.time_s for event in events] == sorted(event.time_s for event in events)
    names = [event.source.name if event.source else "" for event in events]
    assert [
        (name, event.message.number) for name, event in zip(names, events, strict=True)
    ] == sink.got


def test_a_check_that_fails_ends_the_run_with_a_line_that_says_how_to_see_it_again() -> None:
    sim, sink = gathering(3, delays=FAST)

    def check(event: Event) -> None:
        if len(sink.got) > 20:
            raise InvariantError("at most 20", f"{len(sink.got)} came")

    sim.on_event(check)
    with pytest.raises(InvariantError, match="at most 20: 21 came") as caught:
        sim.run()
    line = sim.failure_line(caught.value, "python -m mine 3")
    assert line == (
        f"seed=3 invariant='at most 20' time_s={sim.now():.6f} event=21 "
        f"digest={sim.digest()} replay: python -m mine 3"
    )


def test_actors_that_keep_each_other_busy_at_one_moment_are_noticed() -> None:
    class Echo(Sink):
        def on_number(self, message: Number) -> None:
            self.context.tell(self.context.self_ref, message)

    sim = Simulation(1, delays=Delays(local_s=(0.0, 0.0), slow_share=0.0, stall_share=0.0))
    sim.tell(sim.node("node").spawn(Echo, name="echo"), Number(1))
    with pytest.raises(LivelockError, match="node/echo"):
        sim.run()


def test_actors_that_keep_each_other_busy_in_one_turn_are_noticed() -> None:
    class Echo(Sink):
        def on_number(self, message: Number) -> None:
            self.context.tell(self.context.self_ref, message)

    sim = Simulation(1, delays=Delays(local_s=None))
    sim.tell(sim.node("node").spawn(Echo), Number(1))
    with pytest.raises(LivelockError, match="node node"):
        sim.run()


def test_a_timer_without_delay_lets_time_go_on() -> None:
    sim = Simulation(1)
    node = sim.node("node")
    ticker = node.actor(node.spawn(Ticker, 0.0))
    assert sim.run(until_s=0.01).reason == "time"
    assert len(ticker.times) > 10


def test_messages_that_nobody_handled_are_kept_in_order_per_node() -> None:
    sim = Simulation(1)
    nodes = [sim.node(name) for name in ("a", "b")]
    refs = [node.spawn(Sink) for node in nodes]
    for number in range(3):
        for ref in reversed(refs):
            sim.tell(ref, f"{number} to {ref.address.node}")
        sim.run()
    nodes[0].crash()
    letters = [letter.message for letter in sim.dead_letters]
    assert letters == [f"{number} to {name}" for name in "ab" for number in range(3)]
    assert sim.dead_letters[0].reason is DeadLetterReason.UNHANDLED


class Leaver(Sink):
    @handles(str)
    def on_text(self, text: str) -> None:
        if text == "after turn":
            self.context.after_turn(lambda: sys.exit(3))
        elif text == "exit":
            sys.exit(3)
        else:
            raise KeyboardInterrupt


@pytest.mark.parametrize("how", ["after turn", "exit"])
def test_an_exit_is_a_failure_as_any_other(how: str) -> None:
    sim = Simulation(1)
    sim.tell(sim.node("a").spawn(Leaver), how)
    with pytest.raises(UnexpectedFailureError, match=r"SystemExit\(3\)"):
        sim.run()
    sim = Simulation(1, expect_failures=True)
    ref = sim.node("a").spawn(Leaver, supervision=Restart())
    sim.tell(ref, how)
    sim.run()
    sim.tell(ref, Number(7))
    sim.run()
    assert sim.nodes["a"].actor(ref).got == [("", 7)]
    (failure,) = sim.failures
    assert isinstance(failure.error.__cause__, SystemExit)


def test_ctrl_c_ends_a_simulation_also_where_failures_are_expected() -> None:
    sim = Simulation(1, expect_failures=True)
    sim.tell(sim.node("a").spawn(Leaver), "ctrl-c")
    with pytest.raises(KeyboardInterrupt):
        sim.run()
