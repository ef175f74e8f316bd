"""`ActorHarness`: one actor, a fake mailbox, and a record of all that it does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic, TypeVar

from actors.actor import DEFAULT_SUPERVISION, Actor
from actors.core.asks import OpenAsk
from actors.core.cell import Cell, CellState
from actors.core.node import NodeCore, OutsideRef
from actors.errors import ActorStoppedError, DeliveryError, NodeUnreachableError
from actors.limits import ASK_TIMEOUT_S
from actors.messages import Envelope, Reply
from actors.ref import ActorRef
from actors.signals import DeadLetter, Terminated, TerminationReason
from actors.supervision import Supervision
from actors.testkit.border import Border
from actors.testkit.clock import ManualClock
from actors.testkit.context import Asker, HarnessContext, PendingReply
from actors.testkit.effects import Asked, AskState, Failed, Timer
from actors.testkit.inbox import NODE, InboxRef, new_address
from actors.testkit.record import Record

A = TypeVar("A", bound=Actor)

_ROUNDS_PER_TURN = 10_000
_FIRINGS_PER_ADVANCE = 1_000_000


class ActorHarness(Record, Generic[A]):
    """Runs one actor in the test's own thread; nothing it sends leaves.

    The actor runs in the framework's own cell and node (the code of production) with a manual
    clock. Each call below is one turn: the message is handled, `end_of_turn` runs, then what was
    left with `after_turn`. What other actors would do, the test does: it answers `asked`, calls
    `terminate`, and tells what children would tell.

    What the actor did is in `effects`, `told`, `asked`, `replies`, `spawned`, `stopped` and
    `failures`: see `Record`.

    Attributes:
        ref: the actor's own ref. `ref.tell` runs a turn as `tell` does, without the codec.
        clock: the `ManualClock`.
    """

    def __init__(
        self,
        actor_class: type[A],
        *args: Any,
        clock: ManualClock | None = None,
        name: str | None = None,
        supervision: Supervision | None = None,
        mailbox_size: int | None = None,
        codec: bool = True,
        **kwargs: Any,
    ) -> None:
        """Make the actor and run its `on_start`.

        Args:
            actor_class: the class under test; `args` and `kwargs` are its own.
            clock: share one between harnesses; by default a new one that starts at 0.
            name: the actor's name.
            supervision: as for `spawn`. Without it, a handler that raises makes the call that led
                to it raise (unless an asker was told the error), and the actor has stopped.
            mailbox_size: as for `spawn`.
            codec: pass messages that cross the border through the codec (some 10 us each).
        """
        super().__init__()
        self.clock = ManualClock() if clock is None else clock
        self._border = Border() if codec else None
        self._node = NodeCore(
            NODE,
            clock=self.clock.now,
            wake=self._run,
            on_own_thread=lambda: True,
            wait_for_room=lambda _cell: False,
        )
        self._outside = OutsideRef(self._node)
        self._loud = supervision is None
        self._error: Exception | None = None
        self._firing = False
        self._timers: dict[Any, Timer] = {}
        self._open_asks: dict[int, Asked] = {}
        self._children: dict[ActorRef, None] = {}
        self._cell = _HarnessCell(
            self._node,
            new_address(name or actor_class.__name__.lower()),
            partial(actor_class, *args, **kwargs),
            supervision=supervision or DEFAULT_SUPERVISION,
            mailbox_size=mailbox_size,
            parent=None,
        )
        self.ref: ActorRef = self._cell.ref
        self._cell.enter(self)
        self._node.cells[self.ref.address.number] = self._cell
        # A sleeping node is woken by each message: `wake` runs the turn here and now.
        self._node.sleeping = True
        with self.turn():
            self._cell.start()

    # --- the actor --------------------------------------------------------------------------

    @property
    def actor(self) -> A:
        """The instance under test; another one after a restart."""
        actor: Any = self._cell.actor
        return actor  # type: ignore[no-any-return]

    @property
    def alive(self) -> bool:
        """Whether the actor has not stopped."""
        return self._cell.state is CellState.RUNNING

    @property
    def timers(self) -> dict[Any, Timer]:
        """The open timers by key: `Timer(key, due_s, message)`."""
        return {key: self._timers[key] for key in self._cell.timers}

    @property
    def watched(self) -> list[ActorRef]:
        """The refs it watches now."""
        return list(self._cell.watching)

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """Messages it did not handle, and late replies."""
        return list(self._node.dead_letters.kept)

    # --- what the test does to it -----------------------------------------------------------

    def tell(self, message: object, sender: ActorRef | None = None) -> None:
        """Have `message` handled."""
        self.ref.deliver(Envelope(self._cross(message), sender))

    def tell_all(self, messages: Iterable[object], sender: ActorRef | None = None) -> None:
        """Have `messages` handled in one turn: `end_of_turn` runs once, at its end."""
        with self.turn():
            for message in messages:
                self.tell(message, sender)

    def ask(
        self, message: object, sender: ActorRef | None = None, timeout_s: float = ASK_TIMEOUT_S
    ) -> PendingReply:
        """Have a request handled; the answer appears in what is returned, now or later."""
        crossed = self._cross(message)
        pending = PendingReply(message)
        ask = OpenAsk(self.ref.address, pending.settle, None)
        number = self._node.asks.open(ask, timeout_s, self._node.now())
        self.ref.deliver(Envelope(crossed, Asker(self, crossed, sender), number))
        return pending

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Collect what the block tells, asks and answers; handle it all in one turn at its end."""
        if not self._node.sleeping:
            yield  # within a turn already
            return
        self._node.sleeping = False
        try:
            yield
        except BaseException:
            self._node.sleeping = True
            self._node.ready.clear()
            self._cell.scheduled = False  # what was collected waits for the next turn
            raise
        self._node.schedule(self._cell)
        self._run()

    def advance(self, seconds: float) -> None:
        """Move the clock; timers and deadlines that come due meanwhile fire in their order."""
        until_s = self.clock.now() + seconds
        if seconds < 0:
            raise ValueError(f"time only moves forward, not by {seconds} s")
        for _ in range(_FIRINGS_PER_ADVANCE):
            due_s = self._node.next_event_s()
            if due_s is None or due_s > until_s:
                self.clock.move_to(until_s)
                return
            self.clock.move_to(due_s)
            self._firing = True
            try:
                with self.turn():
                    self._node.fire()
            finally:
                self._firing = False
        raise RuntimeError(f"{self.ref.name} sets timers without end: {list(self.timers)}")

    def terminate(
        self,
        ref: ActorRef,
        reason: TerminationReason = TerminationReason.STOPPED,
        cause: str = "",
    ) -> None:
        """End another actor: open asks to it fail, then `Terminated` arrives if it is watched."""
        error: DeliveryError = ActorStoppedError(f"actor {ref.name} has stopped: {cause}")
        if reason is TerminationReason.NODE_LOST:
            error = NodeUnreachableError(cause or f"the process of actor {ref.name} is gone")
        self._children.pop(ref, None)
        if isinstance(ref, InboxRef):
            ref.ended = True
        with self.turn():
            for asked in list(self._open_asks.values()):
                if asked.open and asked.ref == ref:
                    asked.fail(error)
            if ref in self._cell.watching:
                self.ref.deliver(Envelope(Terminated(ref, reason, cause), ref))

    def stop(self) -> None:
        """Stop the actor; `on_stop` runs. A second call does nothing."""
        self.ref.stop()

    def clear(self) -> None:
        """Forget what was recorded. Timers, watches and open asks stay what they are."""
        super().clear()
        self._node.dead_letters.kept.clear()

    def __repr__(self) -> str:
        state = "" if self.alive else ", stopped"
        return f"<ActorHarness of {self.ref.name}{state}>"

    # --- inside -----------------------------------------------------------------------------

    def _cross(self, message: object) -> Any:
        if self._border is None:
            return message
        try:
            return self._border.cross(message)
        except Exception as error:
            # A test must see it even where the actor's own code or its supervision catches it.
            self._error = error
            raise

    def _run(self) -> None:
        """Run turns until all is quiet; then raise what a test must not miss."""
        node = self._node
        node.sleeping = False
        try:
            for _ in range(_ROUNDS_PER_TURN):
                node.run_ready()
                if not node.ready:
                    node.wake_waiters()
                    if not node.ready:
                        break
            else:
                raise RuntimeError(f"{self.ref.name} sends messages to itself without end")
        finally:
            node.sleeping = True
        error, self._error = self._error, None
        if error is not None:
            raise error


class _HarnessCell(Cell):
    """The cell of production; tells the harness what would otherwise only be logged."""

    __slots__ = ("kit",)
    kit: ActorHarness[Any]

    def enter(self, kit: ActorHarness[Any]) -> None:
        self.kit = kit
        self.context = HarnessContext(self, kit)

    def run(self) -> None:
        """Handle all messages present now: a test's turn is as long as the test says."""
        self.scheduled = False
        if self.state is CellState.STOPPED:
            self.drain()
            return
        queue = self.mailbox.queue
        for _ in range(len(queue)):
            if self.stop_requested:
                break
            self.handle(queue.popleft())
        self.end_run()
        if queue and not self.scheduled:
            self.node.schedule(self)

    def handle(self, item: Envelope | Reply) -> None:
        if isinstance(item, Reply):
            asked = self.kit._open_asks.pop(item.request, None)
            if asked is not None and asked.open:
                asked.state = AskState.EXPIRED
        super().handle(item)

    def failed(self, error: Exception) -> None:
        self._note(error)
        super().failed(error)

    def _restart(self) -> Exception | None:
        error = super()._restart()
        if error is not None:
            self._note(error)
        return error

    def _note(self, error: Exception) -> None:
        self.kit.record(Failed(error))
        if self.kit._loud and not self.must_reply and self.kit._error is None:
            self.kit._error = error

    def release(self) -> None:
        """Keep the instance: a test may look at it."""

    def let_go(self) -> None:
        for asked in self.kit._open_asks.values():
            if asked.open:
                asked.state = AskState.DROPPED
        self.kit._open_asks.clear()
        for child in reversed(list(self.kit._children)):
            self.context.stop(child)
        self.kit._children.clear()
        super().let_go()
