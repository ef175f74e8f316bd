"""pykka: actors in threads of one process."""

from __future__ import annotations

import measure

from typing import Any

import pykka


class Counter(pykka.ThreadingActor):
    """Counts the messages it is told, and answers how many there were."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def on_receive(self, message: Any) -> Any:
        if message == "count":
            return self.count
        self.count += 1
        return None


class Caller(pykka.ThreadingActor):
    """Tells, or asks, another actor many times."""

    def __init__(self, counter: Any) -> None:
        super().__init__()
        self.counter = counter

    def on_receive(self, message: Any) -> Any:
        verb, times = message
        if verb == "tell":
            for _ in range(times):
                self.counter.tell("tick")
        else:
            for _ in range(times):
                self.counter.ask("count")
        return self.counter.ask("count")


def tell_thread() -> float:
    counter = Counter.start()

    def once() -> None:
        for _ in range(measure.TELLS):
            counter.tell("tick")
        counter.ask("count")

    return measure.rate(once, measure.TELLS)


def tell_actor() -> float:
    caller = Caller.start(Counter.start())
    return measure.rate(lambda: caller.ask(("tell", measure.TELLS)), measure.TELLS)


def ask_thread() -> float:
    counter = Counter.start()

    def once() -> None:
        for _ in range(measure.ASKS):
            counter.ask("count")

    return measure.rate(once, measure.ASKS)


def ask_actor() -> float:
    caller = Caller.start(Counter.start())
    return measure.rate(lambda: caller.ask(("ask", measure.ASKS)), measure.ASKS)


def create_thread() -> float:
    return measure.p50(lambda: Counter.start().ask("count"), calls=100, warm_up=20) * 1e3


if __name__ == "__main__":
    try:
        measure.main(
            {
                "tell-thread": tell_thread,
                "tell-actor": tell_actor,
                "ask-thread": ask_thread,
                "ask-actor": ask_actor,
                "create-thread": create_thread,
            }
        )
    finally:
        pykka.ActorRegistry.stop_all()
