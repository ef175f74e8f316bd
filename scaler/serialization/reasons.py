"""Texts about what did not pickle or open. None of them raises, whatever the object does."""

from __future__ import annotations

from typing import Any, Final

TEXT_LENGTH: Final = 10_000
"""Longest description of an error, characters."""

_UNNAMED: Final = ("builtins", "__main__")


def type_name(value: Any) -> str:
    """Return `module.qualname` of the type of `value`; of built-in types only the name."""
    kind = type(value)
    try:
        module, name = kind.__module__, kind.__qualname__
    except Exception:  # a metaclass has its own ideas
        return "an unnamed type"
    return f"{name}" if module in _UNNAMED else f"{module}.{name}"


def describe(error: BaseException) -> str:
    """Return `type: text` of an error, also of one whose `__str__` raises."""
    name = type_name(error)
    try:
        text = str(error)
    except BaseException as trouble:
        text = f"(its __str__ raised {type_name(trouble)})"
    return (f"{name}: {text}" if text else name)[:TEXT_LENGTH]


def hint(error: BaseException) -> str:
    """Return what the user can do about an error of unpickling; empty if nothing is known."""
    if isinstance(error, ModuleNotFoundError):
        return (
            f". Make {error.name!r} importable there (sys.path is taken over when the cluster "
            "starts), or send it along with cloudpickle.register_pickle_by_value"
        )
    if isinstance(error, AttributeError):
        return (
            ". If its module was changed after the cluster started: start a new cluster, or send "
            "the module along with cloudpickle.register_pickle_by_value"
        )
    return ""
