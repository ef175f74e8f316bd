"""`Failures`: handlers of simulated actors that raised."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from actors.ref import ActorRef
from actors.testkit.simulation.errors import SimulationError, UnexpectedFailureError
from actors.testkit.simulation.events import label


class Failure(msgspec.Struct, frozen=True):
    """A handler that raised."""

    time_s: float
    ref: ActorRef
    error: Exception


class Failures:
    """Keeps the failures of a simulation, and raises the first that nobody expected."""

    def __init__(self, expected: bool | Callable[[ActorRef, Exception], bool]) -> None:
        """Expect all, none, or those for which `expected` returns true."""
        self._expected = expected
        self.unexpected: Failure | None = None
        """What is still to be raised."""
        self.kept: list[Failure] = []

    def add(self, failure: Failure) -> None:
        """Note a handler that raised."""
        self.kept.append(failure)
        if self.unexpected is None and not self._is_expected(failure):
            self.unexpected = failure

    def raise_unexpected(self) -> None:
        """Raise what must not be missed, once.

        Raises:
            UnexpectedFailureError: an actor raised.
            SimulationError: a model or an oracle did, called by an actor.
        """
        failure, self.unexpected = self.unexpected, None
        if failure is None:
            return
        if isinstance(failure.error, SimulationError):
            raise failure.error
        raise UnexpectedFailureError(
            f"actor {label(failure.ref)} raised at {failure.time_s} s: {failure.error!r}; "
            "if it may, say so with expect_failures"
        ) from failure.error

    def _is_expected(self, failure: Failure) -> bool:
        if isinstance(failure.error, SimulationError):
            return False
        if isinstance(self._expected, bool):
            return self._expected
        return self._expected(failure.ref, failure.error)
