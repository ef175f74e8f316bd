"""Messages between nodes as bytes: typed ones by name, everything else as an opaque body."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from actors.errors import ProtocolError, UnencodableMessageError
from actors.messages import Envelope, LocalMessage, Message, Reply
from actors.ref import ActorRef, Address


class WireItem(msgspec.Struct, frozen=True, array_like=True):
    """One envelope or reply on a link."""

    target: Address
    sender: Address | None
    request: int
    is_reply: bool
    type_name: str
    """`module:qualname` of a `Message`, or empty: the body is opaque."""
    body: bytes


class Codec:
    """Encodes and decodes for one node; not thread-safe.

    Refs inside typed messages travel as their address and are resolved on arrival.
    """

    def __init__(
        self,
        resolve: Callable[[Address], ActorRef],
        pack: Callable[[object], bytes],
        unpack: Callable[[bytes], object],
        find: Callable[[str], type[Message] | None],
    ) -> None:
        """Make a codec.

        Args:
            resolve: a ref for an address.
            pack: any object to an opaque body.
            unpack: the reverse; called only where the receiving actor lives.
            find: the message type of a name that is not registered yet, or `None`.
        """
        self._resolve = resolve
        self._pack = pack
        self._unpack = unpack
        self._find = find
        self._encoder = msgspec.msgpack.Encoder(enc_hook=_ref_to_address)
        self._frame_decoder = msgspec.msgpack.Decoder(tuple[WireItem, ...])
        self._decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {}
        self._type_names: dict[type, str] = {}

    def encode_item(self, target: Address, item: Envelope | Reply) -> WireItem:
        """Encode one message.

        Raises:
            UnencodableMessageError: it cannot be written as bytes.
        """
        type_name, body = self.encode_message(item.message)
        if type(item) is Envelope:
            sender = None if item.sender is None else item.sender.address
            return WireItem(target, sender, item.request, False, type_name, body)
        return WireItem(target, None, item.request, True, type_name, body)

    def encode_message(self, message: object) -> tuple[str, bytes]:
        """Encode a message alone: its type's name (empty for an opaque body) and its bytes."""
        kind = type(message)
        type_name = self._type_names.get(kind)
        if type_name is None:
            type_name = self._type_names[kind] = _travel_name(kind)
        try:
            if type_name:
                return type_name, self._encoder.encode(message)
            return "", self._pack(message)
        except Exception as error:
            raise UnencodableMessageError(
                f"a {kind.__qualname__} cannot leave this process: {error!r}"
            ) from error

    def decode_message(self, type_name: str, body: bytes) -> Any:
        """Decode what `encode_message` returned.

        Raises:
            UnencodableMessageError: the body does not fit the type, or does not open.
        """
        try:
            if type_name:
                return self._decoder(type_name).decode(body)
            return self._unpack(body)
        except Exception as error:
            what = type_name or "an opaque message"
            raise UnencodableMessageError(f"{what} cannot be opened here: {error!r}") from error

    def encode_frame(self, items: Iterable[WireItem]) -> bytes:
        """Join items to the body of one frame."""
        return self._encoder.encode(tuple(items))

    def decode_frame(self, frame: bytes | memoryview) -> tuple[WireItem, ...]:
        """Split a frame into its items, bodies still closed.

        Raises:
            ProtocolError: the frame is malformed.
        """
        try:
            return self._frame_decoder.decode(frame)
        except msgspec.MsgspecError as error:
            raise ProtocolError(f"malformed frame: {error}") from error

    def _decoder(self, type_name: str) -> msgspec.msgpack.Decoder[Any]:
        decoder = self._decoders.get(type_name)
        if decoder is None:
            kind = Message.registry.get(type_name) or self._find(type_name)
            if kind is None:
                raise ProtocolError(f"no message type {type_name!r} here")
            decoder = msgspec.msgpack.Decoder(kind, dec_hook=self._hook)
            self._decoders[type_name] = decoder
        return decoder

    def _hook(self, kind: type, value: Any) -> Any:
        if issubclass(kind, ActorRef):
            return self._resolve(msgspec.convert(value, Address))
        raise ProtocolError(f"no way to decode a {kind.__qualname__}")


def _ref_to_address(value: Any) -> Any:
    if isinstance(value, ActorRef):
        return value.address
    raise TypeError(
        f"a field holds a {type(value).__qualname__}; typed messages hold values and refs"
    )


def _travel_name(kind: type) -> str:
    """The name a message type travels under; empty if it can only travel as an opaque body."""
    if issubclass(kind, LocalMessage):
        raise UnencodableMessageError(f"{kind.__qualname__} is a LocalMessage: it stays here")
    name = f"{kind.__module__}:{kind.__qualname__}"
    importable = kind.__module__ != "__main__" and "<locals>" not in kind.__qualname__
    return name if importable and Message.registry.get(name) is kind else ""
