"""How a worker starts its executors, one after the other, and when it gives up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors import LaunchError, LocalMessage
from scaler.errors import ClusterStartError
from scaler.limits import EXECUTOR_START_FAILURES, EXECUTOR_START_PAUSES_S
from scaler.worker.deaths import Verdict
from scaler.worker.ledger import Ledger
from scaler.worker.recycling import Recycling

if TYPE_CHECKING:
    from scaler.worker.worker import Worker


class StartDue(LocalMessage, frozen=True):
    """The pause after an executor that did not start is over."""


class Starts:
    """Starts executors. Those that die before they are up are counted."""

    def __init__(self, worker: Worker) -> None:
        """Serve `worker`."""
        self._worker = worker
        self.failures = 0
        """In a row."""

    def start(self) -> None:
        """Start an executor, without waiting for it."""
        worker = self._worker
        worker.number += 1
        worker.pid = 0
        worker.dying = False
        worker.verdict = Verdict()
        worker.ledger = Ledger()
        worker.recycling = Recycling(worker) if worker.options.recycles else None
        own = worker.context.self_ref
        try:
            worker.executor = worker.make_executor(worker.number, worker.name, own.tell)
        except (LaunchError, OSError) as error:
            self.again(f"{type(error).__name__}: {error}")
        else:
            worker.accepting = True

    def again(self, cause: str) -> None:
        """An executor did not start: try again after a pause, or give up.

        Raises:
            ClusterStartError: that was the last time.
        """
        self.failures += 1
        if self.failures >= EXECUTOR_START_FAILURES:
            raise ClusterStartError(
                f"the executor of {self._worker.name} did not start, "
                f"{self.failures} times in a row; the last time: {cause}"
            )
        pause_s = EXECUTOR_START_PAUSES_S[self.failures - 1]
        if pause_s:
            self._worker.context.start_timer("start", pause_s, StartDue())
        else:
            self.start()
