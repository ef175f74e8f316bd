"""Large `bytes` are left out of a pickle as buffers are, and are `bytes` again when it is opened.

A pickler asks nobody about `bytes`, but it does look first whether it has had an object before. So
large ones are pickled before the value, each as a call that makes it of a buffer, and entered as
known: wherever they stand in the value, and however often, the pickle names what was made.

`bytearray` stays in the pickle: as a buffer it could not grow while it is written, and other
threads could change it.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable
from typing import Any, Final

from scaler.limits import INLINE_BYTES

LargeBytes = dict[int, bytes]
"""What is to be left out, by its identity."""

_LOOKS: Final = 8
"""Values in a row that are looked at without one being large; then the rest is not, either."""

_DEPTH: Final = 3
"""Containers around a value that is found: such as arguments, a call's positional ones, a list."""

_CONTAINERS: Final = frozenset({list, tuple, dict})


def find_large_bytes(values: Iterable[Any], depth: int = _DEPTH) -> LargeBytes:
    """Return the large ones among `values`, and among the items of lists, tuples and dicts there.

    A long list of small values takes no longer than a short one: the first ones tell.

    Args:
        values: are looked at.
        depth: how many containers deep; 0: in none.
    """
    found: LargeBytes = {}
    misses = 0
    for value in values:
        kind, before = type(value), len(found)
        if kind is bytes:
            if len(value) >= INLINE_BYTES:
                found[id(value)] = value
        elif depth and kind in _CONTAINERS:
            found |= find_large_bytes(value.values() if kind is dict else value, depth - 1)
        misses = misses + 1 if len(found) == before else 0
        if misses >= _LOOKS:
            break
    return found


def dump_apart(pickler: pickle.Pickler, file: io.BytesIO, value: Any, large: LargeBytes) -> None:
    """Pickle `value`, and leave out `large`, which it has somewhere in it.

    Args:
        pickler: a new one, of protocol 5, whose `buffer_callback` takes what is left out.
        file: where it writes.
        value: to be pickled.
        large: of the value.
    """
    stand_ins = [_StandIn(data) for data in large.values()]
    pickler.dump(stand_ins)
    memo = pickler.memo.copy()
    for one in stand_ins:
        memo[id(one.data)] = (memo.pop(id(one))[0], one.data)
    pickler.memo = memo
    file.seek(-1, io.SEEK_END)
    file.write(pickle.POP)  # in the place of STOP: one pickle, whose first value is dropped
    pickler.dump(value)


class _StandIn:
    """Pickles as the call that makes its bytes of a buffer."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return bytes, (pickle.PickleBuffer(self.data),)
