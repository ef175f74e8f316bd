"""`Simulation`: many nodes of actors in one thread, in virtual time, all drawn from one seed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import msgspec

from actors.core.asks import OpenAsk
from actors.limits import ASK_TIMEOUT_S
from actors.messages import Envelope, Reply
from actors.ref import ActorRef
from actors.signals import DeadLetter
from actors.testkit.context import PendingReply
from actors.testkit.simulation.agenda import Agenda, Handle
from actors.testkit.simulation.cells import Receiver
from actors.testkit.simulation.delays import Delays
from actors.testkit.simulation.errors import (
    InvariantError,
    LivelockError,
)
from actors.testkit.simulation.events import Event, EventKind, Record, label, name_of
from actors.testkit.simulation.failures import Failure, Failures
from actors.testkit.simulation.network import Network
from actors.testkit.simulation.node import OUTSIDE, SimulatedNode

_EVENTS_PER_INSTANT = 10_000
_WALL_TIME_S = 1_800_000_000.0


class RunEnd(msgspec.Struct, frozen=True):
    """Why `Simulation.run` ended."""

    reason: str
    """`"quiet"` (nothing will ever happen), `"time"`, `"events"` or `"condition"`."""
    events: int
    """Events of this run."""
    time_s: float
    """Virtual time at its end."""


class Simulation:
    """Runs actors of many nodes unchanged, in virtual time, in the caller's thread.

    The cells, nodes, asks, timers and supervision are those of production. Simulated is what is
    between and below them: each message travels for a drawn time, never overtaking one of the same
    sender to the same receiver; nodes may crash, restart and freeze. Everything drawn comes from
    one seed, so a seed is a run, to be had again at any time.

    Attributes:
        seed: what it was made with.
        random: the source of all that is drawn; models may draw from it as well.
    """

    def __init__(
        self,
        seed: int,
        *,
        delays: Delays | None = None,
        expect_failures: bool | Callable[[ActorRef, Exception], bool] = False,
        keep_trace: bool = False,
        digest: bool = True,
        describe: Callable[[Any], str] | None = None,
        agenda: Agenda | None = None,
    ) -> None:
        """Make a simulation without nodes.

        Args:
            seed: decides all that is drawn.
            delays: how long messages travel and the like.
            expect_failures: whether handlers may raise; or a predicate that says which may. Any
                other failure ends the run with `UnexpectedFailureError`.
            keep_trace: keep the events for `trace`; costs time and memory.
            digest: hash the events for `digest`; costs a few microseconds per event.
            describe: what of a message enters the digest; default: all its fields.
            agenda: decides the order of things instead of the seed, as `explore` does.
        """
        self.seed = seed
        self.random = Random(seed)  # noqa: S311
        self.delays = delays or Delays()
        self._failures = Failures(expect_failures)
        self._record = Record(describe, digest=digest, keep_trace=keep_trace)
        self._checks: list[Callable[[Event], None]] = []
        self._instant_events = 0
        # Of its own, so that what models draw changes nothing here.
        network_random = Random(f"network of {seed}")  # noqa: S311
        self.agenda = agenda or Agenda(network_random, self.delays)
        self.network = Network(self.agenda, direct_local=self.delays.local_s is None)
        self.woken: list[SimulatedNode] = []
        """Nodes that have something to do before anything else happens."""
        self.nodes: dict[str, SimulatedNode] = {}
        self.outside = SimulatedNode(self, OUTSIDE)
        """Where the asks of `ask` come from."""
        self.network.outside = self.outside.core

    # --- the system -------------------------------------------------------------------------

    def node(
        self, name: str, setup: Callable[[SimulatedNode], None] | None = None
    ) -> SimulatedNode:
        """Add a node; `setup` spawns its actors: called now, and again after each restart."""
        if name in self.network.cores:
            raise ValueError(f"there is a node named {name!r} already")
        node = SimulatedNode(self, name, setup)
        self.nodes[name] = node
        return node

    def tell(self, ref: ActorRef, message: object, sender: ActorRef | None = None) -> None:
        """Send `message` to an actor from outside, or in the name of `sender`."""
        ref.deliver(Envelope(message, sender))

    def ask(self, ref: ActorRef, message: object, timeout_s: float = ASK_TIMEOUT_S) -> PendingReply:
        """Send a request from outside; the answer appears in what is returned."""
        core = self.outside.core
        pending = PendingReply(message)
        number = core.asks.open(OpenAsk(ref.address, pending.settle, None), timeout_s, core.now())
        ref.deliver(Envelope(message, core.outside, number))
        self.woken.append(self.outside)
        return pending

    def after(self, delay_s: float, callback: Callable[..., object], *args: Any) -> Handle:
        """Call back after `delay_s`: for users, models of the world, and faults."""
        return self.plan(delay_s, name_of(callback), partial(callback, *args))

    def on_event(self, check: Callable[[Event], None]) -> None:
        """Have `check` called after each event; it raises `InvariantError` to end the run."""
        self._checks.append(check)

    # --- time -------------------------------------------------------------------------------

    def now(self) -> float:
        """Virtual seconds since the simulation began."""
        return self.agenda.now_s

    def wall_time(self) -> float:
        """Seconds since the epoch, of a clock that never jumps."""
        return _WALL_TIME_S + self.agenda.now_s

    def run(
        self,
        *,
        until_s: float | None = None,
        until: Callable[[], bool] | None = None,
        max_events: int = 1_000_000,
    ) -> RunEnd:
        """Let things happen, in the order of time.

        Args:
            until_s: virtual time at which to stop.
            until: stop when it returns true; looked at after each event.
            max_events: stop after so many events.

        Raises:
            SimulationError: a check or an actor failed, or virtual time stands still.
        """
        before, reason = self._record.count, "quiet"
        while True:
            self.settle()
            if until is not None and until():
                reason = "condition"
                break
            if self._record.count - before >= max_events:
                reason = "events"
                break
            due_s = self.next_event_s()
            if due_s is None:
                break
            if until_s is not None and due_s > until_s:
                self.agenda.now_s = max(self.agenda.now_s, until_s)
                reason = "time"
                break
            if not self.step():
                break
        return RunEnd(reason, self._record.count - before, self.agenda.now_s)

    def step(self) -> bool:
        """Let the next thing happen; False if there is none.

        Raises:
            SimulationError: as for `run`.
        """
        self.settle()
        before_s = self.agenda.now_s
        entry = self.agenda.take()
        if entry is None:
            return False
        ref, source, item = entry
        if self.agenda.now_s > before_s:
            self._instant_events = self._record.count
        elif self._record.count - self._instant_events > _EVENTS_PER_INSTANT:
            raise LivelockError(
                f"{_EVENTS_PER_INSTANT} events at {before_s} s of virtual time, the next one for "
                f"{label(ref) or 'a callback'}: timers or delays of 0 s keep the system busy"
            )
        if ref is None:
            item()
        else:
            self._arrive(ref, source, item)
        self.settle()
        return True

    def next_event_s(self) -> float | None:
        """When the next thing happens, `None` if nothing does."""
        return self.agenda.next_s()

    # --- what happened ----------------------------------------------------------------------

    @property
    def events(self) -> int:
        """How many events there were."""
        return self._record.count

    @property
    def failures(self) -> list[Failure]:
        """The handlers that raised."""
        return self._failures.kept

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """What nobody handled, in order per node: the last of every node that ever ran."""
        cores = self.network.cores.values()
        return [letter for core in cores for letter in core.dead_letters.kept]

    def digest(self) -> str:
        """Return a hash of all events so far: equal for equal runs, on any machine."""
        return self._record.digest()

    def trace(self) -> list[str]:
        """Return the last events as lines to read, if `keep_trace` was asked for."""
        return self._record.lines()

    def failure_line(self, error: BaseException, command: str) -> str:
        """Return one line: what `run` raised, where, and the command that runs the seed again."""
        what = error.invariant if isinstance(error, InvariantError) else type(error).__name__
        return (
            f"seed={self.seed} invariant={what!r} time_s={self.agenda.now_s:.6f} "
            f"event={self._record.count} digest={self.digest()} replay: {command}"
        )

    # --- for nodes and cells ----------------------------------------------------------------

    def plan(
        self, delay_s: float, name: str, function: Callable[[], object], node: str = ""
    ) -> Handle:
        """Enter a callback under a name; `node` is that of the only node which it touches."""
        if delay_s < 0:
            raise ValueError(f"time only moves forward, not by {delay_s} s")
        handle = Handle(name, function, node)
        self.agenda.call(handle, self.agenda.now_s + delay_s, partial(self._call, handle))
        return handle

    def note_world(self, kind: EventKind, name: str) -> None:
        """Tell an event that is not about a message."""
        self.tell_event(Event(kind, self.agenda.now_s, None, None, name))

    def tell_event(self, event: Event) -> None:
        """Enter an event into the record, and have the checks look at it."""
        self._record.add(event)
        for check in self._checks:
            check(event)

    def failed(self, ref: ActorRef, error: Exception) -> None:
        """Note a handler that raised."""
        self._failures.add(Failure(self.agenda.now_s, ref, error))

    def settle(self) -> None:
        """Give the nodes that were woken their turn; then raise what must not be missed."""
        while self.woken:
            woken, self.woken = self.woken, []
            for node in woken:
                node.turn()
        if self._failures.unexpected is not None:
            self._failures.raise_unexpected()

    # --- inside -----------------------------------------------------------------------------

    def _call(self, handle: Handle) -> None:
        if not handle.cancelled:
            handle.cancelled = True
            handle.function()
            self.note_world(EventKind.WORLD, handle.name)

    def _arrive(self, ref: Receiver, source: ActorRef | None, item: Envelope | Reply) -> None:
        node = self.network.arrive(ref, source, item)
        if node is None:
            self.tell_event(Event(EventKind.LOST, self.now(), source, ref, item.message))
        elif not node.paused:
            if stall_s := self.agenda.stall_s():
                node.stall(stall_s)
            else:
                node.turn()
