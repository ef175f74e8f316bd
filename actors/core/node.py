"""`NodeCore`: all actors of one node. Time and wake-ups are given to it; it does no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from actors.actor import Actor
from actors.core.asks import Asks, OpenAsk, late_error
from actors.core.cell import Cell, CellState, call_back, failure_of
from actors.core.clock import NodeClock
from actors.core.dead_letters import DeadLetters
from actors.core.guardian import WatchActor, guardian_address
from actors.core.refs import RemoteRef
from actors.core.timers import Timers
from actors.core.watches import Watches
from actors.errors import (
    ActorsError,
    DeliveryError,
    ForkedProcessError,
    MailboxFullError,
    NodeUnreachableError,
    SystemClosedError,
)
from actors.future import AskFuture, settle_all
from actors.limits import RUNS_PER_TURN
from actors.messages import Envelope, Reply
from actors.ref import ActorRef, Address
from actors.signals import DeadLetterReason, Terminated
from actors.supervision import Restart, Stop, Supervision

Item = TypeVar("Item")


class NodeCore:
    """The actors of a node: names, ready list, asks, timers, dead letters.

    Any thread may append to `ready` and `outgoing` (through refs) and open asks from outside; all
    else belongs to the node's thread.
    """

    def __init__(
        self,
        name: str,
        *,
        clock: Callable[[], float],
        wake: Callable[[], None],
        on_own_thread: Callable[[], bool],
        wait_for_room: Callable[[Cell], bool],
    ) -> None:
        """Make an empty node.

        Args:
            name: the node's name, unique in its system.
            clock: monotonic seconds.
            wake: ends the node's sleep; called from other threads.
            on_own_thread: whether the caller is the node's thread.
            wait_for_room: blocks another thread until the cell's mailbox has room, False if not.
        """
        self.name = name
        self.cell_type: type[Cell] = Cell  # a simulation makes cells of its own
        self.clock = clock
        self.wake = wake
        self.on_own_thread = on_own_thread
        self.wait_for_room = wait_for_room
        self.sleeping = False
        self.closed = False
        self.end_cause = ""
        """The error that has ended the node, in words."""
        self.abandoned = False
        """This is a fork of the process that owns the node."""
        self.interruptible = True
        """Ctrl-C reaches the node's thread, and is no failure of the actor that runs then."""
        self.time = NodeClock(clock)
        self.ready: deque[Cell] = deque()
        self.outgoing: deque[tuple[Address, Envelope | Reply]] = deque()
        self.after_turn: list[tuple[Cell, Callable[[], None]]] = []
        self.asks = Asks()
        self.timers = Timers()
        self.cells: dict[int, Cell] = {}
        self.names: dict[str, Cell] = {}
        self.dead_letters = DeadLetters()
        self.outside = OutsideRef(self)
        """The sender of asks that come from outside of actors."""
        self.watches = Watches(self)
        self._number = 0
        self.wakes: deque[tuple[AskFuture, Any]] = deque()

    def now(self) -> float:
        """Seconds on the node's clock: monotonic time without the stalls of this process."""
        return self.time.now()

    # --- a turn -----------------------------------------------------------------------------

    def run_ready(self) -> None:
        """Run the actors that have messages, one after the other, until all is quiet (bounded)."""
        ready = self.ready
        for _ in range(RUNS_PER_TURN):
            if not ready:
                return
            ready.popleft().run()

    def fire(self) -> None:
        """Handle the timers that are due, and end the asks whose deadline has passed."""
        now_s = self.now()
        touched: dict[int, Cell] = {}
        last = self.timers.last_serial
        while (due := self.timers.take_due(now_s, last)) is not None:
            cell, message = due
            if cell.stop_requested:
                continue
            cell.handle(Envelope(message, cell.ref))
            touched[cell.ref.address.number] = cell
        for number, ask in self.asks.expired(now_s):
            self._answer(number, ask, late_error(ask.target))
        for cell in touched.values():
            cell.end_run()

    def wake_waiters(self) -> None:
        """Call back who waits: the last act of a turn, so that no one wakes into a busy GIL."""
        callbacks, self.after_turn = self.after_turn, []
        for cell, callback in callbacks:
            call_back(cell, callback)
        wakes = self.wakes
        if wakes:
            settle_all(list(_taken(wakes)))

    def next_event_s(self) -> float | None:
        """When a timer or a deadline is due next, on the node's clock."""
        timer_s, ask_s = self.timers.next_due_s(), self.asks.next_deadline_s()
        if timer_s is None or ask_s is None:
            return ask_s if timer_s is None else timer_s
        return min(timer_s, ask_s)

    def schedule(self, cell: Cell) -> None:
        """Have `cell` run in this turn or the next. Thread-safe."""
        if not cell.scheduled:
            cell.scheduled = True
            self.ready.append(cell)
        if self.sleeping:
            self.wake()

    # --- actors -----------------------------------------------------------------------------

    def spawn(
        self,
        actor_class: type[Actor],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        name: str | None,
        supervision: Supervision,
        mailbox_size: int | None,
        parent: Cell | None,
    ) -> ActorRef:
        """Make an actor and start it; what its constructor or `on_start` raises goes out."""
        check_spawn(actor_class, name, supervision, mailbox_size)
        self._number += 1
        number = self._number
        if name is None:
            name = f"{actor_class.__name__.lower()}-{number}"
        if name in self.names:
            raise ValueError(f"node {self.name} already has an actor named {name!r}")
        cell = self.cell_type(
            self,
            Address(self.name, number, name),
            partial(actor_class, *args, **kwargs),
            supervision=supervision,
            mailbox_size=mailbox_size,
            parent=parent,
        )
        self.cells[number] = cell
        self.names[name] = cell
        if parent is not None:
            parent.children[number] = cell
        try:
            cell.start()
        except BaseException as error:
            cell.let_go()
            cell.state = CellState.STOPPED
            self.forget(cell)
            raise failure_of(cell, error)  # noqa: B904 - it is the same, or says so itself
        if cell.has_end_of_turn:
            self.schedule(cell)
        return cell.ref

    def forget(self, cell: Cell) -> None:
        """Strike a stopped actor from the tables."""
        address = cell.ref.address
        self.cells.pop(address.number, None)
        self.names.pop(address.name, None)
        if cell.parent is not None:
            cell.parent.children.pop(address.number, None)

    def resolve(self, address: Address) -> ActorRef:
        """Return a ref for an address that came with a message."""
        if address.node != self.name:
            return RemoteRef(address, self)
        cell = self.cells.get(address.number)
        return RemoteRef(address, self) if cell is None else cell.ref

    def stop_all(self) -> None:
        """End all actors, the youngest first."""
        for cell in reversed(list(self.cells.values())):
            cell.terminate()

    def tell_guardian(self, node: str, message: object) -> None:
        """Tell the guardian of another node. Thread-safe."""
        RemoteRef(guardian_address(node), self).deliver(Envelope(message))

    # --- asks -------------------------------------------------------------------------------

    def ask_from_outside(self, ref: ActorRef, message: object, timeout_s: float) -> AskFuture:
        """Send a request of a thread outside of actors. Thread-safe."""
        if self.closed or self.abandoned:
            raise _end_error(self)
        future = AskFuture(self.on_own_thread)
        ask = OpenAsk(ref.address, lambda outcome: self.wakes.append((future, outcome)), None)
        number = self.asks.open(ask, timeout_s, self.now())
        ref.deliver(Envelope(message, self.outside, number))
        return future

    def _answer(self, number: int, ask: OpenAsk, outcome: Any) -> None:
        """Deliver an outcome that no actor sent, behind what has already arrived."""
        if ask.cell is None:
            self.asks.take(number)
            ask.then(outcome)
        else:
            ask.cell.ref.deliver(Reply(number, outcome))

    # --- what cannot be delivered -----------------------------------------------------------

    def make_room(self, cell: Cell, envelope: Envelope | Reply) -> bool:
        """Whether a full mailbox takes `envelope` after all; if not, it is a dead letter."""
        if type(envelope) is Reply or type(envelope.message) is Terminated:
            return True  # they are bounded, by the asks and watches that wait for them
        if not self.on_own_thread() and self.wait_for_room(cell):
            return True
        assert type(envelope) is Envelope
        cell.mailbox.rejected += 1
        if envelope.request and envelope.sender is not None:
            error = MailboxFullError(
                f"the mailbox of actor {cell.ref.name} is full ({cell.mailbox.size} messages)"
            )
            envelope.sender.deliver(Reply(envelope.request, error))
        self.dead_letters.add(envelope, cell.ref.name, DeadLetterReason.MAILBOX_FULL)
        return False

    def undeliverable(
        self, address: Address, item: Envelope | Reply, error: DeliveryError, why: DeadLetterReason
    ) -> None:
        """An outgoing message has nowhere to go."""
        if type(item) is Envelope and item.request and item.sender is not None:
            item.sender.deliver(Reply(item.request, error))
        letter = item if type(item) is Envelope else Envelope(item.message)
        self.dead_letters.add(letter, address.name, why)

    def unreachable(self, address: Address, item: Envelope | Reply, why: str) -> None:
        """The node that an outgoing message is for is gone."""
        if type(item) is Envelope and type(item.message) is WatchActor:
            self.watches.refuse(item.message, why)
            return
        self.undeliverable(address, item, NodeUnreachableError(why), DeadLetterReason.UNREACHABLE)

    def node_lost(self, name: str, error: DeliveryError) -> None:
        """Another node is gone: end the asks to it, tell the watchers of its actors."""
        for number, ask in self.asks.to_node(name):
            self._answer(number, ask, error)
        self.watches.node_lost(name, str(error))

    def drain(self) -> None:
        """End what reached a closed node: nobody runs its actors any more. Thread-safe."""
        for cell in _taken(self.ready):
            cell.scheduled = False
            cell.drain()
        self.outgoing.clear()
        for number in self.asks.all():
            ask = self.asks.take(number)
            if ask is not None and ask.cell is None:
                ask.then(_end_error(self, " before the reply"))
        self.wake_waiters()


class OutsideRef(ActorRef):
    """The sender of asks that come from outside of actors: it takes replies only."""

    __slots__ = ("node",)

    def __init__(self, node: NodeCore) -> None:
        super().__init__(Address(node.name, 0, "outside"))
        self.node = node

    def deliver(self, envelope: Envelope | Reply) -> None:
        """Close the ask that `envelope` answers; anything else is a dead letter."""
        if type(envelope) is Reply:
            ask = self.node.asks.take(envelope.request)
            if ask is not None:
                ask.then(envelope.message)
                if self.node.sleeping:
                    self.node.wake()
                return
            envelope = Envelope(envelope.message)
        assert type(envelope) is Envelope
        self.node.dead_letters.add(envelope, "outside", DeadLetterReason.LATE_REPLY)

    def ask(self, message: object, timeout: float = 0.0) -> AskFuture:
        """Raise: nobody can be asked here."""
        raise ActorsError("this ref belongs to a thread, which cannot be asked")

    def stop(self) -> None:
        """Do nothing: a thread is not stopped by its ref."""


def _end_error(node: NodeCore, when: str = "") -> ActorsError:
    """Return why a node that has ended, or is a copy in a fork, takes no requests."""
    name = node.name
    if node.abandoned:
        return ForkedProcessError(
            f"this process is a fork of the one that owns node {name}; "
            "make an actor system of your own here"
        )
    if node.end_cause:
        return SystemClosedError(f"node {name} has ended by an error{when}: {node.end_cause}")
    return SystemClosedError(f"the actor system of node {name} was closed{when}")


def check_spawn(
    actor_class: object, name: object, supervision: object, mailbox_size: object
) -> None:
    """Refuse arguments of `spawn` that would do harm only later.

    Raises:
        TypeError: one is of a wrong type.
    """
    if not (isinstance(actor_class, type) and issubclass(actor_class, Actor)):
        raise TypeError(f"actor_class must be a subclass of Actor, got {actor_class!r}")
    if not isinstance(name, str | None):
        raise TypeError(f"name must be a string or None, got {name!r}")
    if not isinstance(mailbox_size, int | None):
        raise TypeError(f"mailbox_size must be an integer or None, got {mailbox_size!r}")
    if not isinstance(supervision, Stop | Restart):
        raise TypeError(f"supervision must be a Stop or a Restart, got {supervision!r}")


def _taken(queue: deque[Item]) -> Iterator[Item]:
    """Take what is there; several threads may do so at the same time."""
    while queue:
        try:
            item = queue.popleft()
        except IndexError:
            return
        yield item
