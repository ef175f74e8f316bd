"""Messages between nodes as bytes: typed ones by name, everything else as an opaque body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from actors.errors import ProtocolError, UnencodableMessageError
from actors.messages import LocalMessage, Message
from actors.ref import ActorRef, Address

NO_SENDER = -1

PLAIN = "="
"""Instead of a type's name: the body is a number, a text, or nothing at all."""

_PLAIN_TYPES = (type(None), bool, int, float, str)


class WireItem(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One envelope or reply on a link."""

    target: int
    """Number of the actor within the frame's target node."""
    sender: int
    """Number of the sender within the frame's source node, `NO_SENDER` if there is none."""
    request: int
    is_reply: bool
    type_name: str
    """`module:qualname` of a `Message`; `PLAIN`; or empty: the body is opaque."""
    body: bytes


class WireFrame(msgspec.Struct, frozen=True, array_like=True):
    """What one node sends another in one turn, in order."""

    source: str
    target: str
    items: tuple[WireItem, ...]


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
        self._frame_decoder = msgspec.msgpack.Decoder(WireFrame)
        self._decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {
            PLAIN: msgspec.msgpack.Decoder(None | bool | int | float | str)
        }
        self._type_names: dict[type, str] = dict.fromkeys(_PLAIN_TYPES, PLAIN)

    def encode_message(self, message: object) -> tuple[str, bytes]:
        """Encode a message alone: its type's name (empty for an opaque body) and its bytes.

        Raises:
            UnencodableMessageError: it cannot be written as bytes.
        """
        kind = type(message)
        type_name = self._type_names.get(kind)
        if type_name is None:
            type_name = self._type_names[kind] = _travel_name(kind)
        try:
            if type_name:
                try:
                    return type_name, self._encoder.encode(message)
                except (OverflowError, UnicodeEncodeError):
                    pass  # a number of more than 64 bits; a file name that is no Unicode
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
                decoder = self._decoders.get(type_name) or self._decoder(type_name)
                return decoder.decode(body)
            return self._unpack(body)
        except Exception as error:
            what = type_name or "an opaque message"
            raise UnencodableMessageError(f"{what} cannot be opened here: {error!r}") from error

    def encode_frame(self, frame: WireFrame) -> bytes:
        """Write a frame."""
        return self._encoder.encode(frame)

    def decode_frame(self, data: bytes | memoryview) -> WireFrame:
        """Read a frame, the bodies of its items still closed.

        Raises:
            ProtocolError: the frame is malformed.
        """
        try:
            return self._frame_decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ProtocolError(f"malformed frame: {error}") from error

    def _decoder(self, type_name: str) -> msgspec.msgpack.Decoder[Any]:
        kind = Message.registry.get(type_name) or self._find(type_name)
        if kind is None:
            raise ProtocolError(f"no message type {type_name!r} here")
        decoder = self._decoders[type_name] = msgspec.msgpack.Decoder(kind, dec_hook=self._hook)
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
