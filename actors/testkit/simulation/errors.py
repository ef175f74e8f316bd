"""How a simulation says that something went wrong."""

from __future__ import annotations


class SimulationError(Exception):
    """Base of what a simulation raises when the simulated system does what it must not."""


class InvariantError(SimulationError):
    """A promise of the system was broken. Raised by the oracle that watches it.

    Attributes:
        invariant: a short name for the promise, the same for every way to break it.
    """

    def __init__(self, invariant: str, detail: str = "") -> None:
        super().__init__(invariant, detail)
        self.invariant = invariant
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.invariant}: {self.detail}" if self.detail else self.invariant


class UnexpectedFailureError(SimulationError):
    """A handler raised, and the simulation was not told that this may happen.

    The exception of the handler is the `__cause__`.
    """


class LivelockError(SimulationError):
    """Very many events within one moment of virtual time: the actors keep each other busy."""


class CounterexampleError(SimulationError):
    """`explore` found an order of things that breaks a promise. The error is the `__cause__`.

    Attributes:
        path: the choices that lead there, for `replay`.
        steps: the same in words.
    """

    def __init__(self, path: list[int], steps: list[str], error: str) -> None:
        super().__init__(path, steps, error)
        self.path = path
        self.steps = steps
        self.error = error

    def __str__(self) -> str:
        lines = [f"{number:4} {step}" for number, step in enumerate(self.steps, 1)]
        return "\n".join([f"{self.error}, after these steps (path={self.path}):", *lines])
