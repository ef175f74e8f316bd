"""A node whose time and turns are the test's, and an actor that does what it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors import Actor, ActorRef, LocalMessage, Message, Stop, Terminated, handles
from actors.actor import DEFAULT_SUPERVISION
from actors.core.cell import Cell
from actors.core.node import NodeCore
from actors.core.refs import LocalRef
from actors.messages import Envelope, Reply
from actors.ref import Address
from actors.supervision import Supervision
from actors.testkit import ManualClock

__all__ = ["Crash", "Do", "Note", "Scribe", "Stage", "Stop"]


class Note(Message, frozen=True):
    """Write this down."""

    text: str


class Do(LocalMessage, frozen=True):
    """Call this with the actor."""

    function: Callable[[Any], Any]


class Crash(LocalMessage, frozen=True):
    """Raise this."""

    error: BaseException


class Scribe(Actor):
    """Writes down what it gets into a list that the test holds, and does what it is told."""

    def __init__(self, book: list[Any], on_start: Callable[[Any], Any] = lambda _: None) -> None:
        self.book = book
        self._on_start = on_start

    def on_start(self) -> None:
        self.book.append("start")
        self._on_start(self)

    def on_stop(self) -> None:
        self.book.append("stop")

    @handles(Note)
    def on_note(self, message: Note) -> None:
        self.book.append(message.text)

    @handles(Do)
    def on_do(self, message: Do) -> None:
        message.function(self)

    @handles(Crash)
    def on_crash(self, message: Crash) -> None:
        raise message.error

    @handles(Terminated)
    def on_terminated(self, message: Terminated) -> None:
        self.book.append(message)


class Turning(Scribe):
    """The same, and it notes the end of each run."""

    def end_of_turn(self) -> None:
        self.book.append("end of turn")


class Stage:
    """A `NodeCore` without a loop: `turn` is one turn of it."""

    def __init__(self, name: str = "here") -> None:
        self.clock = ManualClock()
        self.wakes = 0
        self.own_thread = True
        self.room_comes: Callable[[Cell], bool] = lambda _: False
        self.node = NodeCore(
            name,
            clock=self.clock.now,
            wake=self._wake,
            on_own_thread=lambda: self.own_thread,
            wait_for_room=self._wait_for_room,
        )

    def _wake(self) -> None:
        self.wakes += 1

    def _wait_for_room(self, cell: Cell) -> bool:
        return self.room_comes(cell)

    def spawn(
        self,
        actor_class: type[Actor],
        *args: Any,
        name: str | None = None,
        supervision: Supervision = DEFAULT_SUPERVISION,
        mailbox_size: int | None = None,
        **kwargs: Any,
    ) -> LocalRef:
        ref = self.node.spawn(
            actor_class,
            args,
            kwargs,
            name=name,
            supervision=supervision,
            mailbox_size=mailbox_size,
            parent=None,
        )
        assert isinstance(ref, LocalRef)
        return ref

    def scribe(self, **options: Any) -> tuple[LocalRef, list[Any]]:
        """Spawn a `Scribe`; return its ref and its book, empty."""
        book: list[Any] = []
        ref = self.spawn(Scribe, book, **options)
        book.clear()
        return ref, book

    def do(self, ref: ActorRef, function: Callable[[Any], Any]) -> None:
        """Have `function` called with the actor, now."""
        ref.tell(Do(function))
        self.turn()

    def turn(self) -> None:
        self.node.run_ready()
        self.node.fire()
        self.node.run_ready()
        self.node.wake_waiters()

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.turn()

    @property
    def dead(self) -> list[Any]:
        """Messages and reasons of the dead letters."""
        return [(letter.message, letter.reason) for letter in self.node.dead_letters.kept]

    @property
    def left(self) -> list[tuple[Address, Envelope | Reply]]:
        """What has left for other nodes; taken."""
        left = list(self.node.outgoing)
        self.node.outgoing.clear()
        return left
