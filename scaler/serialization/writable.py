"""Arrays that can be written, whatever they were where they were pickled.

A pickle tells of each buffer whether it was read-only, and a mapped array is: what a task returned,
and what is made of that. Who asks for copies wants them writable.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

from scaler.serialization.buffers import Opened, Payload


def loads_writable(payload: Payload, *, buffers: Opened = ()) -> Any:
    """Do what `pickle.loads` does, and have numpy's arrays writable.

    Args:
        payload: a pickle.
        buffers: what it left out, in copies that may be written.
    """
    return _Unpickler(io.BytesIO(payload), buffers=buffers).load()


class _Unpickler(pickle.Unpickler):
    """Opens arrays by a function of ours."""

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        if name == "_frombuffer" and module.partition(".")[0] == "numpy":
            return partial(_of_writable, found)
        return found


def _of_writable(frombuffer: Callable[..., Any], buffer: Any, *rest: Any) -> Any:
    """Return the array of a buffer, or of a copy if that cannot be written.

    A view that says "read-only" is of a `bytearray` that does not.
    """
    with memoryview(buffer) as view:
        if view.readonly:
            buffer = view.obj if type(view.obj) is bytearray else bytearray(view)
    return frombuffer(buffer, *rest)
