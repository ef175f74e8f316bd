"""`Links`: what leaves a node for others, and what arrives from them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from actors.core.codec import NO_SENDER, Codec, WireFrame, WireItem
from actors.core.guardian import NodeGone, WatchActor
from actors.core.node import NodeCore
from actors.errors import (
    ActorStoppedError,
    NodeUnreachableError,
    ProtocolError,
    UnencodableMessageError,
)
from actors.limits import LINK_BUFFER_BYTES
from actors.messages import Envelope, Reply
from actors.ref import ActorRef, Address
from actors.runtime import opaque
from actors.signals import DeadLetterReason
from actors.transport.stream import FrameStream

if TYPE_CHECKING:
    import socket

    from actors.runtime.poller import Poller

_WATCH = f"{WatchActor.__module__}:{WatchActor.__qualname__}"


class Links:
    """The streams to other nodes. Belongs to the node's thread."""

    def __init__(self, node: NodeCore, poller: Poller) -> None:
        """Serve `node`; its sockets are read on `poller`."""
        self._node = node
        self._poller = poller
        self._streams: dict[str, FrameStream] = {}
        self._codec = Codec(node.resolve, opaque.pack, opaque.unpack, opaque.find_message_type)
        self.default_route: str | None = None
        """The link for nodes that are not linked here: a child process knows its parent only."""

    def add(
        self, name: str, sock: socket.socket, on_end: Callable[[str], None] | None = None
    ) -> None:
        """Talk to the node `name` over `sock`, a connected stream socket.

        Args:
            name: the node at the other end.
            sock: taken over.
            on_end: gets the reason when the link ends; default: the node is given up at once.
        """
        self._streams[name] = FrameStream(
            sock,
            self._poller,
            lambda frames: self._receive(name, frames),
            on_end or (lambda reason: self.lose(name, reason)),
        )

    def lose(self, name: str, reason: str) -> None:
        """Give up the link to `name`; what waits for its actors ends with an error."""
        stream = self._streams.pop(name, None)
        if stream is not None:
            stream.close()
            cause = f"node {name} is gone: {reason}"
            self._node.node_lost(name, NodeUnreachableError(cause))
            for other in self._streams:  # they have no link of their own to it
                self._node.tell_guardian(other, NodeGone(name, cause))

    def close(self) -> None:
        """Close all links."""
        for stream in self._streams.values():
            stream.close()

    def abandon(self) -> None:
        """Close the sockets in a fork of this process."""
        for stream in self._streams.values():
            stream.abandon()

    # --- out --------------------------------------------------------------------------------

    def flush(self) -> None:
        """Encode what leaves in this turn: one frame for each node."""
        outgoing = self._node.outgoing
        leaving: dict[str, list[WireItem] | None] = {}
        for _ in range(len(outgoing)):
            address, item = outgoing.popleft()
            target = address.node
            if target not in leaving:
                leaving[target] = [] if self._has_way(target) else None
            items = leaving[target]
            if items is None:
                self._no_way(address, item)
                continue
            wire = self._encode(address, item)
            if wire is not None:
                items.append(wire)
        for target, items in leaving.items():
            stream = self._route(target)
            if items and stream is not None:
                frame = WireFrame(self._node.name, target, tuple(items))
                stream.send(self._codec.encode_frame(frame))

    def _has_way(self, target: str) -> bool:
        """Whether messages can leave for a node now."""
        stream = None if target == self._node.name else self._route(target)
        return stream is not None and stream.unsent_bytes <= LINK_BUFFER_BYTES

    def _no_way(self, address: Address, item: Envelope | Reply) -> None:
        """Say why a message cannot leave."""
        if address.node == self._node.name:
            self._stopped(address, item)
        elif self._route(address.node) is None:
            self._node.unreachable(address, item, f"node {address.node} is gone")
        else:
            error = NodeUnreachableError(f"the link to node {address.node} does not keep up")
            self._node.undeliverable(address, item, error, DeadLetterReason.UNREACHABLE)

    def _encode(self, address: Address, item: Envelope | Reply) -> WireItem | None:
        try:
            type_name, body = self._codec.encode_message(item.message)
        except UnencodableMessageError as error:
            if type(item) is Reply:  # the asker must not wait for what cannot travel
                self._node.outgoing.append((address, Reply(item.request, error)))
            self._node.undeliverable(address, item, error, DeadLetterReason.UNENCODABLE)
            return None
        if type(item) is Envelope:
            sender = NO_SENDER if item.sender is None else item.sender.address.number
            return WireItem(address.number, sender, item.request, False, type_name, body)
        return WireItem(address.number, NO_SENDER, item.request, True, type_name, body)

    def _route(self, node: str) -> FrameStream | None:
        stream = self._streams.get(node)
        if stream is None and self.default_route is not None:
            stream = self._streams.get(self.default_route)
        return stream

    def _stopped(self, address: Address, item: Envelope | Reply) -> None:
        error = ActorStoppedError(f"actor {address.name} has stopped")
        self._node.undeliverable(address, item, error, DeadLetterReason.STOPPED)

    # --- in ---------------------------------------------------------------------------------

    def _receive(self, name: str, frames: list[memoryview]) -> None:
        for data in frames:
            try:
                frame = self._codec.decode_frame(data)
            except ProtocolError as error:
                self.lose(name, str(error))
                return
            if frame.target == self._node.name:
                senders: dict[int, ActorRef] = {}
                for wire in frame.items:
                    self._deliver(frame.source, wire, senders)
            else:
                self._forward(frame, bytes(data))

    def _forward(self, frame: WireFrame, data: bytes) -> None:
        """Pass on a frame between two child nodes."""
        stream = self._streams.get(frame.target)
        if stream is not None:
            stream.send(data)
            return
        for wire in frame.items:
            target = _address(frame.target, wire.target)
            message: object = f"a message for {target.name}"
            if wire.type_name == _WATCH:  # is to be answered; the rest is only counted
                with suppress(UnencodableMessageError):
                    message = self._codec.decode_message(wire.type_name, wire.body)
            item = self._item(frame.source, wire, message, {})
            self._node.unreachable(target, item, f"node {frame.target} is gone")

    def _deliver(self, source: str, wire: WireItem, senders: dict[int, ActorRef]) -> None:
        """Open one item and put it into its mailbox.

        Args:
            source: the node it comes from.
            wire: the item.
            senders: refs of that node made for this frame so far, by number.
        """
        node = self._node
        ref: ActorRef = node.outside
        if wire.target:
            cell = node.cells.get(wire.target)
            if cell is None:
                target = _address(node.name, wire.target)
                item = self._item(source, wire, f"a message for {target.name}", senders)
                self._stopped(target, item)
                return
            ref = cell.ref
        try:
            message = self._codec.decode_message(wire.type_name, wire.body)
        except UnencodableMessageError as error:
            item = self._item(source, wire, error, senders)
            if type(item) is Reply:
                ref.deliver(item)
            else:
                node.undeliverable(ref.address, item, error, DeadLetterReason.UNENCODABLE)
            return
        ref.deliver(self._item(source, wire, message, senders))

    def _item(
        self, source: str, wire: WireItem, message: Any, senders: dict[int, ActorRef]
    ) -> Envelope | Reply:
        if wire.is_reply:
            return Reply(wire.request, message)
        if wire.sender == NO_SENDER:
            return Envelope(message, None, wire.request)
        sender = senders.get(wire.sender)
        if sender is None:
            sender = self._node.resolve(_address(source, wire.sender))
            senders[wire.sender] = sender
        return Envelope(message, sender, wire.request)


def _address(node: str, number: int) -> Address:
    """An address whose name did not travel: names are for people."""
    return Address(node, number, f"{node}#{number}")
