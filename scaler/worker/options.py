"""`WorkerOptions`: how a worker treats its executors."""

from __future__ import annotations

import msgspec

from scaler.limits import CANCEL_GRACE_S


class WorkerOptions(msgspec.Struct, frozen=True):
    """The same for all workers of a cluster."""

    cancel_grace_s: float = CANCEL_GRACE_S
    """From interrupt to kill, unless a cancel says otherwise."""
    max_tasks: int | None = None
    """Tasks that one executor runs before it is replaced, at least 1; `None`: no limit."""
    max_memory_bytes: int | None = None
    """Resident memory above which an executor is killed; `None`: no limit."""

    @property
    def recycles(self) -> bool:
        """Whether an executor may have to be replaced without having died."""
        return self.max_tasks is not None or self.max_memory_bytes is not None
