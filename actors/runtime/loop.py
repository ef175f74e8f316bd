"""`NodeLoop`: one thread's poll loop around a `NodeCore`, with the links to other nodes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actors.core.codec import Codec, WireItem
from actors.core.guardian import GUARDIAN_SUPERVISION, Guardian
from actors.core.node import NodeCore, OutsideRef
from actors.core.refs import CURRENT_NODE
from actors.errors import NodeUnreachableError, ProtocolError, UnencodableMessageError
from actors.limits import IDLE_POLL_S, LATE_TURN_S, LINK_BUFFER_BYTES, MAILBOX_WAIT_S
from actors.messages import Envelope, Reply
from actors.ref import Address
from actors.runtime import opaque
from actors.runtime.poller import Poller
from actors.runtime.wakeup import Wakeup
from actors.signals import DeadLetterReason
from actors.transport.stream import FrameStream

if TYPE_CHECKING:
    import socket

    from actors.core.cell import Cell


class NodeLoop:
    """Runs the turns of one node: sockets, handlers, timers, flush, waiters, sleep.

    All methods belong to the loop's thread, except `post`, `finish` and `NodeCore`'s own.
    """

    def __init__(self, name: str, poller: Poller) -> None:
        """Make the loop and its node; `run` it in the thread that shall own it.

        Args:
            name: the node's name, unique in its system.
            poller: the thread's poller; closed by the caller.
        """
        self.poller = poller
        self._wakeup = Wakeup(self.poller)
        self._thread = 0
        self._posted: deque[Callable[[], None]] = deque()
        self._finished = False
        self._checked_s = time.monotonic()
        self._room = threading.Condition()
        self._room_wanted = 0
        self._links: dict[str, FrameStream] = {}
        self.default_route: str | None = None
        """The link for nodes that are not linked here: a child process knows its parent only."""
        self.node = NodeCore(
            name,
            clock=time.monotonic,
            wake=self._wake,
            on_own_thread=self.on_own_thread,
            wait_for_room=self._wait_for_room,
        )
        guardian = (self.node, self.finish)
        self.node.spawn(
            Guardian,
            guardian,
            {},
            name="guardian",
            supervision=GUARDIAN_SUPERVISION,
            mailbox_size=None,
            parent=None,
        )
        self._codec = Codec(self.node.resolve, opaque.pack, opaque.unpack, opaque.find_message_type)

    def on_own_thread(self) -> bool:
        """Whether the caller is the loop's thread."""
        return threading.get_ident() == self._thread

    def post(self, function: Callable[[], None]) -> None:
        """Have `function` called on the loop's thread soon. Thread-safe."""
        self._posted.append(function)
        if self.node.sleeping:
            self._wake()

    def finish(self) -> None:
        """Have `run` return after its turn. Thread-safe."""
        self.post(self._set_finished)

    def run(self) -> None:
        """Run turns until `finish`, then stop all actors and close what is open."""
        self._thread = threading.get_ident()
        CURRENT_NODE.set(self.node)
        try:
            while not self._finished:
                self._turn()
            self.node.stop_all()
            self._flush()
        finally:
            self.node.closed = True
            self.node.sleeping = False
            for link in list(self._links.values()):
                link.close()
            self.node.drain()
            self._wakeup.close()

    def abandon(self) -> None:
        """Close the descriptors in a fork of this process, without a word to anyone."""
        self.node.closed = True
        self.node.sleeping = False
        for link in self._links.values():
            link.abandon()
        self._wakeup.close()

    # --- a turn -----------------------------------------------------------------------------

    def _turn(self) -> None:
        node = self.node
        timeout_s = self._sleep_s()
        node.sleeping = True
        if node.ready or node.outgoing or self._posted:
            timeout_s = 0.0
        self.poller.poll(timeout_s)
        node.sleeping = False
        while self._posted:
            self._posted.popleft()()
        node.run_ready()
        self._forgive_lag(timeout_s)
        node.fire()
        node.run_ready()
        if node.outgoing:
            self._flush()
        node.wake_waiters()
        if self._room_wanted:
            with self._room:
                self._room.notify_all()

    def _forgive_lag(self, slept_s: float | None) -> None:
        """Stop the node's clock for as long as this process was stalled since the last turn.

        A thread that holds the GIL in C code stalls this one anywhere in a turn. What arrived
        meanwhile has been handled by now, so only answers that are still to come get more time.
        """
        now_s = time.monotonic()
        late_s = 0.0 if slept_s is None else now_s - self._checked_s - slept_s
        self._checked_s = now_s
        if late_s > LATE_TURN_S:
            self.node.lag_s += late_s

    def _sleep_s(self) -> float | None:
        due_s = self.node.next_event_s()
        if due_s is None:
            return None
        return min(max(due_s - self.node.now(), 0.0), IDLE_POLL_S)

    def _set_finished(self) -> None:
        self._finished = True

    def _wake(self) -> None:
        self.node.sleeping = False
        self._wakeup.ring()

    def _wait_for_room(self, cell: Cell) -> bool:
        mailbox = cell.mailbox
        self._room_wanted += 1
        try:
            with self._room:
                return self._room.wait_for(
                    lambda: len(mailbox.queue) < mailbox.size or self.node.closed, MAILBOX_WAIT_S
                )
        finally:
            self._room_wanted -= 1

    # --- links ------------------------------------------------------------------------------

    def add_link(
        self, name: str, sock: socket.socket, on_end: Callable[[str], None] | None = None
    ) -> None:
        """Talk to the node `name` over `sock`, a connected stream socket.

        Args:
            name: the node at the other end.
            sock: taken over.
            on_end: gets the reason when the link ends; default: the node is given up at once.
        """
        self._links[name] = FrameStream(
            sock,
            self.poller,
            lambda frames: self._receive(name, frames),
            on_end or (lambda reason: self.lose_link(name, reason)),
        )

    def lose_link(self, name: str, reason: str) -> None:
        """Give up the link to `name`; what waits for its actors ends with an error."""
        link = self._links.pop(name, None)
        if link is not None:
            link.close()
            self.node.node_lost(name, NodeUnreachableError(f"node {name} is gone: {reason}"))

    def _route(self, node: str) -> FrameStream | None:
        link = self._links.get(node)
        if link is None and self.default_route is not None:
            link = self._links.get(self.default_route)
        return link

    def _flush(self) -> None:
        """Encode what leaves this turn, one frame per link."""
        outgoing = self.node.outgoing
        frames: dict[int, tuple[FrameStream, list[WireItem]]] = {}
        for _ in range(len(outgoing)):
            address, item = outgoing.popleft()
            link = None if address.node == self.node.name else self._route(address.node)
            if link is None or link.unsent_bytes > LINK_BUFFER_BYTES:
                self._unreachable(address, item, link is not None)
                continue
            try:
                wire = self._codec.encode_item(address, item)
            except UnencodableMessageError as error:
                self._unencodable(address, item, error)
                continue
            frames.setdefault(id(link), (link, []))[1].append(wire)
        for link, items in frames.values():
            link.send(self._codec.encode_frame(items))

    def _unreachable(self, address: Address, item: Envelope | Reply, linked: bool) -> None:
        if address.node == self.node.name:
            why = f"actor {address.name} has stopped"
        elif linked:
            why = f"the link to node {address.node} does not keep up"
        else:
            why = f"node {address.node} is gone"
        reason = DeadLetterReason.UNREACHABLE
        self.node.undeliverable(address, item, NodeUnreachableError(why), reason)

    def _unencodable(
        self, address: Address, item: Envelope | Reply, error: UnencodableMessageError
    ) -> None:
        if type(item) is Reply:  # the asker must not wait for a reply that cannot travel
            self.node.outgoing.append((address, Reply(item.request, error)))
        self.node.undeliverable(address, item, error, DeadLetterReason.UNENCODABLE)

    def _receive(self, name: str, frames: list[memoryview]) -> None:
        for frame in frames:
            try:
                items = self._codec.decode_frame(frame)
            except ProtocolError as error:
                self.lose_link(name, str(error))
                return
            for wire in items:
                if wire.target.node == self.node.name:
                    self._deliver(wire)
                else:
                    self._forward(wire)

    def _forward(self, wire: WireItem) -> None:
        link = self._links.get(wire.target.node)
        if link is not None:
            link.send(self._codec.encode_frame((wire,)))
            return
        item = self._open(wire, f"a message for node {wire.target.node}")
        self._unreachable(wire.target, item, linked=False)

    def _deliver(self, wire: WireItem) -> None:
        node = self.node
        cell = node.cells.get(wire.target.number)
        if cell is None and wire.target.number:
            self._unreachable(wire.target, self._open(wire, "a message"), linked=False)
            return
        target = OutsideRef(node) if cell is None else cell.ref
        try:
            message = self._codec.decode_message(wire.type_name, wire.body)
        except UnencodableMessageError as error:
            item = self._open(wire, error)
            if type(item) is Reply:
                target.deliver(item)
            else:
                reason = DeadLetterReason.UNENCODABLE
                node.undeliverable(wire.target, item, error, reason)
            return
        if wire.is_reply:
            target.deliver(Reply(wire.request, message))
        else:
            target.deliver(self._envelope(wire, message))

    def _open(self, wire: WireItem, instead: Any) -> Envelope | Reply:
        """The item with `instead` for a message that is not opened here."""
        if wire.is_reply:
            return Reply(wire.request, instead)
        return self._envelope(wire, instead)

    def _envelope(self, wire: WireItem, message: Any) -> Envelope:
        sender = None if wire.sender is None else self.node.resolve(wire.sender)
        return Envelope(message, sender, wire.request)
