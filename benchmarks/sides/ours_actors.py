"""The actors of our side: in a module, so that messages and classes travel by name."""

from __future__ import annotations

from typing import Any

from actors import Actor, ActorRef, DeferredReply, Message, handles


class Tick(Message, frozen=True):
    """Something to count."""


class Count(Message, frozen=True):
    """Asks how many."""


class Tell(Message, frozen=True):
    """Asks a caller to tell another actor this many times, and then how many arrived."""

    times: int


class Ask(Message, frozen=True):
    """Asks a caller to ask another actor this many times, one at a time."""

    times: int


class AskAll(Message, frozen=True):
    """Asks a caller to ask another actor this many times, all open at once."""

    times: int


TICK = Tick()
COUNT = Count()


class Counter(Actor):
    """Counts the messages it is told, and answers how many there were."""

    def __init__(self) -> None:
        self.count = 0

    @handles(Tick)
    def on_tick(self, message: Tick) -> None:
        self.count += 1

    @handles(Count)
    def on_count(self, message: Count) -> None:
        self.context.reply(self.count)


class Caller(Actor):
    """Tells, or asks, another actor many times."""

    def __init__(self, counter: ActorRef) -> None:
        self.counter = counter
        self.left = 0
        self.answer: DeferredReply | None = None

    @handles(Tell)
    def on_tell(self, message: Tell) -> None:
        self.answer = self.context.defer_reply()
        for _ in range(message.times):
            self.context.tell(self.counter, TICK)
        self.left = 1
        self.context.ask(self.counter, COUNT, self.on_answer)

    @handles(Ask)
    def on_ask(self, message: Ask) -> None:
        self.answer = self.context.defer_reply()
        self.left = message.times
        self.context.ask(self.counter, COUNT, self.on_answer)

    @handles(AskAll)
    def on_ask_all(self, message: AskAll) -> None:
        self.answer = self.context.defer_reply()
        self.left = message.times
        for _ in range(message.times):
            self.context.ask(self.counter, COUNT, self.on_one)

    def on_one(self, reply: Any) -> None:
        if isinstance(reply, Exception):
            raise reply
        self.left -= 1
        if not self.left and self.answer:
            self.answer.send(reply)

    def on_answer(self, reply: Any) -> None:
        if isinstance(reply, Exception):
            raise reply
        self.left -= 1
        if self.left:
            self.context.ask(self.counter, COUNT, self.on_answer)
        elif self.answer:
            self.answer.send(reply)
