"""Actors that the tests of the simulator simulate."""

from __future__ import annotations

from typing import Any

from actors import Actor, ActorRef, Message, Terminated, handles
from actors.testkit import Simulation


class Number(Message, frozen=True):
    number: int


class Ask(Message, frozen=True):
    """Have the receiver ask `ref` for an answer within `timeout_s`."""

    ref: ActorRef
    number: int
    timeout_s: float = 30.0


class Watch(Message, frozen=True):
    ref: ActorRef


class Fail(Message, frozen=True):
    pass


class Stop(Message, frozen=True):
    pass


class Sink(Actor):
    """Keeps what it is told, and what its turns were like."""

    def __init__(self) -> None:
        self.got: list[tuple[str, int]] = []
        self.ended: list[Terminated] = []
        self.answers: list[Any] = []
        self.turns: list[int] = []
        self.times: list[float] = []
        self._in_turn = 0

    @handles(Number)
    def on_number(self, message: Number) -> None:
        sender = self.context.sender
        self.got.append((sender.name if sender else "", message.number))
        self.times.append(self.context.now())
        self._in_turn += 1
        self.context.reply(message.number)

    @handles(Ask)
    def on_ask(self, message: Ask) -> None:
        self.context.ask(
            message.ref, Number(message.number), self.answers.append, message.timeout_s
        )

    @handles(Watch)
    def on_watch(self, message: Watch) -> None:
        self.context.watch(message.ref)

    @handles(Terminated)
    def on_end(self, message: Terminated) -> None:
        self.got.append((message.ref.name, -1))
        self.ended.append(message)

    @handles(Fail)
    def on_fail(self, message: Fail) -> None:
        raise ValueError("as asked for")

    @handles(Stop)
    def on_stop_message(self, message: Stop) -> None:
        self.context.stop()

    def end_of_turn(self) -> None:
        self.turns.append(self._in_turn)
        self._in_turn = 0


class Source(Actor):
    """Tells numbers to another actor: a few at once, the rest one by one."""

    def __init__(self, target: ActorRef, count: int, *, then_stop: bool = False) -> None:
        self.target = target
        self.count = count
        self.then_stop = then_stop

    def on_start(self) -> None:
        for number in range(self.count):
            self.context.tell(self.target, Number(number))
        if self.then_stop:
            self.context.stop()


class Mute(Actor):
    """Takes requests and never answers."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    @handles(Number)
    def on_number(self, message: Number) -> None:
        self.kept.append(self.context.defer_reply())


class Ticker(Actor):
    """Counts ticks of a timer."""

    def __init__(self, every_s: float, ticks: int = 1_000_000_000) -> None:
        self.every_s = every_s
        self.ticks = ticks
        self.times: list[float] = []

    def on_start(self) -> None:
        self.context.start_timer("tick", self.every_s, Number(0))

    @handles(Number)
    def on_tick(self, message: Number) -> None:
        self.times.append(self.context.now())
        if len(self.times) < self.ticks:
            self.context.start_timer("tick", self.every_s, Number(len(self.times)))


def gathering(seed: int, sources: int = 4, count: int = 10, **options: Any) -> tuple[Any, Any]:
    """Simulate sources on nodes of their own, and one that is the sink's neighbour."""
    sim = Simulation(seed, **options)
    home = sim.node("home")
    sink = home.spawn(Sink, name="sink")
    home.spawn(Source, sink, count, name="neighbour")
    for number in range(sources):
        sim.node(f"far-{number}").spawn(Source, sink, count, name=f"source-{number}")
    return sim, home.actor(sink)
