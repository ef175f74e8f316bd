"""A lock server with a bug that only a crash at the wrong moment shows.

The simulator runs it with its clients on several nodes, finds the bug, replays it by its seed,
shrinks what the clients did to the few steps that matter, and shows them. Then it tries every
order of a small system with the server as it should be.

    python examples/simulated_lock.py          # look for a seed that fails
    python examples/simulated_lock.py 17       # run this seed, with a trace
"""

from __future__ import annotations

import sys
from functools import partial
from random import Random
from typing import NamedTuple

from actors import Actor, ActorRef, Message, Terminated, handles
from actors.testkit import Delays, InvariantError, Simulation, explore, shrink


class Acquire(Message, frozen=True):
    """Told by a client, and answered with `Granted` when it is its turn."""


class Granted(Message, frozen=True):
    """The lock is yours until you release it."""


class Release(Message, frozen=True):
    """Told by the client that has the lock."""


class Want(Message, frozen=True):
    """Told to a client: get the lock, and keep it for a while."""

    keep_s: float


class LockServer(Actor):
    """Gives one lock to one client after the other. The lock of a client that dies is free."""

    def __init__(self) -> None:
        self.holder: ActorRef | None = None
        self.waiting: list[ActorRef] = []

    @handles(Acquire)
    def on_acquire(self, message: Acquire) -> None:
        """Put the client in the queue."""
        client = self.context.sender
        assert client is not None
        self.context.watch(client)
        self.waiting.append(client)
        self.grant()

    @handles(Release)
    def on_release(self, message: Release) -> None:
        """Give the lock to the next one."""
        self.holder = None
        self.grant()

    @handles(Terminated)
    def on_end(self, message: Terminated) -> None:
        """Forget a client."""
        self.waiting = [client for client in self.waiting if client != message.ref]
        if self.holder == message.ref:
            self.holder = None
            self.grant()

    def grant(self) -> None:
        """Give the lock to the first in the queue if it is free."""
        if self.holder is None and self.waiting:
            self.holder = self.waiting.pop(0)
            self.context.tell(self.holder, Granted())


class BuggyServer(LockServer):
    """The bug: whoever dies, the lock is free."""

    def on_end(self, message: Terminated) -> None:
        """Forget a client."""
        self.waiting = [client for client in self.waiting if client != message.ref]
        self.holder = None
        self.grant()


class Client(Actor):
    """Wants the lock now and then."""

    def __init__(self, server: ActorRef) -> None:
        self.server = server
        self.keep_s = 0.0
        self.wants = self.holds = False

    @handles(Want)
    def on_want(self, message: Want) -> None:
        """Ask for the lock, once."""
        if not self.wants:
            self.wants, self.keep_s = True, message.keep_s
            self.context.tell(self.server, Acquire())

    @handles(Granted)
    def on_granted(self, message: Granted) -> None:
        """Keep it for a while."""
        self.holds = True
        self.context.start_timer("release", self.keep_s, Release())

    @handles(Release)
    def on_release(self, message: Release) -> None:
        """Give it back."""
        self.wants = self.holds = False
        self.context.tell(self.server, Release())


class Step(NamedTuple):
    """One thing that happens to a client from outside."""

    at_s: float
    client: int
    keep_s: float | None
    """How long it wants the lock; `None`: its node crashes."""


CLIENTS = 4


def drawn(seed: int) -> list[Step]:
    """Draw what happens: mostly clients that want the lock, sometimes a crash."""
    random = Random(seed)
    return [
        Step(
            round(random.uniform(0.0, 10.0), 3),
            random.randrange(CLIENTS),
            None if random.random() < 0.1 else round(random.uniform(0.1, 2.0), 3),
        )
        for _ in range(40)
    ]


def check(sim: Simulation, clients: list[Client], _event: object = None) -> None:
    """Raise if two clients that live have the lock: this is what the server promises."""
    names = [
        node.name
        for node, client in zip(list(sim.nodes.values())[1:], clients, strict=True)
        if node.alive and client.holds
    ]
    if len(names) > 1:
        raise InvariantError("one holder", f"{' and '.join(names)} have the lock")


def run(
    seed: int, script: list[Step], server_class: type[LockServer], *, keep_trace: bool = False
) -> Simulation:
    """Simulate a script.

    Raises:
        InvariantError: two clients had the lock; how to see it again is in its notes.
    """
    sim = Simulation(seed, delays=Delays.drawn(Random(seed)), keep_trace=keep_trace)
    server = sim.node("server").spawn(server_class, name="server")
    refs = []
    for number in range(CLIENTS):
        node = sim.node(f"host-{number}")
        refs.append(node.spawn(Client, server, name=f"client-{number}"))
    nodes = list(sim.nodes.values())[1:]
    for step in script:
        if step.keep_s is None:
            sim.after(step.at_s, nodes[step.client].crash)
        else:
            sim.after(step.at_s, sim.tell, refs[step.client], Want(step.keep_s))
    clients = [node.actor(ref) for node, ref in zip(nodes, refs, strict=True)]
    sim.on_event(partial(check, sim, clients))
    try:
        sim.run(until_s=60.0)
    except InvariantError as error:
        error.add_note(sim.failure_line(error, f"python examples/simulated_lock.py {seed}"))
        if keep_trace:
            error.add_note("\n".join(sim.trace()))
        raise
    return sim


def failure_of(seed: int, script: list[Step], **options: bool) -> list[str]:
    """Return what the notes of the failure say, empty if there is none."""
    try:
        run(seed, script, BuggyServer, **options)
    except InvariantError as error:
        return error.__notes__
    return []


def small(sim: Simulation) -> list[Client]:
    """Make a system that is small enough to try all orders: two clients, one may crash."""
    server = sim.node("server").spawn(LockServer, name="server")
    clients = []
    for number in range(2):
        node = sim.node(f"host-{number}")
        ref = node.spawn(Client, server, name=f"client-{number}")
        clients.append(node.actor(ref))
        sim.tell(ref, Want(1.0))
    host = sim.nodes["host-0"]
    host.after(0.0, host.crash)
    sim.on_event(partial(check, sim, clients))
    return clients


def main() -> None:
    """Find, replay, shrink; then show that the server without the bug holds."""
    if len(sys.argv) > 1:
        seed = int(sys.argv[1])
        print("\n".join(failure_of(seed, drawn(seed), keep_trace=True)) or f"seed {seed} holds")
        return
    seed = next(seed for seed in range(10_000) if failure_of(seed, drawn(seed)))
    print("found:  ", *failure_of(seed, drawn(seed)))
    print("again:  ", *failure_of(seed, drawn(seed)))
    script = drawn(seed)
    smallest = shrink(script, lambda shorter: bool(failure_of(seed, shorter)))
    print(f"shrunk:   {len(script)} steps to {len(smallest)}")
    for step in sorted(smallest):
        what = "crashes" if step.keep_s is None else f"wants the lock for {step.keep_s} s"
        print(f"          {step.at_s:6.3f} s  client {step.client} {what}")
    print(failure_of(seed, smallest, keep_trace=True)[1])
    for seed in range(50):
        run(seed, drawn(seed), LockServer)
    print("the server without the bug: 50 seeds hold")
    print("every order of a small one:", explore(small, any_timers=True))


if __name__ == "__main__":
    main()
