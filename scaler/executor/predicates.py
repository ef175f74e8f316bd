"""Whether an exception is one after which the task's policy wants another attempt."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from scaler.errors import ScalerError
from scaler.protocol.tasks import TaskPolicy
from scaler.serialization.reasons import describe

OPENED_MAX: Final = 32
"""Predicates kept open, the latest used."""


class Predicates:
    """Opens and asks the predicates of tasks. Belongs to the main thread."""

    def __init__(self) -> None:
        self._opened: OrderedDict[bytes, Callable[[BaseException], Any]] = OrderedDict()

    def why_final(self, policy: TaskPolicy | None, error: BaseException) -> str:
        """Say why there shall be no further attempt after `error`; empty: nothing against it.

        Runs the user's code, and never raises what that raised.
        """
        if policy is None or not policy.retries:
            return ""
        if isinstance(error, ScalerError):
            return "not retried: it is not the task's own error"
        if not policy.retry_when:
            return ""
        traceback = error.__traceback__
        try:
            wanted = bool(self._open(policy.retry_when)(error))
        except BaseException as trouble:
            if trouble is error:
                return "not retried: its Retry's predicate raised it again"
            return f"not retried: its Retry's predicate raised {describe(trouble)}"
        finally:
            error.__traceback__ = traceback  # without the predicate's frames, if that raised it
        return "" if wanted else "not retried: its Retry says so"

    def _open(self, blob: bytes) -> Callable[[BaseException], Any]:
        predicate = self._opened.get(blob)
        if predicate is None:
            predicate = _predicate(pickle.loads(blob))
            self._opened[blob] = predicate
            if len(self._opened) > OPENED_MAX:
                self._opened.popitem(last=False)
        self._opened.move_to_end(blob)
        return predicate


def _predicate(when: Any) -> Callable[[BaseException], Any]:
    """Return the predicate that `Retry.when` stands for."""
    if isinstance(when, (type, tuple)):
        return lambda error: isinstance(error, when)
    predicate: Callable[[BaseException], Any] = when
    return predicate
