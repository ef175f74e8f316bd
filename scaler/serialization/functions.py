"""Functions as bytes: by name where they can be imported, by value where not."""

from __future__ import annotations

import functools
import hashlib
import pickle
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any, Final

from scaler.errors import ClientError, ScalerError, SerializationError
from scaler.limits import FUNCTIONS_KNOWN
from scaler.protocol.tasks import Function
from scaler.serialization.by_value import dumps_by_value, is_importable, modules_by_value
from scaler.serialization.reasons import describe, hint, type_name
from scaler.serialization.snapshot import Snapshot
from scaler.serialization.values import check_size, dumps

_NAME_LENGTH: Final = 200

_FUNCTIONS: Final = (types.FunctionType, functools._lru_cache_wrapper)


class _Known:
    """A callable pickled before."""

    __slots__ = ("function", "ref", "registered", "snapshot", "used")

    def __init__(
        self,
        ref: weakref.ref[Any],
        function: Function,
        snapshot: Snapshot | None,
        registered: frozenset[str],
    ) -> None:
        self.ref = ref
        self.function = function
        self.snapshot = snapshot
        """`None`: it travels by name, so there is nothing that could change."""
        self.registered = registered
        """Modules that travelled by value then."""
        self.used = False


class FunctionPickler:
    """Makes a `Function` of any callable, and knows those it has made.

    A function or class that can be imported travels by name. Any other travels by value, and is
    pickled again when its code, its defaults, a closure cell or a global that it reads (itself, or
    through functions and classes by value) is another object than before. What is changed in place
    is not seen. Everything that is neither function nor class (bound methods, `functools.partial`,
    instances with `__call__`) may have changed anywhere and is pickled at each call.

    Thread-safe. Known callables are held weakly, and at most `FUNCTIONS_KNOWN` of them.
    """

    def __init__(self) -> None:
        self._lock = (
            threading.RLock()
        )  # the handler of a signal may submit while this thread is in here
        self._known: dict[int, _Known] = {}

    def pickle(self, fn: Callable[..., Any]) -> Function:
        """Return `fn` as bytes.

        Raises:
            SerializationError: `fn` is not callable or cannot be pickled.
            ClientError: it refers to a future or a client, as a global or in its closure.
        """
        known = self._known.get(id(fn))
        if known is None or not (known.snapshot is None or known.snapshot.holds()):
            return self._pickle_anew(fn)
        registered = modules_by_value()
        if (registered or known.registered) and registered != known.registered:
            return self._pickle_anew(fn)
        known.used = True
        return known.function

    def _pickle_anew(self, fn: Callable[..., Any]) -> Function:
        # First the snapshot, then the pickle: a change between the two is then seen next time.
        registered = frozenset(modules_by_value())
        kind = type(fn)
        by_name = is_importable(fn)
        by_value = not by_name and (kind in _FUNCTIONS or issubclass(kind, type))
        snapshot = _snapshot(fn) if by_value else None
        function = _function(fn, by_value=by_value)
        if by_name or snapshot is not None:
            self._remember(fn, function, snapshot, registered)
        return function

    def _remember(
        self,
        fn: Callable[..., Any],
        function: Function,
        snapshot: Snapshot | None,
        registered: frozenset[str],
    ) -> None:
        known = self._known
        # The dict, not the pickler: a weak reference's callback must not keep the pickler alive,
        # and takes no lock, because it may run anywhere.
        try:
            ref = weakref.ref(fn, functools.partial(known.pop, id(fn)))
        except TypeError:
            return
        with self._lock:
            known[id(fn)] = _Known(ref, function, snapshot, registered)
            while len(known) > FUNCTIONS_KNOWN:
                self._forget_one()

    def _forget_one(self) -> None:
        """Forget the oldest that was not used since this was asked before."""
        try:
            key = next(iter(self._known))
        except RuntimeError:  # a function died, and its entry went, at this very moment
            return
        oldest = self._known.pop(key, None)
        if oldest is not None and oldest.used and oldest.ref() is not None:
            oldest.used = False
            self._known[key] = oldest


def load_function(function: Function) -> Callable[..., Any]:
    """Open a function.

    Raises:
        SerializationError: it cannot be opened in this process.
    """
    try:
        opened: Callable[..., Any] = pickle.loads(function.blob)
    except (Exception, SystemExit, GeneratorExit) as error:  # not what interrupts us
        raise SerializationError(
            f"the function {function.name} cannot be opened in this process: "
            f"{describe(error)}{hint(error)}"
        ) from error
    return opened


def _snapshot(fn: Callable[..., Any]) -> Snapshot | None:
    try:
        return Snapshot(fn)
    except Exception:  # too large, or an object of the user's on the way that does not bear it
        return None


def _function(fn: Callable[..., Any], *, by_value: bool) -> Function:
    name = _name(fn)
    if not callable(fn):
        raise SerializationError(f"{name} is not callable: pass the function, then its arguments")
    try:
        blob = dumps_by_value(fn) if by_value else dumps(fn)
        check_size(blob)
    except ClientError as error:  # of an object that must not travel: a client, a future
        raise ClientError(f"the function {name} refers to what cannot travel: {error}") from error
    except ScalerError:
        raise
    except Exception as error:
        raise SerializationError(
            f"the function {name} cannot be pickled: {describe(error)}"
        ) from error
    return Function(hashlib.blake2b(blob, digest_size=16).digest(), blob, name)


def _name(fn: Any) -> str:
    """Return `module.qualname`, of an instance that of its type."""
    if isinstance(fn, functools.partial):
        return f"partial of {_name(fn.func)}"[:_NAME_LENGTH]
    try:
        name, module = fn.__qualname__, fn.__module__
    except Exception:  # an instance, or one whose `__getattr__` raises
        name = module = None
    if not isinstance(name, str):
        return type_name(fn)[:_NAME_LENGTH]
    return (f"{module}.{name}" if isinstance(module, str) else name)[:_NAME_LENGTH]
