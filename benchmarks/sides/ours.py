"""Our side."""

from __future__ import annotations

import measure

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actors import ActorRef, ActorSystem
    from scaler import Client, ScalerFuture


def gather(futures: list[ScalerFuture]) -> list[Any]:
    return [future.result() for future in futures]


def cancel(future: ScalerFuture) -> None:
    if not future.cancel():
        raise RuntimeError("the cancel was not confirmed")


def cancel_all(client: Client) -> Callable[[list[ScalerFuture]], None]:
    def cancel_them(futures: list[ScalerFuture]) -> None:
        if not all(client.cancel(futures)):
            raise RuntimeError("a cancel was not confirmed")

    return cancel_them


def with_client(case: Callable[[Client], float]) -> float:
    from scaler import Client

    with Client(workers=measure.WORKERS) as client:
        return case(client)


def tell_thread(system: ActorSystem) -> float:
    from ours_actors import COUNT, TICK, Counter

    counter = system.spawn(Counter)

    def once() -> None:
        for _ in range(measure.TELLS):
            counter.tell(TICK)
        counter.ask(COUNT).result()

    return measure.rate(once, measure.TELLS)


def tell_actor(system: ActorSystem) -> float:
    from ours_actors import Caller, Counter, Tell

    caller = system.spawn(Caller, system.spawn(Counter))
    return measure.rate(lambda: caller.ask(Tell(measure.TELLS)).result(), measure.TELLS)


def ask_actor(system: ActorSystem) -> float:
    from ours_actors import Ask, Caller, Counter

    caller = system.spawn(Caller, system.spawn(Counter))
    return measure.rate(lambda: caller.ask(Ask(measure.ASKS)).result(), measure.ASKS)


def ask_thread(system: ActorSystem) -> float:
    from ours_actors import COUNT, Counter

    counter = system.spawn(Counter)

    def once() -> None:
        for _ in range(measure.ASKS):
            counter.ask(COUNT).result()

    return measure.rate(once, measure.ASKS)


def in_process(system: ActorSystem) -> ActorRef:
    from ours_actors import Counter

    return system.start_node("child").spawn(Counter)


def process_call(system: ActorSystem) -> float:
    from ours_actors import Ask, Caller

    caller = system.spawn(Caller, in_process(system))
    calls = 50

    def once() -> None:
        caller.ask(Ask(calls)).result()

    return measure.p50(once, calls=21, warm_up=2) / calls * 1e6


def process_call_thread(system: ActorSystem) -> float:
    from ours_actors import COUNT

    counter = in_process(system)
    return measure.p50(lambda: counter.ask(COUNT).result()) * 1e6


def process_pipelined(system: ActorSystem) -> float:
    from ours_actors import AskAll, Caller

    caller = system.spawn(Caller, in_process(system))

    def once() -> None:
        caller.ask(AskAll(measure.TASKS)).result()

    once()
    return measure.rate(once, measure.TASKS)


def process_pipelined_thread(system: ActorSystem) -> float:
    from ours_actors import COUNT

    counter = in_process(system)

    def once() -> None:
        for answer in [counter.ask(COUNT) for _ in range(measure.TASKS)]:
            answer.result()

    once()
    return measure.rate(once, measure.TASKS)


def create_thread(system: ActorSystem) -> float:
    from ours_actors import COUNT, Counter

    def once() -> None:
        system.spawn(Counter).ask(COUNT).result()

    return measure.p50(once, calls=100, warm_up=20) * 1e3


def create_process(system: ActorSystem) -> float:
    from ours_actors import COUNT, Counter

    numbers = count()

    def once() -> None:
        system.start_node(f"child-{next(numbers)}").spawn(Counter).ask(COUNT).result()

    return measure.p50(once, calls=11, warm_up=2) * 1e3


def with_system(case: Callable[[ActorSystem], float]) -> float:
    from actors import ActorSystem

    with ActorSystem() as system:
        return case(system)


TASKS: dict[str, Callable[[Client], float]] = {
    "submit-gather": lambda client: measure.submit_gather(client.submit, gather),
    "map": lambda client: measure.map_items(client.map),
    "latency": lambda client: measure.latency(client.submit, gather),
    "cancel-running": lambda client: measure.cancel_running(client.submit, cancel, gather),
    "cancel-running-c": lambda client: measure.cancel_running(
        client.submit, cancel, gather, measure.compute
    ),
    "cancel-queued": lambda client: measure.cancel_queued(
        client.submit, cancel, cancel_all(client)
    ),
    "cancel-queued-one": lambda client: measure.cancel_one_queued(client.submit, cancel),
    "argument": lambda client: measure.argument(client.submit, gather),
    "result": lambda client: measure.result(client.submit, gather),
    "shared": lambda client: measure.shared(client.put, client.submit, gather),
    "middling": lambda client: measure.middling(client.submit, gather),
    "own-arrays": lambda client: measure.own_arrays(client.submit, gather),
    "cold-start": lambda client: measure.cold_start(client.submit, gather),
    "idle-memory": lambda client: measure.idle_memory(client.submit, gather),
}
ACTORS: dict[str, Callable[[ActorSystem], float]] = {
    "tell-thread": tell_thread,
    "tell-actor": tell_actor,
    "ask-thread": ask_thread,
    "ask-actor": ask_actor,
    "process-call": process_call,
    "process-call-thread": process_call_thread,
    "process-pipelined": process_pipelined,
    "process-pipelined-thread": process_pipelined_thread,
    "create-thread": create_thread,
    "create-process": create_process,
}

if __name__ == "__main__":
    measure.main(
        {name: partial(with_client, case) for name, case in TASKS.items()}
        | {name: partial(with_system, case) for name, case in ACTORS.items()}
    )
