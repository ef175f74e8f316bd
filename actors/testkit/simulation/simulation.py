"""`Simulation`: many nodes of actors in one thread, in virtual time, all drawn from one seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from heapq import heappop, heappush
from random import Random
from typing import Any

import msgspec

from actors.core.asks import OpenAsk
from actors.core.guardian import guardian_address
from actors.core.node import NodeCore, OutsideRef
from actors.errors import ActorStoppedError, AskTimeoutError, NodeUnreachableError
from actors.limits import ASK_TIMEOUT_S
from actors.messages import Envelope, Reply
from actors.ref import ActorRef, Address
from actors.signals import DeadLetterReason
from actors.testkit.context import PendingReply
from actors.testkit.simulation.cells import SimulatedCore, SimulatedOutsideRef, SimulatedRef
from actors.testkit.simulation.delays import Delays
from actors.testkit.simulation.errors import (
    InvariantError,
    LivelockError,
    UnexpectedFailureError,
)
from actors.testkit.simulation.events import Event, EventKind, Record, label, name_of
from actors.testkit.simulation.node import SimulatedNode

_EVENTS_PER_INSTANT = 10_000
_WALL_TIME_S = 1_800_000_000.0

Receiver = SimulatedRef | SimulatedOutsideRef


class Failure(msgspec.Struct, frozen=True):
    """A handler that raised."""

    time_s: float
    ref: ActorRef
    error: Exception


class RunEnd(msgspec.Struct, frozen=True):
    """Why `Simulation.run` ended."""

    reason: str
    """`"quiet"` (nothing will ever happen), `"time"`, `"events"` or `"condition"`."""
    events: int
    """Events of this run."""
    time_s: float
    """Virtual time at its end."""


class Handle:
    """A callback that is still to come."""

    __slots__ = ("cancelled", "function", "name")

    def __init__(self, name: str, function: Callable[[], object]) -> None:
        self.name = name
        self.function = function
        self.cancelled = False

    def cancel(self) -> None:
        """Do not call it."""
        self.cancelled = True


class Simulation:
    """Runs actors of many nodes unchanged, in virtual time, in the caller's thread.

    The cells, nodes, asks, timers and supervision are those of production. Simulated is what is
    between and below them: each message travels for a drawn time, never overtaking one of the same
    sender to the same receiver; nodes may crash, restart and freeze. Everything drawn comes from
    one seed, so a seed is a run, to be had again at any time.

    Attributes:
        seed: what it was made with.
        random: the source of all that is drawn; models may draw from it as well.
        failures: the handlers that raised.
    """

    def __init__(
        self,
        seed: int,
        *,
        delays: Delays | None = None,
        expect_failures: bool | Callable[[ActorRef, Exception], bool] = False,
        keep_trace: bool = False,
        describe: Callable[[Any], str] | None = None,
    ) -> None:
        """Make a simulation without nodes.

        Args:
            seed: decides all that is drawn.
            delays: how long messages travel and the like.
            expect_failures: whether handlers may raise; or a predicate that says which may. Any
                other failure ends the run with `UnexpectedFailureError`.
            keep_trace: keep the events for `trace`; costs time and memory.
            describe: what of a message enters the digest; default: all its fields.
        """
        self.seed = seed
        self.random = Random(seed)  # noqa: S311
        self.delays = delays or Delays()
        self.failures: list[Failure] = []
        self._expect_failures = expect_failures
        self._record = Record(describe, keep_trace=keep_trace)
        self._checks: list[Callable[[Event], None]] = []
        self._now_s = 0.0
        self._serial = 0
        self._heap: list[tuple[float, int, Receiver | None, Any, Any]] = []
        self._unexpected: Failure | None = None
        self._instant_events = 0
        self._is_system = False
        self.source: ActorRef | None = None
        """The actor that runs now."""
        self.woken: list[SimulatedNode] = []
        """Nodes that have something to do before anything else happens."""
        self.nodes: dict[str, SimulatedNode] = {}
        self._cores: dict[str, SimulatedCore] = {}
        self.outside = SimulatedNode(self, "outside")
        """Where the asks of `ask` come from."""

    # --- the system -------------------------------------------------------------------------

    def node(
        self, name: str, setup: Callable[[SimulatedNode], None] | None = None
    ) -> SimulatedNode:
        """Add a node.

        Args:
            name: unique.
            setup: spawns the node's actors: called now, and again after each restart.
        """
        if name in self._cores:
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
        ask = OpenAsk(ref.address, pending.settle, None)
        number = core.asks.open(ask, timeout_s, core.now())
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
        return self._now_s

    def wall_time(self) -> float:
        """Seconds since the epoch, of a clock that never jumps."""
        return _WALL_TIME_S + self._now_s

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
        before = self._record.count
        reason = "quiet"
        while True:
            self._settle()
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
                self._now_s = until_s
                reason = "time"
                break
            self.step()
        return RunEnd(reason, self._record.count - before, self._now_s)

    def step(self) -> bool:
        """Let the next thing happen; False if there is none.

        Raises:
            SimulationError: as for `run`.
        """
        self._settle()
        if not self._heap:
            return False
        due_s, _, ref, source, item = heappop(self._heap)
        if due_s > self._now_s:
            self._now_s = due_s
            self._instant_events = self._record.count
        elif self._record.count - self._instant_events > _EVENTS_PER_INSTANT:
            raise LivelockError(
                f"{_EVENTS_PER_INSTANT} events at {due_s} s of virtual time, the next one for "
                f"{label(ref) or 'a callback'}: timers or delays of 0 s keep the system busy"
            )
        if ref is None:
            item()
        else:
            self._arrive(ref, source, item)
        self._settle()
        return True

    def next_event_s(self) -> float | None:
        """When the next thing happens, `None` if nothing does."""
        return self._heap[0][0] if self._heap else None

    # --- what happened ----------------------------------------------------------------------

    @property
    def events(self) -> int:
        """How many events there were."""
        return self._record.count

    def digest(self) -> str:
        """Return a hash of all events so far: equal for equal runs, on any machine."""
        return self._record.digest()

    def trace(self) -> list[str]:
        """Return the last events as lines to read, if `keep_trace` was asked for."""
        return self._record.lines()

    def failure_line(self, error: BaseException, command: str) -> str:
        """Return one line that says what failed, and how to see it again.

        Args:
            error: what `run` raised.
            command: runs this seed again.
        """
        what = error.invariant if isinstance(error, InvariantError) else type(error).__name__
        return (
            f"seed={self.seed} invariant={what!r} time_s={self._now_s:.6f} "
            f"event={self._record.count} digest={self.digest()} replay: {command}"
        )

    # --- for nodes, refs and cells ----------------------------------------------------------

    def enter(self, core: SimulatedCore) -> None:
        """Take in a node that begins."""
        core.lost = {name: None for name, other in self._cores.items() if other.crashed}
        self._cores[core.name] = core

    def find(self, address: Address) -> Receiver | None:
        """Return who lives at an address."""
        core = self._cores.get(address.node)
        if core is None:
            return None
        if not address.number:
            return core.outside  # type: ignore[return-value]
        cell = core.cells.get(address.number)
        return None if cell is None else cell.ref  # type: ignore[return-value]

    def send(self, ref: Receiver, core: SimulatedCore, item: Envelope | Reply) -> None:
        """Put a message on its way to an actor of `core`."""
        source = self.source
        if type(item) is Envelope and item.sender is not None:
            source = item.sender
        elif source is None and self._is_system:
            self._hand_over(ref, core, None, item)
            return
        local = type(source) is SimulatedRef and source.cell.node is core
        delays = self.delays
        if local and delays.local_s is None:
            self._hand_over(ref, core, source, item)
        elif core.crashed and self._is_known_as_lost(source, core):
            self._refuse(source, ref.address, item)
        else:
            due_s = self._now_s + delays.travel(self.random, local=local)
            last_s = ref.arrivals_s.get(source, 0.0)
            if due_s < last_s:
                due_s = last_s
            ref.arrivals_s[source] = due_s
            self._serial += 1
            heappush(self._heap, (due_s, self._serial, ref, source, item))

    def send_to_guardian(self, node: str, message: object) -> None:
        """Have the actor that runs now tell the guardian of another node."""
        guardian = self.find(guardian_address(node))
        if guardian is not None:
            guardian.deliver(Envelope(message))

    def flush(self, core: SimulatedCore) -> None:
        """Send what a node tells to addresses: mostly words between guardians."""
        own = self.find(guardian_address(core.name))
        for _ in range(len(core.outgoing)):
            address, item = core.outgoing.popleft()
            ref = self.find(address)
            if ref is not None and address.node not in core.lost:
                self.source = own
                ref.deliver(item)
                self.source = None
                continue
            with self.as_system():
                if address.node in core.lost:
                    self._refuse(own, address, item)
                    continue
                core.undeliverable(
                    address,
                    item,
                    ActorStoppedError(f"actor {address.name} has stopped"),
                    DeadLetterReason.STOPPED,
                )

    def plan(self, delay_s: float, name: str, function: Callable[[], object]) -> Handle:
        """Enter a callback under a name."""
        if delay_s < 0:
            raise ValueError(f"time only moves forward, not by {delay_s} s")
        handle = Handle(name, function)
        self.post(self._now_s + delay_s, partial(self._call, handle))
        return handle

    def post(self, at_s: float, function: Callable[[], object]) -> None:
        """Call a function of the simulation itself at a time; not an event."""
        self._serial += 1
        heappush(self._heap, (at_s, self._serial, None, None, function))

    def spread_loss(self, core: SimulatedCore) -> None:
        """Have each node notice a crash, after all that arrives from there."""
        low, high = self.delays.detect_s
        for node in [self.outside, *self.nodes.values()]:
            if node.alive:
                at_s = self._now_s + low + (high - low) * self.random.random()
                at_s = max(at_s, _last_arrival_s(node.core, core.name))
                self.post(at_s, partial(node.lose, core.name))

    def note_world(self, kind: EventKind, name: str) -> None:
        """Tell an event that is not about a message."""
        self.tell_event(Event(kind, self._now_s, None, None, name))

    def tell_event(self, event: Event) -> None:
        """Enter an event into the record, and have the checks look at it."""
        self._record.add(event)
        for check in self._checks:
            check(event)

    def failed(self, ref: ActorRef, error: Exception) -> None:
        """Note a handler that raised."""
        failure = Failure(self._now_s, ref, error)
        self.failures.append(failure)
        expected = self._expect_failures
        if not (expected if isinstance(expected, bool) else expected(ref, error)):
            self._unexpected = self._unexpected or failure

    @contextmanager
    def as_system(self) -> Iterator[None]:
        """Let what the node itself puts into mailboxes arrive at once."""
        before = self.source, self._is_system
        self.source, self._is_system = None, True
        try:
            yield
        finally:
            self.source, self._is_system = before

    # --- inside -----------------------------------------------------------------------------

    def _settle(self) -> None:
        """Give the nodes that were woken their turn; then raise what must not be missed."""
        while self.woken:
            woken, self.woken = self.woken, []
            for node in woken:
                node.turn()
        if self._unexpected is not None:
            failure, self._unexpected = self._unexpected, None
            raise UnexpectedFailureError(
                f"actor {label(failure.ref)} raised at {failure.time_s} s: {failure.error!r}; "
                "if it may, say so with expect_failures"
            ) from failure.error

    def _call(self, handle: Handle) -> None:
        if not handle.cancelled:
            handle.cancelled = True
            handle.function()
            self.note_world(EventKind.WORLD, handle.name)

    def _arrive(self, ref: Receiver, source: ActorRef | None, item: Envelope | Reply) -> None:
        core: Any = ref.node if type(ref) is SimulatedOutsideRef else ref.cell.node  # type: ignore[union-attr]
        if core.crashed:
            self.tell_event(Event(EventKind.LOST, self._now_s, source, ref, item.message))
            return
        self._hand_over(ref, core, source, item)
        node: SimulatedNode = core.life
        if node.paused:
            return
        delays = self.delays
        if delays.stall_share and self.random.random() < delays.stall_share:
            low, high = delays.stall_s
            node.stall(low + (high - low) * self.random.random())
        node.turn()

    def _hand_over(
        self, ref: Receiver, core: SimulatedCore, source: ActorRef | None, item: Envelope | Reply
    ) -> None:
        if type(item) is not Reply:
            kind = EventKind.MESSAGE
        elif source is None and type(item.message) is AskTimeoutError:
            kind = EventKind.TIMEOUT
        else:
            kind = EventKind.REPLY
        core.life.note(kind, source, ref, item.message)
        ref.arrive(item)

    def _is_known_as_lost(self, source: ActorRef | None, core: NodeCore) -> bool:
        return core.name in self._core_of(source).lost

    def _core_of(self, source: ActorRef | None) -> SimulatedCore:
        if source is None or isinstance(source, OutsideRef):
            return self.outside.core
        return self._cores[source.address.node]

    def _refuse(self, source: ActorRef | None, address: Address, item: Envelope | Reply) -> None:
        error = NodeUnreachableError(f"node {address.node} is gone")
        with self.as_system():
            self._core_of(source).undeliverable(address, item, error, DeadLetterReason.UNREACHABLE)


def _last_arrival_s(core: SimulatedCore, source: str) -> float:
    """When the last message from the node `source` arrives at a node."""
    refs: list[Any] = [core.outside, *(cell.ref for cell in core.cells.values())]
    return max(
        (
            at_s
            for ref in refs
            for sender, at_s in ref.arrivals_s.items()
            if sender is not None and sender.address.node == source
        ),
        default=0.0,
    )
