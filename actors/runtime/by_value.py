"""Pickling by value with cloudpickle, message classes included.

cloudpickle makes a class first and fills it in later; a `msgspec.Struct` must have its fields when
it is made. So a message class of `__main__` (a script, a notebook) is taken apart here.
"""

from __future__ import annotations

import functools
import io
import pickle
import types
import weakref
from collections import ChainMap
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec

_sent: weakref.WeakSet[type] = weakref.WeakSet()
"""Classes that left this process: one that comes home is not filled in with its own copy."""

_NOT_STATE = ("__annotations__", "__dict__", "__slots__", "__weakref__")


def dumps_by_value(value: object) -> bytes:
    """Pickle `value`; what its receiver could not import travels along.

    Raises:
        Exception: whatever the objects inside raise while they are pickled.
    """
    with io.BytesIO() as file:
        _pickler_class()(file, protocol=5).dump(value)
        return file.getvalue()


@functools.cache
def _pickler_class() -> Callable[..., pickle.Pickler]:
    import cloudpickle

    class ByValuePickler(cloudpickle.Pickler):  # type: ignore[misc]
        """cloudpickle that knows how to take a struct class apart, and keeps names of files."""

        dispatch_table: ClassVar[Any] = ChainMap(
            {types.CodeType: _reduce_code}, cloudpickle.Pickler.dispatch_table
        )

        def reducer_override(self, value: Any) -> Any:
            reduced = super().reducer_override(value)
            by_value = isinstance(reduced, tuple) and isinstance(value, msgspec.StructMeta)
            return _reduce_struct_class(value) if by_value else reduced

    return ByValuePickler


def _reduce_code(code: types.CodeType) -> tuple[Any, ...]:
    """Keep the name of the file: since 3.1.3 cloudpickle drops it, and tracebacks need it."""
    from cloudpickle.cloudpickle import _code_reduce

    return _make_code, (code.co_filename, _code_reduce(code)[1])


def _make_code(file_name: str, arguments: tuple[Any, ...]) -> types.CodeType:
    return types.CodeType(*arguments).replace(co_filename=file_name)


def _reduce_struct_class(kind: Any) -> tuple[Any, ...]:
    from cloudpickle.cloudpickle import _get_or_create_tracker_id

    _sent.add(kind)
    own = {field.name: field for field in msgspec.structs.fields(kind) if field.name in vars(kind)}
    fields = tuple((name, _default_of(field)) for name, field in own.items())
    options = {
        name: getattr(kind.__struct_config__, name)
        for name in dir(kind.__struct_config__)
        if not name.startswith("_")
    }
    options["kw_only"] = bool(fields) and not kind.__match_args__
    made_of = (_get_or_create_tracker_id(kind), kind.__name__, kind.__bases__, fields, options)
    state = {
        name: value
        for name, value in vars(kind).items()
        if name not in own and name not in _NOT_STATE
    }
    state["__qualname__"] = kind.__qualname__
    return _make_struct_class, made_of, state, None, None, _fill_struct_class


def _default_of(field: Any) -> dict[str, Any]:
    both = {"default": field.default, "default_factory": field.default_factory}
    return {name: value for name, value in both.items() if value is not msgspec.NODEFAULT}


def _make_struct_class(
    tracker_id: str,
    name: str,
    bases: tuple[type, ...],
    fields: tuple[tuple[str, dict[str, Any]], ...],
    options: dict[str, Any],
) -> type:
    """Return the class of this id, made now if it was never here."""
    from cloudpickle import cloudpickle

    known: type | None = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker_id)
    if known is not None:
        return known
    # Opaque bodies are not validated, so `Any` is enough; and types may name this very class.
    typed = [(field, Any, msgspec.field(**default)) for field, default in fields]
    made = msgspec.defstruct(name, typed, bases=bases, **options)
    found: type = cloudpickle._lookup_class_or_track(tracker_id, made)
    return found


def _fill_struct_class(kind: type, state: dict[str, Any]) -> None:
    if kind not in _sent:
        for name, value in state.items():
            setattr(kind, name, value)
