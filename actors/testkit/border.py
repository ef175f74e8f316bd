"""The border of a harness: a message that crosses it is written as bytes and read back.

So a test fails where two processes would: on a message that cannot be encoded, that comes back
changed, or that sender and receiver go on sharing.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import msgspec

from actors.errors import UnencodableMessageError
from actors.messages import LocalMessage, Message
from actors.ref import ActorRef, Address

_IMMUTABLE = (type(None), bool, int, float, str, bytes)


class Border:
    """Copies messages through the codec. Refs come back as the very same objects."""

    def __init__(self) -> None:
        self._refs: dict[Address, ActorRef] = {}
        self._encoder = msgspec.msgpack.Encoder(enc_hook=self._encode_ref)
        self._decoders: dict[type, msgspec.msgpack.Decoder[Any]] = {}

    def cross(self, message: Any) -> Any:
        """Return `message` as another process would see it.

        Raises:
            UnencodableMessageError: it cannot be encoded or decoded, or changes on the way.
        """
        if type(message) in _IMMUTABLE or isinstance(message, (LocalMessage, ActorRef)):
            return message
        try:
            if isinstance(message, Message):
                copy = self._cross_typed(message)
            else:
                return _cross_pickled(message)
        except Exception as error:
            raise UnencodableMessageError(
                f"{type(message).__name__} cannot leave its process: {error!r}. Change its fields,"
                " or make it a LocalMessage if it never has to"
            ) from error
        # `repr` is for NaN, which is not equal to itself.
        if copy != message and repr(copy) != repr(message):
            raise UnencodableMessageError(
                f"{message!r} comes back from the codec as {copy!r}. Annotate its fields with the"
                " types they hold (tuples, not lists; no Any)"
            )
        return copy

    def _cross_typed(self, message: Message) -> Any:
        message_type = type(message)
        decoder = self._decoders.get(message_type)
        if decoder is None:
            decoder = msgspec.msgpack.Decoder(message_type, dec_hook=self._decode_ref)
            self._decoders[message_type] = decoder
        return decoder.decode(self._encoder.encode(message))

    def _encode_ref(self, value: Any) -> Any:
        if isinstance(value, ActorRef):
            self._refs[value.address] = value
            return value.address
        raise TypeError(f"no encoding for {type(value).__name__}")

    def _decode_ref(self, wanted: type, value: Any) -> Any:
        if issubclass(wanted, ActorRef):
            return self._refs[msgspec.convert(value, Address)]
        raise TypeError(f"no decoding for {wanted.__name__}")


def _cross_pickled(message: Any) -> Any:
    refs: list[ActorRef] = []
    buffer = io.BytesIO()
    try:
        _RefPickler(buffer, refs).dump(message)
    except Exception:
        import cloudpickle

        refs.clear()
        buffer = io.BytesIO()
        pickler = cloudpickle.Pickler(buffer)
        pickler.persistent_id = _RefPickler(io.BytesIO(), refs).persistent_id
        pickler.dump(message)
    buffer.seek(0)
    return _RefUnpickler(buffer, refs).load()


class _RefPickler(pickle.Pickler):
    def __init__(self, buffer: io.BytesIO, refs: list[ActorRef]) -> None:
        super().__init__(buffer, protocol=5)
        self._refs = refs

    def persistent_id(self, value: Any) -> int | None:
        if not isinstance(value, ActorRef):
            return None
        self._refs.append(value)
        return len(self._refs) - 1


class _RefUnpickler(pickle.Unpickler):
    def __init__(self, buffer: io.BytesIO, refs: list[ActorRef]) -> None:
        super().__init__(buffer)
        self._refs = refs

    def persistent_load(self, index: Any) -> ActorRef:
        ref: ActorRef = self._refs[index]
        return ref
