"""Futures of a notebook: what a task prints belongs to a cell."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TypeVar

from scaler.client.future import ScalerFuture
from scaler.client.outcome import Canceller

T = TypeVar("T")


class CellFuture(ScalerFuture[T]):
    """A future that knows the cell it was submitted in: what its task prints is shown there."""

    __slots__ = ("context",)
    context: Context
    """Tells a kernel's streams which cell they write for."""


def future_factory() -> Callable[[int, Canceller, float], ScalerFuture]:
    """Return what makes this program's futures: outside of a kernel they know nothing of cells."""
    return _make_cell_future if "ipykernel" in sys.modules else ScalerFuture


def _make_cell_future(task_id: int, session: Canceller, submitted_s: float) -> ScalerFuture:
    future: CellFuture[object] = CellFuture(task_id, session, submitted_s)
    future.context = copy_context()
    return future
