"""Every order of a small system; and the smallest script that fails."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from actors import Actor, ActorRef, Message, Terminated, handles
from actors.testkit import (
    CounterexampleError,
    InvariantError,
    Simulation,
    explore,
    replay,
    shrink,
    state_of,
)
from tests.actors.testkit.simulated_actors import Ask, Fail, Mute, Number, Sink, Source, Watch


def orders_of(**options: Any) -> tuple[list[tuple[str, ...]], Any]:
    """Explore two senders of two messages each; return the orders seen at the ends."""
    ends: list[tuple[str, ...]] = []

    def build(sim: Simulation) -> Sink:
        node = sim.node("sink")
        sink = node.spawn(Sink, name="sink")
        for name in "ab":
            sim.node(name).spawn(Source, sink, 2, name=name)
        return node.actor(sink)  # type: ignore[no-any-return]

    covered = explore(
        build, check_end=lambda sink: ends.append(tuple(name for name, _ in sink.got)), **options
    )
    return ends, covered


def test_every_order_that_keeps_each_senders_own_is_seen_once() -> None:
    ends, covered = orders_of()
    assert sorted("".join(end) for end in ends) == ["aabb", "abab", "abba", "baab", "baba", "bbaa"]
    assert covered.complete
    assert covered.ends == 6
    assert covered.depth == 4
    assert covered.states == 1 + 2 + 4 + 6 + 6


def test_states_with_equal_fingerprints_count_as_one() -> None:
    ends, covered = orders_of(fingerprint=lambda sink: len(sink.got))
    assert len(ends) == 1
    assert covered.states == 9  # how many of each sender's two messages have come


def test_messages_that_are_described_alike_count_as_one() -> None:
    def build(sim: Simulation) -> None:
        sink = sim.node("sink").spawn(Mute)
        for number in range(2):
            sim.after(0.0, sim.tell, sink, Number(number))

    fields = explore(build, fingerprint=lambda _: None)
    kinds = explore(
        build, fingerprint=lambda _: None, describe=lambda message: type(message).__name__
    )
    assert kinds.states < fields.states


def two_pairs(sim: Simulation) -> list[Any]:
    """Make two senders that have nothing to do with each other, and their receivers."""
    sinks = []
    for number in range(2):
        node = sim.node(f"sink-{number}")
        sink = node.spawn(Sink)
        sim.node(f"source-{number}").spawn(Source, sink, 4)
        sinks.append(node.actor(sink))
    return sinks


def test_orders_that_make_no_difference_are_tried_once() -> None:
    every = explore(two_pairs)
    fewer = explore(two_pairs, independent_nodes=True)
    assert every.states == fewer.states == 25
    assert every.transitions == 40
    assert fewer.transitions == 24  # each state is reached on one way


@pytest.mark.parametrize("independent_nodes", [False, True])
def test_a_crash_may_come_at_any_moment_and_is_noticed_at_any_later_one(
    independent_nodes: bool,
) -> None:
    seen: set[tuple[int, str]] = set()

    def build(sim: Simulation) -> Any:
        home, far = sim.node("home"), sim.node("far")
        near = home.spawn(Sink, name="near")
        away = far.spawn(Sink, name="away")
        sim.tell(near, Watch(away))
        sim.tell(near, Ask(away, 5))
        far.after(0.0, far.crash)
        return home.actor(near), far.actor(away)

    def check_end(world: Any) -> None:
        near, away = world
        assert len(near.ended) == 1
        (answer,) = near.answers
        seen.add((len(away.got), type(answer).__name__))

    covered = explore(build, check_end=check_end, independent_nodes=independent_nodes)
    assert covered.complete
    assert seen == {(0, "NodeUnreachableError"), (1, "int")}


def test_leaving_out_orders_leaves_out_no_state() -> None:
    def build(sim: Simulation) -> list[Any]:
        nodes = [sim.node(name) for name in "abc"]
        sinks = [node.spawn(Sink, name="sink") for node in nodes]
        nodes[0].spawn(Source, sinks[1], 1)
        sim.tell(sinks[0], Ask(sinks[1], 3))
        sim.tell(sinks[2], Ask(sinks[0], 4))
        nodes[1].after(0.0, nodes[1].crash)
        return [node.actor(sink) for node, sink in zip(nodes, sinks, strict=True)]

    def states_of(**options: Any) -> tuple[set[str], int, int]:
        states: set[str] = set()
        covered = explore(build, lambda sinks: states.add(str(state_of(sinks))), **options)
        assert covered.complete
        return states, covered.states, covered.transitions

    every, states, transitions = states_of()
    fewer, same_states, fewer_transitions = states_of(independent_nodes=True)
    assert fewer == every
    assert same_states == states > 100
    assert fewer_transitions < transitions * 0.7


@pytest.mark.parametrize("any_timers", [False, 10.0, 31.0, True])
def test_deadlines_come_last_or_at_any_moment(any_timers: bool | float) -> None:
    seen: set[str] = set()

    def build(sim: Simulation) -> Any:
        node = sim.node("node")
        asker = node.spawn(Sink)
        sim.tell(asker, Ask(sim.node("far").spawn(Sink), 5))
        sim.tell(asker, Ask(node.spawn(Mute), 6))
        return node.actor(asker)

    def check_end(asker: Sink) -> None:
        seen.add(" ".join(type(answer).__name__ for answer in asker.answers))

    assert explore(build, check_end=check_end, any_timers=any_timers).complete
    expected = {"int AskTimeoutError"}
    if any_timers in (
        True,
        31.0,
    ):  # the deadlines are after 30 s; the answer may come before, between and after the deadlines
        expected |= {"AskTimeoutError AskTimeoutError", "AskTimeoutError int"} & seen
        assert "AskTimeoutError AskTimeoutError" in seen
    assert seen == expected


class Take(Message, frozen=True):
    pass


class Taken(Message, frozen=True):
    left: int


class Till(Actor):
    """Looks at how much is left, then takes: two steps where one is needed."""

    def __init__(self, vault: ActorRef) -> None:
        self.vault = vault

    @handles(Take)
    def on_take(self, message: Take) -> None:
        self.context.ask(self.vault, Taken(0), self.on_left)

    def on_left(self, left: Any) -> None:
        if left > 0:
            self.context.tell(self.vault, Take())


class Vault(Actor):
    def __init__(self) -> None:
        self.left = 1

    @handles(Taken)
    def on_look(self, message: Taken) -> None:
        self.context.reply(self.left)

    @handles(Take)
    def on_take(self, message: Take) -> None:
        self.left -= 1


def bank(sim: Simulation) -> Vault:
    node = sim.node("vault")
    vault = node.spawn(Vault, name="vault")
    for name in ("till-1", "till-2"):
        sim.tell(sim.node(name).spawn(Till, vault, name=name), Take())
    return node.actor(vault)  # type: ignore[no-any-return]


def never_below_zero(vault: Vault) -> None:
    if vault.left < 0:
        raise InvariantError("never below zero", str(vault.left))


def test_a_counterexample_says_its_steps_and_can_be_replayed() -> None:
    with pytest.raises(CounterexampleError, match="never below zero: -1") as caught:
        explore(bank, never_below_zero)
    found = caught.value
    assert type(found.__cause__) is InvariantError
    assert len(found.steps) == len(found.path) == 8
    assert found.steps[-1] in ("till-1/till-1 -> vault/vault", "till-2/till-2 -> vault/vault")
    assert "   8 till-" in str(found)
    sim, vault = replay(bank, found.path)
    assert vault.left == -1
    assert len(sim.trace()) == 8


def test_an_actor_that_raises_is_a_counterexample() -> None:
    def build(sim: Simulation) -> None:
        sink = sim.node("node").spawn(Sink)
        sim.tell(sink, Number(1))
        sim.tell(sink, Fail())

    with pytest.raises(CounterexampleError, match="ValueError") as caught:
        explore(build)
    assert len(caught.value.steps) == 2
    assert explore(build, expect_failures=True).complete


def test_a_search_ends_at_its_bounds_and_says_so() -> None:
    for bound in ({"max_states": 10}, {"max_depth": 2}, {"max_seconds": 0.0}):
        covered = explore(two_pairs, **bound)  # type: ignore[arg-type]
        assert not covered.complete
        assert covered.states <= 10
        assert str(covered).endswith("stopped at a bound")
    assert str(explore(two_pairs)).startswith("25 states, 40 transitions, 1 ends, depth 8, ")


def test_what_was_tried_is_freed_messages_on_their_way_included() -> None:
    made: list[weakref.ref[Sink]] = []
    discarded = []

    def build(sim: Simulation) -> Sink:
        node = sim.node("sink")
        sink = node.spawn(Sink, name="sink")
        for name in "ab":
            sim.node(name).spawn(Source, sink, 2, name=name)
        made.append(weakref.ref(node.actor(sink)))
        return node.actor(sink)  # type: ignore[no-any-return]

    explore(build, discard=lambda sink: discarded.append(len(sink.got)))
    gc.collect()
    assert len(made) > 5
    assert len(discarded) == len(made) - 1, "all but the last, which goes with the search"
    assert [sink for sink in made if sink() is not None] == []


def test_a_state_is_made_of_values_not_of_identities() -> None:
    class Thing:
        def __init__(self, inner: Any) -> None:
            self.inner = inner
            self.me = self

    def made(by: int) -> Any:
        total = by
        things: list[Any] = [Thing([1, {"a": (2.5, b"x")}]), {3, 1, 2}, Number(by)]
        function: Callable[[], int] = lambda: total  # noqa: E731
        return [things, function, Thing(things[0]), Terminated, ValueError("x")]

    assert state_of(made(1)) == state_of(made(1)) != state_of(made(2))


def test_a_script_is_shrunk_to_what_makes_it_fail() -> None:
    tried = 0

    def fails(script: list[int]) -> bool:
        nonlocal tried
        tried += 1
        return script.count(7) >= 1 and 40 in script and script.index(7) < script.index(40)

    assert shrink(range(100), fails) == [7, 40]
    assert tried < 150


def test_shrinking_tries_again_what_could_not_be_left_out_before() -> None:
    assert shrink([1, 2, 3], lambda script: script in ([1, 2, 3], [1, 2], [2])) == [2]


def test_shrinking_is_bounded_and_needs_a_script_that_fails() -> None:
    tries: list[int] = []

    def fails(script: list[int]) -> bool:
        tries.append(len(script))
        return len(script) > 50

    assert 51 <= len(shrink(range(100), fails, max_tries=20)) <= 100
    assert len(tries) <= 20
    with pytest.raises(ValueError, match="nothing to shrink"):
        shrink([1], lambda _: False)
    assert shrink([1, 2], lambda _: True) == []
