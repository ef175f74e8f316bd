"""Futures among arguments: each leaves its place, and the executor puts its value there.

On the client a future is met in the middle of pickling, wherever it stands: in a list, a dict, a
data class. It then pickles as a number, if somebody collects; nobody does before the first one was
met, so calls without futures pay nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from scaler.errors import ClientError, SerializationError
from scaler.serialization.buffers import Opened, Payload
from scaler.serialization.reasons import describe, hint


class FutureMetError(ClientError):
    """A future stands among what is pickled, and nobody collects futures."""

    def __init__(self, future: str, instead: str) -> None:
        """Say what can be done instead."""
        super().__init__(
            f"{future} cannot be pickled here: it can be an argument of a task, or part of one. "
            f"{instead}"
        )


class _Here(threading.local):
    """What this thread pickles or opens now."""

    collected: dict[Any, int] | None = None
    opened: _Opened | None = None


_here = _Here()


@contextmanager
def collecting() -> Iterator[dict[Any, int]]:
    """While this thread pickles, collect the futures that are met; each with its number."""
    before, _here.collected = _here.collected, {}
    try:
        yield _here.collected
    finally:
        _here.collected = before


def check_collecting(future: Any, instead: str = "Pass its result() instead.") -> None:
    """Raise if this thread does not collect futures now.

    Args:
        future: a future, or a reference.
        instead: what one can do then.

    Raises:
        FutureMetError: it does not.
    """
    if _here.collected is None:
        raise FutureMetError(repr(future), instead)


def place_of(future: Any) -> tuple[Any, ...]:
    """Return what a future pickles as, while futures are collected."""
    collected = _here.collected
    assert collected is not None
    number = collected.setdefault(future, len(collected))
    return _value_of_input, (number,)


class _Opened:
    """Pickled inputs; each is opened once, however often it stands among the arguments."""

    def __init__(self, inputs: Sequence[tuple[Payload, Opened]], loads: Callable[..., Any]) -> None:
        self._inputs = inputs
        self._loads = loads
        self._values: dict[int, Any] = {}

    def value(self, number: int) -> Any:
        if number not in self._values:
            try:
                payload, buffers = self._inputs[number]
                self._values[number] = self._loads(payload, buffers=buffers)
            except (Exception, SystemExit, GeneratorExit) as error:  # not what interrupts us
                raise SerializationError(
                    f"the result of another task, input {number} of this one, cannot be opened in "
                    f"this process: {describe(error)}{hint(error)}"
                ) from error
        return self._values[number]


@contextmanager
def inputs_at_hand(
    inputs: Sequence[tuple[Payload, Opened]], loads: Callable[..., Any]
) -> Iterator[None]:
    """While this thread opens arguments, put the values of `inputs` in their places.

    Args:
        inputs: pickles, and what they left out.
        loads: opens them, as `pickle.loads` does.
    """
    before, _here.opened = _here.opened, _Opened(inputs, loads)
    try:
        yield
    finally:
        _here.opened = before


def _value_of_input(number: int) -> Any:
    opened = _here.opened
    if opened is None:
        raise SerializationError("this was pickled to be an argument of a task, and nothing else")
    return opened.value(number)
