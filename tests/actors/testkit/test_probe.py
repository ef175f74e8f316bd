from __future__ import annotations

from collections.abc import Iterator

import pytest

from actors import (
    Actor,
    ActorRef,
    ActorStoppedError,
    ActorSystem,
    Message,
    TerminationReason,
    handles,
)
from actors.testkit import Probe


class Ping(Message, frozen=True):
    number: int


class Pong(Message, frozen=True):
    number: int


class Player(Actor):
    def __init__(self, other: ActorRef) -> None:
        self.other = other

    @handles(Ping)
    def on_ping(self, message: Ping) -> None:
        self.context.tell(self.other, Pong(message.number))

    @handles(Pong)
    def on_pong(self, message: Pong) -> None:
        self.context.ask(self.other, message, self.on_answer)

    def on_answer(self, answer: object) -> None:
        self.context.tell(self.other, f"{answer}")


@pytest.fixture
def system() -> Iterator[ActorSystem]:
    with ActorSystem("probing") as system:
        yield system


def test_a_probe_gets_what_an_actor_tells_in_order(system: ActorSystem) -> None:
    probe = Probe(system, "probe")
    player = system.spawn(Player, probe.ref)
    for number in range(100):
        player.tell(Ping(number))
    assert [probe.expect(Pong).number for _ in range(100)] == list(range(100))
    assert probe.ref.name == "probe"
    assert repr(probe) == "<Probe probe, 0 waiting>"


def test_a_probe_knows_who_sent_a_message(system: ActorSystem) -> None:
    probe = Probe(system)
    player = system.spawn(Player, probe.ref)
    player.tell(Ping(1))
    got = probe.take(Pong)
    assert got.sender == player
    assert repr(got) == "Pong(number=1)"


def test_a_probe_answers_requests_when_it_likes(system: ActorSystem) -> None:
    probe = Probe(system)
    player = system.spawn(Player, probe.ref)
    player.tell(Pong(1))
    request = probe.take(Pong)
    probe.expect_nothing(during=0.01)
    request.reply(42)
    request.reply(43)
    assert probe.expect(str) == "42"
    probe.expect_nothing(during=0.01)


def test_a_probe_that_stops_fails_its_open_requests(system: ActorSystem) -> None:
    probe = Probe(system)
    future = probe.ref.ask(Ping(1))
    probe.take(Ping)
    probe.stop()
    with pytest.raises(ActorStoppedError):
        future.result(3)


def test_a_probe_is_told_the_end_of_what_it_watches(system: ActorSystem) -> None:
    probe = Probe(system)
    player, other = system.spawn(Player, probe.ref), system.spawn(Player, probe.ref)
    probe.watch(player)
    probe.watch(other)
    player.stop()
    assert probe.expect_terminated(player).reason is TerminationReason.STOPPED
    other.stop()
    with pytest.raises(AssertionError, match="was expected"):
        probe.expect_terminated(player)


def test_the_wrong_message_or_none_fails_the_test(system: ActorSystem) -> None:
    probe = Probe(system, "probe")
    probe.ref.tell(Ping(1))
    with pytest.raises(AssertionError, match=r"probe got Ping\(number=1\); a Pong was expected"):
        probe.expect(Pong)
    with pytest.raises(AssertionError, match=r"probe got no message within 0\.01 s; a Pong"):
        probe.expect(Pong, timeout=0.01)
    probe.ref.tell(Ping(2))
    with pytest.raises(AssertionError, match="nothing was expected"):
        probe.expect_nothing(during=3.0)
