"""Functions as bytes: by name where they can be imported, by value where not."""

from __future__ import annotations

import functools
import hashlib
import pickle
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

from scaler.errors import ScalerError, SerializationError
from scaler.limits import FUNCTIONS_KNOWN
from scaler.protocol.tasks import Function
from scaler.serialization.by_value import dumps_by_value, is_importable, modules_by_value
from scaler.serialization.snapshot import Snapshot, SnapshotTooLargeError
from scaler.serialization.values import hint

_NAME_LENGTH = 200


class _Known:
    """A callable pickled before."""

    __slots__ = ("function", "ref", "snapshot", "used")

    def __init__(self, ref: weakref.ref[Any], function: Function, snapshot: Snapshot | None):
        self.ref = ref
        self.function = function
        self.snapshot = snapshot
        """`None`: it travels by name, so there is nothing that could change."""
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
        self._lock = threading.Lock()
        self._known: dict[int, _Known] = {}
        self._by_value: frozenset[str] = frozenset()

    def pickle(self, fn: Callable[..., Any]) -> Function:
        """Return `fn` as bytes.

        Raises:
            SerializationError: `fn` is not callable or cannot be pickled.
            ScalerError: one that an object within `fn` raised (a future, a client), unchanged.
        """
        known = self._known.get(id(fn))
        if (
            known is not None
            and (known.snapshot is None or known.snapshot.holds())
            and self._by_value == (modules_by_value() or _NONE)
        ):
            known.used = True
            return known.function
        return self._pickle_anew(fn)

    def _pickle_anew(self, fn: Callable[..., Any]) -> Function:
        by_value = frozenset(modules_by_value())
        if by_value != self._by_value:
            self._known.clear()
            self._by_value = by_value
        # First the snapshot, then the pickle: a change between the two is then seen next time.
        snapshot = None
        can_be_known = isinstance(fn, type | types.FunctionType | functools._lru_cache_wrapper)
        by_name = is_importable(fn)
        if can_be_known and not by_name:
            try:
                snapshot = Snapshot(fn)
            except SnapshotTooLargeError:
                can_be_known = False
        function = _function(fn, by_name=by_name)
        if can_be_known or by_name:
            self._remember(fn, function, snapshot)
        return function

    def _remember(
        self, fn: Callable[..., Any], function: Function, snapshot: Snapshot | None
    ) -> None:
        known = self._known
        # The dict, not the pickler: a weak reference's callback must not keep the pickler alive,
        # and takes no lock, because it may run anywhere.
        try:
            ref = weakref.ref(fn, functools.partial(known.pop, id(fn)))
        except TypeError:
            return
        with self._lock:
            known[id(fn)] = _Known(ref, function, snapshot)
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


_NONE: frozenset[str] = frozenset()


def load_function(function: Function) -> Callable[..., Any]:
    """Open a function.

    Raises:
        SerializationError: it cannot be opened in this process.
    """
    try:
        opened: Callable[..., Any] = pickle.loads(function.blob)
    except Exception as error:
        raise SerializationError(
            f"the function {function.name} cannot be opened in this process: "
            f"{type(error).__name__}: {error}{hint(error)}"
        ) from error
    return opened


def _function(fn: Callable[..., Any], *, by_name: bool) -> Function:
    name = _name(fn)
    if not callable(fn):
        raise SerializationError(f"{name} is not callable: pass the function, then its arguments")
    try:
        blob = _dumps(fn, by_name=by_name)
    except ScalerError:
        raise
    except Exception as error:
        raise SerializationError(
            f"the function {name} cannot be pickled: {type(error).__name__}: {error}"
        ) from error
    return Function(hashlib.blake2b(blob, digest_size=16).digest(), blob, name)


def _dumps(fn: Callable[..., Any], *, by_name: bool) -> bytes:
    if modules_by_value() or (isinstance(fn, types.FunctionType | type) and not by_name):
        return dumps_by_value(fn)
    try:
        blob = pickle.dumps(fn, 5)
    except ScalerError:
        raise
    except Exception:
        return dumps_by_value(fn)
    return dumps_by_value(fn) if b"__main__" in blob else blob


def _name(fn: Any) -> str:
    """Return `module.qualname`, of an instance that of its type."""
    if isinstance(fn, functools.partial):
        return f"partial of {_name(fn.func)}"[:_NAME_LENGTH]
    name = getattr(fn, "__qualname__", None)
    if not isinstance(name, str):
        fn, name = type(fn), type(fn).__qualname__
    module = getattr(fn, "__module__", None)
    return (f"{module}.{name}" if isinstance(module, str) else name)[:_NAME_LENGTH]
