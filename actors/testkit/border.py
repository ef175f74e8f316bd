"""The border of a harness: a message that crosses it is written as bytes and read back.

So a test fails where two processes would: on a message that cannot be encoded, that comes back
changed, or that sender and receiver go on sharing.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import msgspec

from actors.core.codec import Codec
from actors.errors import UnencodableMessageError
from actors.messages import LocalMessage
from actors.ref import ActorRef, Address

_IMMUTABLE = (type(None), bool, int, float, str, bytes)


class Border:
    """Copies messages through the framework's codec. Refs come back as the very same objects."""

    def __init__(self) -> None:
        self._refs: dict[Address, ActorRef] = {}
        self._codec = Codec(self._refs.__getitem__, self._pack, self._unpack, lambda _name: None)
        # The encoder of production forgets the refs that it writes: here nobody else knows them.
        self._codec._encoder = msgspec.msgpack.Encoder(enc_hook=self._keep_ref)

    def cross(self, message: Any) -> Any:
        """Return `message` as another process would see it.

        Raises:
            UnencodableMessageError: it cannot be encoded or decoded, or changes on the way.
        """
        if type(message) in _IMMUTABLE or isinstance(message, LocalMessage | ActorRef):
            return message
        type_name, body = self._codec.encode_message(message)
        copy = self._codec.decode_message(type_name, body)
        # An opaque body may be of a type that cannot be compared. `repr` is for NaN, which is not
        # equal to itself.
        if type_name and copy != message and repr(copy) != repr(message):
            raise UnencodableMessageError(
                f"{message!r} comes back from the codec as {copy!r}: annotate its fields with the"
                " types they hold (tuples, not lists; no Any)"
            )
        return copy

    def _keep_ref(self, value: Any) -> Address:
        if isinstance(value, ActorRef):
            self._refs[value.address] = value
            return value.address
        raise TypeError(f"a field holds a {type(value).__qualname__}, not a value or a ref")

    def _pack(self, message: object) -> bytes:
        buffer = io.BytesIO()
        try:
            _RefPickler(buffer, self._refs).dump(message)
        except (pickle.PicklingError, AttributeError, TypeError):
            import cloudpickle

            # What its receiver could not import travels by value: a lambda, a local class.
            buffer = io.BytesIO()
            pickler = cloudpickle.Pickler(buffer)
            pickler.persistent_id = _RefPickler(io.BytesIO(), self._refs).persistent_id
            pickler.dump(message)
        return buffer.getvalue()

    def _unpack(self, body: bytes) -> object:
        return _RefUnpickler(io.BytesIO(body), self._refs).load()


class _RefPickler(pickle.Pickler):
    def __init__(self, buffer: io.BytesIO, refs: dict[Address, ActorRef]) -> None:
        super().__init__(buffer, protocol=5)
        self._refs = refs

    def persistent_id(self, value: Any) -> Address | None:
        if not isinstance(value, ActorRef):
            return None
        self._refs[value.address] = value
        return value.address


class _RefUnpickler(pickle.Unpickler):
    def __init__(self, buffer: io.BytesIO, refs: dict[Address, ActorRef]) -> None:
        super().__init__(buffer)
        self._refs = refs

    def persistent_load(self, address: Any) -> ActorRef:
        ref: ActorRef = self._refs[address]
        return ref
