"""How a worker replaces executors that ran enough tasks, or grew too large."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaler.limits import MEMORY_CHECK_S, MEMORY_SOFT_SHARE

if TYPE_CHECKING:
    from scaler.protocol.tasks import TaskRow
    from scaler.worker.worker import Worker

_GIB = 1 << 30
_MIB = 1 << 20


class Recycling:
    """Counts and weighs one executor. A new executor, a new one of these.

    An executor that grew above the soft share of its limit gets no more tasks. Above the limit it
    is killed while a task runs. That task is to blame, unless an earlier one may have left the
    memory behind: then the attempt is lost by nobody's fault, and the next one, in an executor of
    its own, tells.
    """

    def __init__(self, worker: Worker) -> None:
        """Serve `worker`, whose options, ledger and executor this uses."""
        self._worker = worker
        self._max_tasks = worker.options.max_tasks
        self._max_bytes = worker.options.max_memory_bytes or 0
        self._soft_bytes = MEMORY_SOFT_SHARE * self._max_bytes
        self._inherited = False
        """It was above the soft share between two tasks."""
        self._weigh_s = 0.0

    def room(self) -> int | None:
        """Return how many tasks more the executor may get; `None`: any number."""
        if self._max_tasks is None:
            return None
        return max(0, self._max_tasks - self._worker.ledger.used)

    def rows_came(self, rows: tuple[TaskRow, ...]) -> None:
        """Attempts ended: replace the executor now if it is time, or when it has ended the rest."""
        worker = self._worker
        # The peak comes with each row for nothing; only above it the present size says more.
        has_peaked = self._max_bytes and rows[-1].rss_bytes > self._soft_bytes
        if has_peaked and worker.executor.rss_bytes() > self._soft_bytes:
            self._inherited = True
            worker.drain()
        if not worker.ledger.sent and (not worker.accepting or self.room() == 0):
            worker.kill()

    def weigh(self, now_s: float) -> float | None:
        """Weigh the executor while a task runs; return when to do it again, `None` for never."""
        if not self._max_bytes:
            return None
        if now_s >= self._weigh_s:
            self._weigh_s = now_s + MEMORY_CHECK_S
            self._judge(self._worker.executor.rss_bytes())
        return self._weigh_s

    def _judge(self, rss_bytes: int) -> None:
        if rss_bytes > self._max_bytes:
            text = (
                f"its memory of {_in_words(rss_bytes)} is above max_memory_per_executor "
                f"of {_in_words(self._max_bytes)}"
            )
            self._worker.kill(text, blameless=self._inherited)
        elif rss_bytes > self._soft_bytes:
            self._worker.drain()


def _in_words(size_bytes: int) -> str:
    if size_bytes >= _GIB:
        return f"{size_bytes / _GIB:.1f} GiB"
    return f"{size_bytes / _MIB:.1f} MiB"
