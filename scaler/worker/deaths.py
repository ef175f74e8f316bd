"""What becomes of the tasks of an executor that is gone."""

from __future__ import annotations

import logging
from signal import SIGKILL
from typing import TYPE_CHECKING

import msgspec

from scaler.limits import EXECUTOR_VAIN_DEATHS
from scaler.protocol.tasks import RowStatus
from scaler.worker.rows import attempt_row, death_text

if TYPE_CHECKING:
    from scaler.worker.port import ExecutorExited
    from scaler.worker.worker import Worker


_log = logging.getLogger("scaler")


class Verdict(msgspec.Struct, frozen=True):
    """Why a worker killed its executor, if not for a cancel."""

    cause: str = ""
    blameless: bool = False
    """What ran there is not to blame."""


def bury(worker: Worker, message: ExecutorExited) -> None:
    """Confirm what was to be stopped, blame what ran, give the rest back: it has not begun.

    A task may kill whoever only receives it: it needs more memory than there is. So after some
    executors that died before they had begun any task, the one that comes alone is blamed.
    """
    cause, blameless = message.cause, message.blameless
    by_us = worker.dying and message.signal == SIGKILL and not blameless  # else it was faster
    if worker.verdict.cause and by_us:
        _, newline, last_lines = cause.partition("\n")
        cause, blameless = worker.verdict.cause + newline + last_lines, worker.verdict.blameless
    if not worker.dying or worker.verdict.cause:  # else it was ended on purpose
        _log.info("executor %d of %s died: %s", worker.pid, worker.name, cause.partition("\n")[0])
    ordinal = worker.executor.running()
    ran_s = worker.executor.running_for()
    worker.cancels.end_all(cause, ran_s, by_us=by_us)
    if ordinal in worker.ledger.sent:
        worker.vain_deaths = 0
    elif worker.ledger.sent and worker.pid and not (worker.dying or blameless):
        worker.vain_deaths += 1
        ordinal, cause = _suspect(worker), f"before the task had begun: {cause}"
    task = worker.ledger.strike(ordinal) if ordinal in worker.ledger.sent else None
    # First those that have not begun: what is told last is queued again before all others.
    worker.tell_returned(worker.ledger.ordinals)
    if task is not None:
        text = death_text(task, worker.executor.item(), cause, worker.name, worker.pid)
        row = attempt_row(
            task,
            RowStatus.LOST if blameless else RowStatus.WORKER_DIED,
            text.encode(),
            now_s=worker.context.now(),
            ran_s=ran_s,
            ordinal=ordinal,
            worker=worker.name,
            pid=worker.pid,
        )
        worker.tell_rows([row])


def _suspect(worker: Worker) -> int:
    """Return the ordinal of a task that kills who receives it, 0 if that is not clear (yet)."""
    if worker.vain_deaths < EXECUTOR_VAIN_DEATHS:
        return 0
    worker.give_back_held()  # so that what was sent comes again before it
    (first, *others) = worker.ledger.sent
    return 0 if others or worker.vain_deaths == EXECUTOR_VAIN_DEATHS else first
