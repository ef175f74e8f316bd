"""`Retry`: after which exceptions a task is run again, how often, and when."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Final, TypeAlias

from scaler.errors import ScalerError
from scaler.limits import RETRY_BACKOFF_MAX_S
from scaler.settings import as_number

When: TypeAlias = (
    type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]
)

COUNT_MAX: Final = 1_000_000
"""Retries or attempts of one task, at most."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Run a task again when it raised: `client.options(retries=Retry(5, when=OSError))`.

    The wait before the first retry is `backoff`, before each further one twice as long, at most
    `max_backoff`. Of each wait a random part of up to `jitter` is left out, so that tasks that
    failed together do not come back together. `options(retries=3)` is short for `Retry(3)`.

    What is not the task's own is never retried so: a function, argument or result that does not
    pickle or open, and all other errors of this package.

    Args:
        count: further attempts after the first.
        when: an exception type or a tuple of them; or a predicate: a function of the exception that
            says whether to try again. It is called in the executor; what it raises means no, and
            is added to the exception's notes. `None`: after any exception.
        backoff: seconds; 0, the default, tries again at once.
        max_backoff: seconds.
        jitter: 0 to 1; 0 waits exactly.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: an argument is out of its range, or `when` can never hold.
    """

    count: int = 3
    _: KW_ONLY
    when: When | None = None
    backoff: float = 0.0
    max_backoff: float = RETRY_BACKOFF_MAX_S
    jitter: float = 0.25

    def __post_init__(self) -> None:
        checked = {
            "count": checked_count("count", self.count, least=0),
            "when": _checked_when(self.when),
            "backoff": _checked_wait("backoff", self.backoff),
            "max_backoff": _checked_wait("max_backoff", self.max_backoff),
            "jitter": checked_number("jitter", self.jitter),
        }
        if not 0 <= checked["jitter"] <= 1:
            raise ValueError(f"jitter must be between 0 and 1, got {self.jitter!r}")
        for name, value in checked.items():
            object.__setattr__(self, name, value)


def checked_count(name: str, value: Any, *, least: int) -> int:
    """Return `value` as an integer that can count.

    Raises:
        TypeError: it is none.
        ValueError: it is less than `least`, or larger than anybody can mean.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if not least <= count <= COUNT_MAX:
        raise ValueError(f"{name} must be between {least} and {COUNT_MAX:,}, got {value!r}")
    return count


def checked_number(name: str, value: Any, what: str = "a number") -> float:
    """Return `value` as a float.

    Raises:
        TypeError: it is no number.
        ValueError: it is NaN, or too large for a float.
    """
    number = as_number(name, value, what)
    if math.isnan(number):
        raise ValueError(f"{name} must be a number that a float can hold, got {value!r}")
    return number


def _checked_wait(name: str, value: Any) -> float:
    number = checked_number(name, value)
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} must be 0 or more, and finite, got {value!r}")
    return number


def _checked_when(when: Any) -> Any:
    kinds = when if isinstance(when, tuple) else (when,)
    if when is None or all(_is_exception_type(kind) for kind in kinds):
        if isinstance(when, tuple) and not when:
            raise ValueError("when=() names no exception: use retries=0")
        _check_own(kinds)
        return when
    if isinstance(when, (type, tuple)) or not callable(when):
        raise TypeError(
            f"when must be an exception type, a tuple of them, or a function, got {when!r}"
        )
    if _is_async(when):
        raise TypeError(f"when must be a plain function, not an async one, got {when!r}")
    return when


def _is_async(function: Any) -> bool:
    """Whether a call makes a coroutine, which is true whatever it would come to."""
    call = getattr(type(function), "__call__", None)  # noqa: B004 - it is callable
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def _check_own(kinds: tuple[Any, ...]) -> None:
    """Errors of this package do not come from the task: to wait for one is a misunderstanding."""
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, ScalerError):
            raise ValueError(  # noqa: TRY004 - it is of the right type
                f"when={kind.__name__} can never hold: only what the task itself raises is retried "
                "so. Tasks whose executor died are run again by `max_attempts`; a `timeout` and a "
                "`deadline` are final"
            )


def _is_exception_type(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseException)
