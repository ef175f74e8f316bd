"""Arguments, chunks of arguments and results as bytes.

The C pickler goes first, it is ten times as fast. What it refuses, and what names `__main__`
(which is another module in the executor), goes through cloudpickle.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from scaler.errors import ScalerError, SerializationError
from scaler.limits import INLINE_BYTES, PAYLOAD_BYTES
from scaler.serialization.buffers import Buffers, Opened, Payload, leaving_out, let_go
from scaler.serialization.by_value import dumps_by_value, dumps_with, modules_by_value
from scaler.serialization.inputs import inputs_at_hand
from scaler.serialization.large_bytes import LargeBytes, find_large_bytes
from scaler.serialization.reasons import describe, hint, type_name
from scaler.serialization.writable import loads_writable

_NO_ARGUMENTS: Final = pickle.dumps(((), {}), 5)

_SCAN_BYTES: Final = 1 << 16
"""In more than this the search for `__main__` costs as much as pickling: see if it is needed."""

_PARTS: Final = 20
"""Longest list whose items are looked at instead."""

_ATOMS: Final = {type(None): 0, bool: 0, int: 0, float: 0, str: 0, bytes: 0, bytearray: 0}
"""Types that cannot hold an object of `__main__`."""


class ChunkResult(msgspec.Struct, frozen=True):
    """What came of a chunk: the values of the items before the first that failed."""

    values: list[Any]
    index: int = -1
    """Index of the failed item, -1: none failed."""
    error: bytes = b""
    """Its exception, as `dump_exception` made it."""


def dump_arguments(
    args: tuple[Any, ...], kwargs: dict[str, Any], buffers: Buffers | None = None, *, of: str = ""
) -> bytes:
    """Pickle the arguments of one call.

    Args:
        args: of the call.
        kwargs: of the call.
        buffers: gets what is large, which the pickle leaves out; `None`: it has all.
        of: errors call them arguments of this.

    Raises:
        SerializationError: names the argument, its type and the reason.
        ScalerError: one that an argument itself raised (a future, a client), unchanged.
    """
    if not args and not kwargs:
        return _NO_ARGUMENTS
    try:
        for value in args:
            if type(value) is bytes and len(value) >= INLINE_BYTES:
                return _dumps_apart((args, kwargs), buffers)
        return dumps((args, kwargs), buffers)
    except ScalerError:
        raise
    except Exception as error:
        named = [(f"argument {n}{of}", value) for n, value in enumerate(args)]
        named += [(f"argument {name!r}{of}", value) for name, value in kwargs.items()]
        raise _refused(named, error) from error


def load_arguments(
    payload: Payload,
    buffers: Opened = (),
    inputs: Sequence[tuple[Payload, Opened]] = (),
    *,
    copy: bool = False,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Open what `dump_arguments` made.

    Args:
        payload: the pickle.
        buffers: what it left out.
        inputs: pickles, and what they left out, of the values where futures stood.
        copy: make arrays writable; all that was left out comes in copies then.

    Raises:
        SerializationError: they cannot be opened in this process.
    """
    if payload == _NO_ARGUMENTS:
        return (), {}
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    arguments = _load(payload, "the arguments of the task", buffers, inputs, copy=copy)
    return arguments


def dump_items(
    items: list[tuple[Any, ...]], first: int = 0, buffers: Buffers | None = None
) -> bytes:
    """Pickle the argument tuples of one chunk; errors as `dump_arguments`, counted from `first`."""
    try:
        if bytes in map(type, items[0]):
            return _dumps_apart(items, buffers)
        return dumps(items, buffers)
    except ScalerError:
        raise
    except Exception as error:
        named = (
            (f"argument {n} of item {index}", value)
            for index, item in enumerate(items, first)
            for n, value in enumerate(item)
        )
        raise _refused(named, error) from error


def load_items(
    payload: Payload,
    buffers: Opened = (),
    inputs: Sequence[tuple[Payload, Opened]] = (),
    *,
    copy: bool = False,
) -> list[tuple[Any, ...]]:
    """Open what `dump_items` made; arguments and errors as of `load_arguments`."""
    what = "the arguments of a chunk of tasks"
    items: list[tuple[Any, ...]] = _load(payload, what, buffers, inputs, copy=copy)
    return items


def dump_value(
    value: Any, buffers: Buffers | None = None, *, what: str = "the result of the task"
) -> bytes:
    """Pickle what a task returned, or `what` errors call it; `buffers` as in `dump_arguments`.

    Raises:
        SerializationError: names the type and the reason; of a `ChunkResult` also the item.
        ScalerError: one that the value itself raised (a future, a client), unchanged.
    """
    try:
        return _dumps_apart(value, buffers) if type(value) is bytes else dumps(value, buffers)
    except ScalerError:
        raise
    except Exception as error:
        named: list[tuple[str, Any]] = [(what, value)]
        if type(value) is ChunkResult:
            named = [(f"the result of item {n}", item) for n, item in enumerate(value.values)]
        raise _refused(named, error) from error


def load_value(
    payload: Payload,
    buffers: Opened = (),
    *,
    what: str = "the result of the task",
    copy: bool = False,
) -> Any:
    """Open what `dump_value` made, with what it left out; `copy` as in `load_arguments`.

    Raises:
        SerializationError: it cannot be opened in this process.
    """
    return _load(payload, what, buffers, copy=copy)


def dumps(value: Any, buffers: Buffers | None = None, large: LargeBytes | None = None) -> bytes:
    """Pickle `value`: with the C pickler if all in it can be imported by name.

    Args:
        value: what to pickle.
        buffers: as in `dump_arguments`.
        large: of the value, go to `buffers`, too; `None`: they are looked for if it gets large.

    Raises:
        SerializationError: that is more than `limits.PAYLOAD_BYTES`, and nothing may be left out.
        Exception: whatever an object inside raises while it is pickled.
    """
    try:
        payload = b"" if modules_by_value() else _dumps_by_name(value, buffers, large)
        if not payload:
            let_go(buffers or [])
            payload = dumps_by_value(value, leaving_out(buffers), large)
    except BaseException:
        let_go(buffers or [])
        raise
    if buffers is None:
        check_size(payload)
    elif len(payload) >= INLINE_BYTES and large is None:
        large = _large_bytes_in(value)
        if large:
            let_go(buffers)
            return dumps(value, buffers, large)
    return payload


def _dumps_apart(value: Any, buffers: Buffers | None) -> bytes:
    """Do what `dumps` does with what has probably large `bytes` in it: look for them first."""
    return dumps(value, buffers, None if buffers is None else _large_bytes_in(value))


def _large_bytes_in(value: Any) -> LargeBytes:
    return find_large_bytes(value.values if type(value) is ChunkResult else (value,))


def check_size(payload: bytes) -> None:
    """Raise if a pickle is too large to travel.

    Raises:
        SerializationError: it is more than `limits.PAYLOAD_BYTES`.
    """
    if len(payload) > PAYLOAD_BYTES:
        raise SerializationError(
            f"this is too large to travel with a task: {len(payload)} bytes pickled, at most "
            f"{PAYLOAD_BYTES} do. Pass the name of a file or of shared memory instead."
        )


def _dumps_by_name(value: Any, buffers: Buffers | None, large: LargeBytes | None) -> bytes:
    """Return nothing if something in it has to travel by value."""
    try:
        if large:
            payload = dumps_with(pickle.Pickler, value, leaving_out(buffers), large)
        else:
            payload = pickle.dumps(value, 5, buffer_callback=leaving_out(buffers))
    except ScalerError:
        raise
    except Exception:  # try by value, where this error is no longer the next one's context
        return b""
    if len(payload) > _SCAN_BYTES and _is_plain(value):
        return payload
    return b"" if b"__main__" in payload else payload


def _is_plain(value: Any, depth: int = 3) -> bool:
    """Tell whether `value` is memory without objects: text, bytes, arrays, a few of them."""
    kind = type(value)
    if kind in _ATOMS:
        return True
    if kind is tuple or kind is list:
        return depth > 0 and len(value) <= _PARTS and all(_is_plain(v, depth - 1) for v in value)
    if kind is dict:
        return _is_plain((*value, *value.values()), depth)
    if kind.__module__ != "numpy":
        return False
    return getattr(getattr(value, "dtype", None), "hasobject", True) is False


def _load(
    payload: Payload,
    what: str,
    buffers: Opened = (),
    inputs: Sequence[tuple[Payload, Opened]] = (),
    *,
    copy: bool = False,
) -> Any:
    loads = loads_writable if copy else pickle.loads
    try:
        if not inputs:
            return loads(payload, buffers=buffers)
        with inputs_at_hand(inputs, loads):
            return loads(payload, buffers=buffers)
    except (Exception, SystemExit, GeneratorExit) as error:  # not what interrupts us
        raise SerializationError(
            f"{what} cannot be opened in this process: {describe(error)}{hint(error)}"
        ) from error


def _refused(named: Iterable[tuple[str, Any]], error: Exception) -> SerializationError:
    """Find which of the objects, called by their names, was the one that did not pickle."""
    for name, value in named:
        reason = _why_refused(value)
        if reason is not None:
            return SerializationError(
                f"{name} (of type {type_name(value)}) cannot be pickled: {describe(reason)}"
            )
    return SerializationError(f"this cannot be pickled: {describe(error)}")


def _why_refused(value: Any) -> Exception | None:
    try:
        dumps_by_value(value)
    except Exception as error:
        return error
    return None
