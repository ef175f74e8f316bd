"""A system of actors in virtual time: order, delays, asks, timers, batches, failures, digests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors import AskTimeoutError, Restart
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
    Stop,
    Ticker,
    Watch,
)

ROOT = Path(__file__).parent.parent.parent.parent
FAST = Delays(slow_share=0.0, stall_share=0.0)


def gathering(seed: int, sources: int = 4, count: int = 10, **options: Any) -> tuple[Any, Any]:
    """Simulate sources on nodes of their own, and one that is the sink's neighbour."""
    sim = Simulation(seed, **options)
    home = sim.node("home")
    sink = home.spawn(Sink, name="sink")
    home.spawn(Source, sink, count, name="neighbour")
    for number in range(sources):
        sim.node(f"far-{number}").spawn(Source, sink, count, name=f"source-{number}")
    return sim, home.actor(sink)


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


def test_a_timer_without_delay_lets_time_go_on() -> None:
    sim = Simulation(1)
    node = sim.node("node")
    ticker = node.actor(node.spawn(Ticker, 0.0))
    assert sim.run(until_s=0.01).reason == "time"
    assert len(ticker.times) > 10


def digests_of(seeds: range, run: Callable[[int], Any]) -> list[str]:
    return [run(seed).digest() for seed in seeds]


def stormy(seed: int, **options: Any) -> Simulation:
    """Simulate with everything that may happen: crashes, pauses, timeouts, ends."""
    sim, _ = gathering(seed, delays=Delays.drawn(Simulation(seed).random), **options)
    node = sim.node("more", lambda node: node.spawn(Sink, name="more"))
    sink = sim.nodes["home"].spawn(Sink, name="watcher")
    target = node.core.names["more"].ref
    sim.tell(sink, Watch(target))
    for number in range(5):
        sim.after(sim.random.random(), sim.tell, sink, Ask(target, number, timeout_s=2.0))
    sim.after(sim.random.random(), node.restart)
    sim.after(sim.random.random(), sim.nodes["home"].pause, sim.random.random())
    sim.after(sim.random.random(), sim.tell, sink, Stop())
    sim.run()
    return sim


def test_a_seed_is_a_run() -> None:
    first = digests_of(range(20), stormy)
    assert digests_of(range(20), stormy) == first
    assert len({*first}) == 20


def test_a_seed_is_the_same_run_whatever_the_hash_seed() -> None:
    code = (
        "from tests.actors.testkit.test_simulation import digests_of, stormy\n"
        "print(*digests_of(range(10), stormy))"
    )

    def digests(hash_seed: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=50,
        ).stdout

    assert digests("1") == digests("2") == " ".join(digests_of(range(10), stormy)) + "\n"


def test_the_digest_is_of_the_fields_of_messages_or_of_what_describes_them() -> None:
    def digest(number: int, **options: Any) -> str:
        sim = Simulation(1, **options)
        sim.tell(sim.node("node").spawn(Sink), Number(number))
        sim.run()
        return sim.digest()

    assert digest(1) == digest(1) != digest(2)
    assert digest(1, describe=lambda _: "") == digest(2, describe=lambda _: "")
    with pytest.raises(ValueError, match="digest=False"):
        digest(1, digest=False)


def test_a_message_of_any_kind_has_a_digest() -> None:
    class Odd:
        pass

    def digest() -> str:
        sim = Simulation(1)
        sink = sim.node("node").spawn(Sink)
        for message in (Odd(), {1: {"a", "b"}}, lambda: 1, ValueError("x"), sink, {(1, 2): Odd()}):
            sim.tell(sink, message)
        sim.run()
        assert sim.events == 6
        return sim.digest()

    assert digest() == digest()


def test_a_trace_is_to_be_read() -> None:
    sim, _ = gathering(1, sources=1, count=1, keep_trace=True)
    sim.after(5.0, sim.nodes["home"].crash)
    sim.run()
    lines = sim.trace()
    assert any("message   far-0/source-0 -> home/sink Number(number=0)" in line for line in lines)
    assert any(line.endswith("crash     home") for line in lines)
    with pytest.raises(ValueError, match="keep_trace=True"):
        Simulation(1).trace()
