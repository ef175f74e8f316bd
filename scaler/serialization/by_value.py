"""What other processes cannot import by name travels by value, through cloudpickle.

By value travels: what lives in `__main__`, lambdas and closures, and what is of a module that the
user registered with `cloudpickle.register_pickle_by_value`. cloudpickle is imported at first need.
"""

from __future__ import annotations

import functools
import io
import pickle
import sys
import types
import weakref
from collections import ChainMap, deque
from collections.abc import Callable
from typing import Any, ClassVar, Final

from scaler.serialization.buffers import PickleBuffers
from scaler.serialization.large_bytes import LargeBytes, dump_apart

_home: weakref.WeakSet[type] = weakref.WeakSet()
"""Classes of this process that were sent by value."""

_kept: deque[type] = deque(maxlen=1_000)
"""The latest of these, held: what comes home names them only, perhaps after a redefinition."""

_received: weakref.WeakSet[type] = weakref.WeakSet()
"""Classes that came by value from another process."""


_NONE: Final[frozenset[str]] = frozenset()

_registered: frozenset[str] | set[str] | None = None


def modules_by_value() -> frozenset[str] | set[str]:
    """Return the modules that the user registered to travel by value; usually empty.

    It is cloudpickle's own live set: this is asked at each submit, and a copy costs more than all
    the rest of it. Without cloudpickle loaded nothing can have been registered.
    """
    if _registered is not None:
        return _registered
    return _find_registered() if "cloudpickle" in sys.modules else _NONE


def _find_registered() -> frozenset[str] | set[str]:
    global _registered
    module = sys.modules.get("cloudpickle.cloudpickle")
    _registered = getattr(module, "_PICKLE_BY_VALUE_MODULES", None)
    return _NONE if _registered is None else _registered


def is_importable(value: Any) -> bool:
    """Tell whether `value`, a function or class, is what its module holds under its name.

    A name that lies (a decorator copied it from another function) is not believed.
    """
    try:
        module_name, name = value.__module__, value.__qualname__
        found: Any = sys.modules[module_name]
        for part in name.split("."):
            found = getattr(found, part)
    except Exception:  # no name, no such module, no such attribute, or a property that raises
        return False
    if found is not value or module_name == "__main__":
        return False
    registered = modules_by_value()
    if not registered:
        return True
    parts = module_name.split(".")
    return not any(".".join(parts[:n]) in registered for n in range(1, len(parts) + 1))


def dumps_by_value(
    value: Any,
    buffer_callback: PickleBuffers = None,
    large: LargeBytes | None = None,
) -> bytes:
    """Pickle `value` with cloudpickle, protocol 5.

    Args:
        value: what to pickle.
        buffer_callback: takes buffers that the pickle leaves out, see `pickle.Pickler`.
        large: see `large_bytes.dump_apart`.

    Raises:
        Exception: whatever the objects inside raise while they are pickled.
    """
    return dumps_with(_pickler_class(), value, buffer_callback, large)


def dumps_with(
    pickler_class: Callable[..., pickle.Pickler],
    value: Any,
    buffer_callback: PickleBuffers,
    large: LargeBytes | None,
) -> bytes:
    """Do what `dumps_by_value` does, with another pickler."""
    with io.BytesIO() as file:
        pickler = pickler_class(file, protocol=5, buffer_callback=buffer_callback)
        try:
            if large:
                dump_apart(pickler, file, value, large)
            else:
                pickler.dump(value)
        except BaseException:
            # The error's traceback holds the pickler, and that the buffers: CPython before 3.13
            # dies when it collects a `PickleBuffer` of a `memoryview` in a cycle.
            pickler.clear_memo()
            raise
        return file.getvalue()


@functools.cache
def _pickler_class() -> Callable[..., pickle.Pickler]:
    import cloudpickle

    class ByValuePickler(cloudpickle.Pickler):  # type: ignore[misc]
        """cloudpickle, with repairs: cached functions, classes that come home, names of files.

        A class that came by value goes back by its number: it is there already.
        """

        dispatch_table: ClassVar[Any] = ChainMap(
            {types.CodeType: _reduce_code}, cloudpickle.Pickler.dispatch_table
        )

        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, type) and value in _received:
                number = cloudpickle.cloudpickle._get_or_create_tracker_id(value)
                return _class_at_home, (number, value.__qualname__)
            if type(value) is functools._lru_cache_wrapper and not is_importable(value):
                arguments = (value.__wrapped__, value.cache_parameters())
                return _make_cached, arguments, vars(value) or None
            reduced = super().reducer_override(value)
            if isinstance(value, type) and isinstance(reduced, tuple) and len(reduced) == 6:
                if value not in _home:
                    _home.add(value)
                    _kept.append(value)
                *others, state, _, _, setter = reduced
                return (*others, (setter, state), None, None, _set_class_state)
            return reduced

    return ByValuePickler


def _reduce_code(code: types.CodeType) -> tuple[Any, ...]:
    """Keep the name of the file: since 3.1.3 cloudpickle drops it, and tracebacks need it."""
    from cloudpickle.cloudpickle import _code_reduce

    return _make_code, (code.co_filename, _code_reduce(code)[1])


def _make_code(file_name: str, arguments: tuple[Any, ...]) -> types.CodeType:
    return types.CodeType(*arguments).replace(co_filename=file_name)


def _make_cached(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    """Cache `function` as `functools.lru_cache` did: its wrapper pickles by name only."""
    return functools.lru_cache(**parameters)(function)


def _class_at_home(number: str, name: str) -> type:
    """Return the class that once left from here under this number of cloudpickle's."""
    import cloudpickle

    found: type | None = cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(number)
    if found is None:
        raise LookupError(f"the class {name} left from another process, or is long gone here")
    return found


def _set_class_state(received: type, state: tuple[Callable[[type, Any], Any], Any]) -> None:
    """Fill in a class that came by value, unless it is the very class that once left from here.

    cloudpickle finds that class again, which is right, and then overwrites its methods and
    attributes with the other process's copies, which is not.
    """
    if received in _home:
        return
    _received.add(received)
    setter, attributes = state
    setter(received, attributes)
