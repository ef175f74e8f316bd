"""Nodes of a simulation crash, start again, freeze; clocks jump."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from actors import (
    Actor,
    ActorRef,
    AskTimeoutError,
    NodeUnreachableError,
    TerminationReason,
    handles,
)
from actors.limits import LATE_TURN_S
from actors.testkit import Delays, Event, EventKind, SimulatedNode, Simulation
from tests.actors.testkit.simulated_actors import Ask, Mute, Number, Sink, Source, Ticker, Watch

FAST = Delays(slow_share=0.0, stall_share=0.0)


class Pair(NamedTuple):
    """A sink that watches one on a far node."""

    sim: Simulation
    home: SimulatedNode
    far: SimulatedNode
    near: ActorRef
    away: ActorRef


def pair(seed: int = 1, **options: Any) -> Pair:
    sim = Simulation(seed, **options)
    home, far = sim.node("home"), sim.node("far")
    near_ref, far_ref = home.spawn(Sink, name="near"), far.spawn(Sink, name="away")
    sim.tell(near_ref, Watch(far_ref))
    sim.run()
    return Pair(sim, home, far, near_ref, far_ref)


def test_a_crash_is_told_to_watchers_and_askers_once_after_a_while() -> None:
    it = pair(delays=Delays(detect_s=(1.0, 2.0)))
    sim, home, far, near, away = it.sim, it.home, it.far, it.near, it.away
    mute = far.spawn(Mute)
    sim.tell(near, Ask(mute, 1))
    asked = sim.ask(mute, Number(2))
    sim.run(until_s=5.0)
    far.crash()
    sim.run(until_s=5.9)
    assert home.actor(near).ended == []
    sim.run()
    (ended,) = home.actor(near).ended
    assert (ended.ref, ended.reason) == (away, TerminationReason.NODE_LOST)
    (answer,) = home.actor(near).answers
    assert type(answer) is NodeUnreachableError
    assert "node far is gone" in str(answer)
    assert type(asked.error) is NodeUnreachableError


def test_what_a_node_sent_before_its_crash_arrives_before_the_crash_is_noticed() -> None:
    for seed in range(50):
        slow = Delays(remote_s=(0.0, 3.0), detect_s=(0.0, 0.5), cut_share=0.0)
        it = pair(seed, delays=slow)
        sim, home, far, near = it.sim, it.home, it.far, it.near
        far.spawn(Source, near, 5, name="source")
        sim.tell(near, Watch(far.core.names["source"].ref))
        far.crash()
        sim.run()
        got = [number for _, number in home.actor(near).got]
        assert [number for number in got if number >= 0] == [0, 1, 2, 3, 4]
        assert got[-2:] == [-1, -1]


def test_a_crash_may_lose_the_last_that_was_sent() -> None:
    arrived: set[int] = set()
    for seed in range(60):
        it = pair(seed, delays=Delays(remote_s=(0.0, 3.0), cut_share=0.5))
        it.far.spawn(Source, it.near, 5, name="source")
        it.far.crash()
        it.sim.run()
        got = [number for _, number in it.home.actor(it.near).got]
        assert got == [*range(len(got) - 1), -1]  # a first part, then the news
        arrived.add(len(got) - 1)
    assert arrived == {0, 1, 2, 3, 4, 5}


def test_nothing_of_a_crashed_node_runs_any_more() -> None:
    it = pair(delays=Delays(detect_s=(5.0, 5.0)))
    sim, far, away = it.sim, it.far, it.away
    ticker = far.actor(far.spawn(Ticker, 1.0))
    called: list[int] = []
    far.after(3.0, called.append, 1)
    sim.after(2.5, far.crash)
    sim.after(2.6, sim.tell, away, Number(1))
    lost: list[Event] = []
    sim.on_event(lambda event: lost.append(event) if event.kind is EventKind.LOST else None)
    sim.run(until_s=10.0)
    assert not far.alive
    assert len(ticker.times) == 2
    assert called == []
    assert [event.message for event in lost] == [Number(1)]


def test_who_knows_of_a_crash_is_told_at_once_that_nobody_is_there() -> None:
    it = pair(delays=FAST)
    sim, home, far, near, away = it.sim, it.home, it.far, it.near, it.away
    far.crash()
    sim.run()
    sim.tell(near, Ask(away, 1))
    asked = sim.ask(away, Number(2))
    assert type(asked.error) is NodeUnreachableError
    sim.run()
    assert type(home.actor(near).answers[-1]) is NodeUnreachableError


def test_a_watch_of_an_actor_of_a_node_that_is_gone_is_answered() -> None:
    it = pair(delays=FAST)
    sim, home, far, near = it.sim, it.home, it.far, it.near
    other = far.spawn(Sink, name="other")
    far.crash()
    sim.run()
    assert len(home.actor(near).ended) == 1
    sim.tell(near, Watch(other))
    sim.run()
    ended = home.actor(near).ended[-1]
    assert (ended.ref, ended.reason) == (other, TerminationReason.NODE_LOST)


def test_a_restarted_node_is_another_one_that_its_setup_fills() -> None:
    sim = Simulation(1)
    spawned: list[Any] = []
    far = sim.node("far", lambda node: spawned.append(node.spawn(Sink, name="sink")))
    near = sim.node("home").spawn(Sink)
    sim.tell(near, Watch(spawned[0]))
    sim.run()
    far.restart()
    sim.run()
    old, new = spawned
    assert old != new
    assert [ended.ref for ended in sim.nodes["home"].actor(near).ended] == [old]
    before, after = sim.ask(old, Number(1)), sim.ask(new, Number(2))
    sim.run()
    assert type(before.error) is NodeUnreachableError
    assert after.reply == 2
    assert far.actor(new).got == [("", 2)]


def test_a_node_that_stops_in_order_says_so() -> None:
    it = pair()
    sim, home, far, near = it.sim, it.home, it.far, it.near
    far.stop()
    sim.run()
    assert [ended.reason for ended in home.actor(near).ended] == [TerminationReason.STOPPED]
    assert not far.alive


def test_a_paused_node_handles_all_that_came_when_it_goes_on() -> None:
    it = pair(delays=FAST)
    sim, home, far, near = it.sim, it.home, it.far, it.near
    home.pause(10.0)
    far.spawn(Source, near, 20)
    called: list[float] = []
    home.after(1.0, lambda: called.append(sim.now()))
    sim.run(until_s=sim.now() + 9.0)
    assert home.actor(near).got == []
    assert called == []
    assert home.paused
    turns = len(home.actor(near).turns)
    sim.run()
    assert [number for _, number in home.actor(near).got] == list(range(20))
    assert len(home.actor(near).turns) == turns + 1
    assert called[0] == pytest.approx(10.0, abs=0.1)


@pytest.mark.parametrize(("paused_s", "forgiven"), [(0.3, False), (4.0, True)])
def test_a_long_pause_moves_the_deadlines_of_the_node(paused_s: float, forgiven: bool) -> None:
    sim = Simulation(1, delays=Delays(remote_s=(0.2, 0.2), slow_share=0.0, stall_share=0.0))
    home, far = sim.node("home"), sim.node("far")
    near, away = home.spawn(Sink), far.spawn(Sink)
    sim.tell(near, Ask(away, 1, timeout_s=0.8))
    begun_s = 0.21
    far.after(0.0, far.pause, 4.1)  # the answer is not there when the pause ends
    sim.after(begun_s, home.pause, paused_s)
    sim.run()
    (answer,) = home.actor(near).answers
    assert (answer == 1) is forgiven
    assert forgiven or type(answer) is AskTimeoutError


def test_timers_wait_for_the_end_of_a_pause() -> None:
    sim = Simulation(1, delays=FAST)
    node = sim.node("node")
    ticker = node.actor(node.spawn(Ticker, 1.0))
    sim.after(2.5, node.pause, 10.0)
    sim.run(until_s=15.0)
    assert [round(at_s, 6) for at_s in ticker.times] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert sim.now() - node.core.now() == 10.0 - LATE_TURN_S  # the node's clock stood still


class Patient(Actor):
    """Asks, and starts a timer when told; notes what comes first."""

    def __init__(self, silent: ActorRef) -> None:
        self.silent = silent
        self.book: list[str] = []

    def ask(self) -> None:
        self.context.ask(self.silent, 1, lambda _: self.book.append("deadline"), timeout_s=2.0)

    @handles(str)
    def on_text(self, message: str) -> None:
        self.context.start_timer("timer", 1.0, 1)

    @handles(int)
    def on_due(self, message: int) -> None:
        self.book.append("timer")


def test_a_timer_started_late_by_a_pause_is_no_later_than_a_deadline_set_before() -> None:
    sim = Simulation(1, delays=FAST)
    home, far = sim.node("home"), sim.node("far")
    silent = far.spawn(Sink)
    far.pause(100.0)
    patient = home.spawn(Patient, silent)
    home.actor(patient).ask()
    home.pause(5.0)
    sim.tell(patient, "start")
    sim.run(until_s=20.0)
    assert home.actor(patient).book == ["timer", "deadline"]


def test_a_wall_clock_that_jumps_moves_nothing_else() -> None:
    sim = Simulation(1, delays=FAST)
    node = sim.node("node")
    ticker = node.actor(node.spawn(Ticker, 1.0))
    sim.after(1.5, node.jump_clock, -3600.0)
    sim.run(until_s=3.5)
    assert ticker.times == [1.0, 2.0, 3.0]
    assert node.wall_time() == sim.wall_time() - 3600.0


def test_a_crash_while_paused_is_a_crash() -> None:
    it = pair()
    sim, home, far, near, away = it.sim, it.home, it.far, it.near, it.away
    far.pause(5.0)
    sim.tell(away, Number(1))
    sim.after(1.0, far.crash)
    sim.run()
    assert [ended.reason for ended in home.actor(near).ended] == [TerminationReason.NODE_LOST]


def test_a_paused_node_learns_of_a_crash_when_it_goes_on() -> None:
    it = pair(delays=FAST)
    sim, home, far, near = it.sim, it.home, it.far, it.near
    home.pause(5.0)
    far.crash()
    sim.run(until_s=sim.now() + 4.0)
    assert home.actor(near).ended == []
    sim.run()
    assert len(home.actor(near).ended) == 1


def test_an_actor_that_is_stopped_while_its_node_is_paused_ends_afterwards() -> None:
    it = pair(delays=FAST)
    it.far.pause(5.0)
    it.away.stop()
    it.sim.run(until_s=it.sim.now() + 4.0)
    assert it.far.actor(it.away)
    it.sim.run()
    assert [ended.ref for ended in it.home.actor(it.near).ended] == [it.away]


def test_what_the_news_of_a_crash_leads_to_on_a_node_happens_at_once() -> None:
    it = pair()
    events: list[Event] = []
    it.sim.on_event(events.append)
    it.far.crash()
    it.sim.run()
    times = {event.kind: event.time_s for event in events if event.target in (None, it.near)}
    assert times[EventKind.MESSAGE] == next(
        event.time_s for event in events if event.message == "home: far"
    )


def test_the_names_of_nodes_are_unique() -> None:
    sim = Simulation(1)
    sim.node("one")
    with pytest.raises(ValueError, match="one"):
        sim.node("one")


@pytest.mark.parametrize(
    ("delays", "text"),
    [
        ({"remote_s": (2.0, 1.0)}, "remote_s must be two numbers of seconds, lower first"),
        ({"slow_s": 0.5}, "slow_s must be two numbers of seconds"),
        ({"detect_s": (-1.0, 1.0)}, "detect_s must be two"),
        ({"stall_s": None}, "stall_s must be two"),
        ({"slow_share": 5}, "slow_share must be between 0 and 1, got 5"),
    ],
)
def test_delays_that_cannot_be_drawn_are_refused(delays: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Delays(**delays)
