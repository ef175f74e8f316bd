"""Arrays that cannot be written, and are submitted again: stored once, as long as they live."""

from __future__ import annotations

import weakref
from functools import partial
from typing import Any

from scaler.protocol.objects import Piece


class FixedArrays:
    """The objects of read-only arrays, for as long as these live. Thread-safe: it is one dict."""

    def __init__(self) -> None:
        """Know of none."""
        self._pieces: dict[int, tuple[weakref.ref[Any], Piece]] = {}

    def find(self, buffer: memoryview) -> Piece | None:
        """Return the object that the array behind `buffer` was stored as."""
        known = self._pieces.get(id(buffer.obj)) if buffer.readonly else None
        if known is None or known[0]() is not buffer.obj:
            return None
        return known[1] if known[1].size_bytes == buffer.nbytes else None

    def note(self, buffer: memoryview, piece: Piece) -> None:
        """Remember what the array behind `buffer` was stored as, if nobody can change it."""
        array = buffer.obj
        if not is_fixed(array):
            return
        key = id(array)
        forget: Any = partial(self._pieces.pop, key)  # a function of C, see `Views`
        self._pieces[key] = weakref.ref(array, forget), piece

    def clear(self) -> None:
        """Forget all."""
        self._pieces.clear()


def is_fixed(array: Any) -> bool:
    """Whether this is a numpy array that cannot be written, nor what it is a view of."""
    if type(array).__module__ != "numpy":
        return False
    while type(array).__module__ == "numpy":
        if array.flags.writeable:
            return False
        array = array.base
    return array is None or type(array) is bytes or getattr(array, "readonly", False) is True
