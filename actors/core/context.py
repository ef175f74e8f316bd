"""The context of an actor in a running node."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actors.actor import DEFAULT_SUPERVISION, Actor, ActorContext, DeferredReply
from actors.core.asks import OpenAsk
from actors.core.refs import LocalRef
from actors.limits import ASK_TIMEOUT_S
from actors.messages import Envelope, Reply
from actors.ref import ActorRef
from actors.supervision import Supervision

if TYPE_CHECKING:
    from actors.core.cell import Cell


class CellReply(DeferredReply):
    """The duty to answer one request."""

    __slots__ = ("_asker", "_cell", "_request")

    def __init__(self, cell: Cell, asker: Any, request: int) -> None:
        self._cell = cell
        self._asker = asker
        self._request = request
        if request:
            cell.deferred[id(self)] = self

    def send(self, message: object) -> None:
        """Answer the request; see `DeferredReply`."""
        if self._request:
            del self._cell.deferred[id(self)]
            self._asker.deliver(Reply(self._request, message))
            self._request = 0

    def fail(self, error: Exception) -> None:
        """Answer with an error; see `DeferredReply`."""
        self.send(error)


class CellContext(ActorContext):
    """What an actor of a running node may do; see `ActorContext`."""

    __slots__ = ("_cell", "_node", "_ref")

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._node = cell.node
        self._ref = cell.ref

    @property
    def self_ref(self) -> ActorRef:
        """The actor's own ref."""
        return self._ref

    @property
    def sender(self) -> ActorRef | None:
        """Who sent the current message."""
        current = self._cell.current
        sender = None if current is None else current.sender
        return sender if isinstance(sender, ActorRef) and sender.address.number else None

    def now(self) -> float:
        """Seconds on the node's clock."""
        return self._node.now()

    def tell(self, ref: ActorRef, message: object) -> None:
        """Send `message` to `ref`."""
        if type(ref) is LocalRef and len(ref.queue) < ref.size:  # `deliver`, without the call
            ref.queue.append(Envelope(message, self._ref))
            if not ref.cell.scheduled:
                ref.announce()
            return
        ref.deliver(Envelope(message, self._ref))

    def ask(
        self,
        ref: ActorRef,
        message: object,
        then: Callable[[Any], None],
        timeout_s: float = ASK_TIMEOUT_S,
    ) -> None:
        """Send a request; `then` gets the reply or the error."""
        node = self._node
        ask = OpenAsk(ref.address, then, self._cell)
        number = node.asks.open(ask, timeout_s, node.time.now())
        ref.deliver(Envelope(message, self._ref, number))

    def reply(self, message: object) -> None:
        """Answer the current message."""
        cell = self._cell
        if cell.must_reply:
            cell.must_reply = False
            current = cell.current
            assert current is not None
            assert current.sender is not None
            current.sender.deliver(Reply(current.request, message))

    def defer_reply(self) -> DeferredReply:
        """Answer the current message later."""
        cell = self._cell
        current = cell.current
        if not cell.must_reply or current is None:
            return CellReply(cell, None, 0)
        cell.must_reply = False
        return CellReply(cell, current.sender, current.request)

    def spawn(
        self,
        actor_class: type[Actor],
        *args: Any,
        name: str | None = None,
        supervision: Supervision = DEFAULT_SUPERVISION,
        mailbox_size: int | None = None,
        **kwargs: Any,
    ) -> ActorRef:
        """Start a child."""
        return self._node.spawn(
            actor_class,
            args,
            kwargs,
            name=name,
            supervision=supervision,
            mailbox_size=mailbox_size,
            parent=self._cell,
        )

    def stop(self, ref: ActorRef | None = None) -> None:
        """Stop `ref`, or this actor."""
        (self._ref if ref is None else checked_ref(ref)).stop()

    def watch(self, ref: ActorRef) -> None:
        """Be told when `ref` ends."""
        if checked_ref(ref) not in self._cell.watching:
            self._cell.watching[ref] = None
            self._node.watches.add(ref, self._ref)

    def unwatch(self, ref: ActorRef) -> None:
        """No more `Terminated` of `ref`."""
        if self._cell.watching.pop(checked_ref(ref), self) is None:
            self._node.watches.remove(ref, self._ref)

    def start_timer(self, key: Any, delay_s: float, message: object) -> None:
        """Have `message` handled here after `delay_s`."""
        node = self._node
        due_s = node.now() + checked_delay_s(delay_s)
        node.timers.start(self._cell, checked_key(key), due_s, message)

    def cancel_timer(self, key: Any) -> None:
        """Forget the timer."""
        self._node.timers.cancel(self._cell, checked_key(key))

    def after_turn(self, callback: Callable[[], None]) -> None:
        """Call back after the turn's flush."""
        if not callable(callback):
            raise TypeError(f"callback must be callable, got {callback!r}")
        self._node.after_turn.append((self._cell, callback))


def checked_ref(ref: ActorRef) -> ActorRef:
    """Return `ref`.

    Raises:
        TypeError: it is no ref.
    """
    if not isinstance(ref, ActorRef):
        raise TypeError(f"ref must be an ActorRef, got {ref!r}")
    return ref


def checked_delay_s(delay_s: float) -> float:
    """Return seconds.

    Raises:
        TypeError: it is no number.
        ValueError: it is negative, or not a number.
    """
    try:
        if delay_s >= 0:
            return float(delay_s)
    except TypeError:
        raise TypeError(f"delay_s must be a number of seconds, got {delay_s!r}") from None
    raise ValueError(f"delay_s must be >= 0 seconds, got {delay_s}")


def checked_key(key: Any) -> Any:
    """Return the key of a timer.

    Raises:
        TypeError: it cannot be hashed.
    """
    try:
        hash(key)
    except TypeError:
        raise TypeError(f"key must be hashable, got {key!r}") from None
    return key
