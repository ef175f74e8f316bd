"""One exception as bytes, by itself: without traceback, chain and notes.

There are three ways. Each is tried out before it is used, for an exception may well pickle and then
not unpickle.

* `pickle`: as the exception says itself.
* `state`: its class, `args` and attributes, without a call of its `__init__`. For classes that
  define `__init__` and leave pickling to the default, which would call it with the wrong arguments.
* `group`: class and message of an exception group; its members travel apart.
"""

from __future__ import annotations

import pickle
import types
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from scaler.errors import SerializationError
from scaler.serialization.reasons import describe, type_name
from scaler.serialization.values import dumps

_PICKLING: Final = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__")


class ExceptionBody(msgspec.Struct, frozen=True, array_like=True):
    """One exception as bytes, and what to say if they do not open."""

    way: str
    data: bytes
    text: str

    def open(self, members: Sequence[BaseException] = ()) -> BaseException:
        """Return the exception; of a group, one with these members.

        Raises:
            Exception: whatever opening it raises.
        """
        opened = _WAYS[self.way][1](self.data, members)
        if not isinstance(opened, BaseException):
            raise SerializationError(f"it opens as {type_name(opened)}, which is no exception")
        return opened


def body_of(error: BaseException) -> ExceptionBody:
    """Return `error` as bytes, or a `SerializationError` that describes it.

    Raises:
        BaseException: nothing but what the interpreter itself raises at any moment.
    """
    text = describe(error)
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    trouble: BaseException | None = None
    for way in _ways_for(type(error)):
        try:
            body = ExceptionBody(way, _WAYS[way][0](error), text)
            opened = body.open(members)
        except BaseException as refused:
            trouble = trouble or refused
            continue
        if way == "plain group" or type(opened).__qualname__ == type(error).__qualname__:
            return body
    reason = "it opens as something else" if trouble is None else describe(trouble)
    described = SerializationError(
        f"the task raised {text}\nThis exception cannot be pickled and opened again: "
        f"{_culprit(error)}{reason}"
    )
    return ExceptionBody("pickle", pickle.dumps(described, 5), text)


def _ways_for(kind: type[BaseException]) -> tuple[str, ...]:
    if issubclass(kind, BaseExceptionGroup):
        return ("group", "plain group")
    if _defines(kind, _PICKLING):
        return ("pickle",)
    return ("state", "pickle") if _defines(kind, ("__init__", "__new__")) else ("pickle", "state")


def _defines(kind: type, names: tuple[str, ...]) -> bool:
    """Tell whether `kind` or a base that is not built in defines one of `names`."""
    own = [base for base in kind.__mro__ if base.__module__ != "builtins"]
    return any(name in vars(base) for base in own for name in names)


def _dump_state(error: BaseException) -> bytes:
    """Pickle class, `args`, slots and attributes.

    The slots of built-in exceptions (`OSError.errno`) are found like a user's `__slots__`.
    `AttributeError.obj` stays: it is any object, and only there for the interpreter's suggestions.
    """
    state = {key: value for key, value in vars(error).items() if key != "__notes__"}
    for base in type(error).__mro__:
        for key, slot in vars(base).items():
            if type(slot) is types.MemberDescriptorType and (base, key) not in _NO_STATE:
                value = getattr(error, key, None)
                if value is not None:
                    state[key] = value
    return dumps((type(error), error.args, state))


def _load_state(data: bytes, _members: Sequence[BaseException]) -> BaseException:
    kind, args, state = pickle.loads(data)
    base = kind
    while base.__module__ != "builtins":
        base = base.__base__
    error: BaseException = base.__new__(kind, *args)
    try:
        base.__init__(error, *args)
    except TypeError:  # `args` are not what the built-in class takes
        pass
    for key, value in {"args": args, **state}.items():
        BaseException.__setattr__(error, key, value)  # the class may be frozen
    return error


def _dump_group(group: BaseException) -> bytes:
    assert isinstance(group, BaseExceptionGroup)
    state = {key: value for key, value in vars(group).items() if key != "__notes__"}
    return dumps((type(group), group.message, state))


def _load_group(data: bytes, members: Sequence[BaseException]) -> BaseException:
    kind, message, state = pickle.loads(data)
    group: BaseException = BaseExceptionGroup.__new__(kind, message, members)
    for key, value in state.items():
        BaseException.__setattr__(group, key, value)
    return group


def _dump_plain_group(group: BaseException) -> bytes:
    assert isinstance(group, BaseExceptionGroup)
    return pickle.dumps(f"{group.message} ({type(group).__qualname__})", 5)


def _load_plain_group(data: bytes, members: Sequence[BaseException]) -> BaseException:
    return BaseExceptionGroup(pickle.loads(data), members)


def _dump_pickle(error: BaseException) -> bytes:
    return dumps(error)


def _load_pickle(data: bytes, _members: Sequence[BaseException]) -> Any:
    return pickle.loads(data)


def _culprit(error: BaseException) -> str:
    """Name the attribute or argument that does not pickle; empty if it is none alone."""
    parts = [(f"argument {n}", value) for n, value in enumerate(getattr(error, "args", ()))]
    parts += [(f"attribute {key!r}", value) for key, value in vars(error).items()]
    for name, value in parts:
        try:
            dumps(value)
        except BaseException:
            return f"its {name} is of type {type_name(value)}: "
    return ""


_NO_STATE: Final = ((BaseException, "__suppress_context__"), (AttributeError, "obj"))

_Dump = Callable[[BaseException], bytes]
_Load = Callable[[bytes, Sequence[BaseException]], Any]

_WAYS: Final[dict[str, tuple[_Dump, _Load]]] = {
    "pickle": (_dump_pickle, _load_pickle),
    "state": (_dump_state, _load_state),
    "group": (_dump_group, _load_group),
    "plain group": (_dump_plain_group, _load_plain_group),
}
