"""Large buffers are left out of a pickle, and put back when it is opened (PEP 574).

numpy, arrow, and whatever else pickles as `pickle.PickleBuffer`, hand out their memory as it is.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from functools import partial

from scaler.limits import INLINE_BYTES

Buffers = list[memoryview]
"""What a pickle left out, in order: flat, contiguous, and alive as long as its owner is held."""

Payload = bytes | bytearray | memoryview
"""A pickle, where it is."""

Opened = Sequence[bytes | bytearray | memoryview]
"""What a pickle left out, when it is opened."""

PickleBuffers = Callable[[pickle.PickleBuffer], bool] | None


def leaving_out(buffers: Buffers | None) -> PickleBuffers:
    """Return the `buffer_callback` that moves large buffers to `buffers`; `None`: none is moved."""
    return None if buffers is None else partial(_keeps, buffers)


def let_go(buffers: Buffers) -> None:
    """Give up what was collected, at once and not when a traceback that has it goes.

    A view of a `memoryview` that ends in the garbage collector may crash CPython 3.11, which clears
    the one behind it first.
    """
    while buffers:
        buffers.pop().release()


def _keeps(buffers: Buffers, buffer: pickle.PickleBuffer) -> bool:
    """Tell whether the pickle keeps this one."""
    try:
        raw = buffer.raw()
    except BufferError:  # not contiguous
        return True
    if raw.nbytes < INLINE_BYTES:
        return True
    buffers.append(raw)
    return False
