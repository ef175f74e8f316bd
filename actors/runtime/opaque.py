"""Opaque bodies: messages of any type as pickles, opened where the receiving actor lives."""

from __future__ import annotations

import pickle
from importlib import import_module

from actors.messages import Message
from actors.runtime.by_value import dumps_by_value

_SCAN_BYTES = 1 << 16


def pack(message: object) -> bytes:
    """Pickle `message`; what its receiver could not import travels by value (cloudpickle)."""
    try:
        body = pickle.dumps(message, protocol=5)
        if len(body) <= _SCAN_BYTES and b"__main__" not in body:
            return body
    except (pickle.PicklingError, AttributeError, TypeError):
        pass  # not for plain pickle: a lambda, a local class; cloudpickle says if it cannot either
    return dumps_by_value(message)


def unpack(body: bytes) -> object:
    """Open what `pack` made. Runs whatever the sender put in: for links to own processes only."""
    return pickle.loads(body)


def find_message_type(name: str) -> type[Message] | None:
    """Import the module of a message type and return the type, `None` if it is not there."""
    module_name = name.partition(":")[0]
    try:
        import_module(module_name)
    except ImportError:
        return None
    return Message.registry.get(name)
