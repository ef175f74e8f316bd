"""Arguments, chunks of arguments and results as bytes.

The C pickler goes first, it is ten times as fast. What it refuses, and what names `__main__`
(which is another module in the executor), goes through cloudpickle.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

import msgspec

from scaler.errors import ScalerError, SerializationError
from scaler.serialization.by_value import dumps_by_value, modules_by_value

_NO_ARGUMENTS: Final = pickle.dumps(((), {}), 5)

_SCAN_BYTES: Final = 1 << 16
"""From here on, looking for `__main__` costs as much as pickling: see whether it is needed."""

_BUFFERS: Final = {type(None): 0, bool: 0, int: 0, float: 0, str: 0, bytes: 0, bytearray: 0}
"""Types that cannot hold an object of `__main__`."""


class ChunkResult(msgspec.Struct, frozen=True):
    """What came of a chunk: the values of the items before the first that failed."""

    values: list[Any]
    index: int = -1
    """Index of the failed item, -1: none failed."""
    error: bytes = b""
    """Its exception, as `dump_exception` made it."""


def dump_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """Pickle the arguments of one call.

    Raises:
        SerializationError: names the argument, its type and the reason.
        ScalerError: one that an argument itself raised (a future, a client), unchanged.
    """
    if not args and not kwargs:
        return _NO_ARGUMENTS
    try:
        return dumps((args, kwargs), (*args, *kwargs.values()) if kwargs else args)
    except ScalerError:
        raise
    except Exception as error:
        named = [(f"argument {n}", value) for n, value in enumerate(args)]
        named += [(f"argument {name!r}", value) for name, value in kwargs.items()]
        raise _refused(named, error) from error


def load_arguments(payload: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Open what `dump_arguments` made.

    Raises:
        SerializationError: they cannot be opened in this process.
    """
    if payload == _NO_ARGUMENTS:
        return (), {}
    arguments: tuple[tuple[Any, ...], dict[str, Any]] = _load(payload, "the arguments of the task")
    return arguments


def dump_items(items: list[tuple[Any, ...]]) -> bytes:
    """Pickle the argument tuples of one chunk; errors as `dump_arguments`."""
    try:
        return dumps(items, [value for item in items for value in item])
    except ScalerError:
        raise
    except Exception as error:
        named = (
            (f"argument {n} of item {index}", value)
            for index, item in enumerate(items)
            for n, value in enumerate(item)
        )
        raise _refused(named, error) from error


def load_items(payload: bytes) -> list[tuple[Any, ...]]:
    """Open what `dump_items` made; errors as `load_arguments`."""
    items: list[tuple[Any, ...]] = _load(payload, "the arguments of a chunk of tasks")
    return items


def dump_value(value: Any) -> bytes:
    """Pickle what a task returned.

    Raises:
        SerializationError: names the type and the reason; of a `ChunkResult` also the item.
        ScalerError: one that the value itself raised (a future, a client), unchanged.
    """
    try:
        return dumps(value, (value,))
    except ScalerError:
        raise
    except Exception as error:
        named: list[tuple[str, Any]] = [("the result of the task", value)]
        if type(value) is ChunkResult:
            named = [(f"the result of item {n}", item) for n, item in enumerate(value.values)]
        raise _refused(named, error) from error


def load_value(payload: bytes) -> Any:
    """Open what `dump_value` made.

    Raises:
        SerializationError: it cannot be opened in this process.
    """
    return _load(payload, "the result of the task")


def dumps(value: Any, parts: Collection[Any] = ()) -> bytes:
    """Pickle `value`, by name what can be; `parts`, if any, are all objects it consists of."""
    if modules_by_value():
        return dumps_by_value(value)
    try:
        payload = pickle.dumps(value, 5)
    except ScalerError:
        raise
    except Exception:
        return dumps_by_value(value)
    if parts and len(payload) >= _SCAN_BYTES and all(map(_is_buffer, parts)):
        return payload
    return dumps_by_value(value) if b"__main__" in payload else payload


def _is_buffer(value: Any) -> bool:
    """Tell whether `value` is plain memory: text, bytes, a number, an array of numbers."""
    kind = type(value)
    if kind in _BUFFERS:
        return True
    if kind.__module__ != "numpy":
        return False
    return getattr(getattr(value, "dtype", None), "hasobject", True) is False


def _load(payload: bytes, what: str) -> Any:
    try:
        return pickle.loads(payload)
    except Exception as error:
        raise SerializationError(
            f"{what} cannot be opened in this process: {type(error).__name__}: {error}{hint(error)}"
        ) from error


def hint(error: BaseException) -> str:
    """Return what the user can do about an error of unpickling; empty if nothing is known."""
    if isinstance(error, ModuleNotFoundError):
        return (
            f". Make {error.name!r} importable here (sys.path is taken over when the cluster "
            "starts), or send it along with cloudpickle.register_pickle_by_value"
        )
    return ""


def _refused(named: Iterable[tuple[str, Any]], error: Exception) -> SerializationError:
    """Find which of the objects, called by their names, was the one that did not pickle."""
    for name, value in named:
        reason = _why_refused(value)
        if reason is not None:
            return SerializationError(
                f"{name} (of type {_type_name(value)}) cannot be pickled: {_reason(reason)}"
            )
    return SerializationError(f"this cannot be pickled: {_reason(error)}")


def _why_refused(value: Any, dump: Callable[[Any], bytes] = dumps_by_value) -> Exception | None:
    try:
        dump(value)
    except Exception as error:
        return error
    return None


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else _full_name(kind)


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
