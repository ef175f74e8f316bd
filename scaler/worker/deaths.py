"""What becomes of the tasks of an executor that is gone."""

from __future__ import annotations

import logging
from signal import SIGKILL
from typing import TYPE_CHECKING

import msgspec

from actors import LocalMessage
from scaler.limits import EXECUTOR_KILL_S, EXECUTOR_VAIN_DEATHS
from scaler.protocol.tasks import RowStatus, Task, TaskRow
from scaler.protocol.timeouts import pack_timeout
from scaler.worker.ledger import Ledger
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


class KillOverdue(LocalMessage, frozen=True):
    """An executor that was told to die should be gone by now."""

    number: int


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
    had_begun = ordinal in worker.ledger.sent
    worker.cancels.end_all(cause, ran_s, by_us=by_us)
    if had_begun:
        worker.vain_deaths = 0
    elif worker.ledger.sent and worker.pid and not (worker.dying or blameless):
        worker.vain_deaths += 1
        ordinal, cause = _suspect(worker), f"before the task had begun: {cause}"
    task = worker.ledger.strike(ordinal) if ordinal in worker.ledger.sent else None
    # First those that have not begun: what is told last is queued again before all others.
    worker.tell_returned(worker.ledger.ordinals)
    if task is not None:
        text = death_text(task, worker.executor.item(), cause, worker.name, worker.pid)
        status = RowStatus.LOST if blameless else RowStatus.WORKER_DIED
        worker.tell_rows([_row(worker, task, ordinal, status, text.encode(), ran_s)])


def _suspect(worker: Worker) -> int:
    """Return the ordinal of a task that kills who receives it, 0 if that is not clear (yet)."""
    if worker.vain_deaths < EXECUTOR_VAIN_DEATHS:
        return 0
    worker.give_back_held()  # so that what was sent comes again before it
    (first, *others) = worker.ledger.sent
    return 0 if others or worker.vain_deaths == EXECUTOR_VAIN_DEATHS else first


def abandon(worker: Worker) -> None:
    """The executor was killed and does not die: it hangs in the kernel. End its tasks without it.

    None of them is tried again or confirmed as cancelled: nobody knows what it still holds, or when
    it will be gone. Until then its slot is out of use.
    """
    cause = f"its process {worker.pid} cannot be killed, for {EXECUTOR_KILL_S:g} s now"
    _log.warning("%s is out of use: %s", worker.name, cause)
    worker.abandoned = True
    worker.give_back_held()
    ordinal, ran_s = worker.executor.running(), worker.executor.running_for()
    begun = dict.fromkeys(worker.cancels.orders)
    if ordinal in worker.ledger.sent:
        begun[ordinal] = None
    rows = [
        _row_of_stuck(worker, number, cause, ran_s if number == ordinal else 0.0)
        for number in begun
    ]
    worker.tell_returned(worker.ledger.ordinals)  # a signal is due to it before any of these begin
    worker.ledger = Ledger()
    worker.tell_rows(rows)
    worker.tell_credit(0)


def _row_of_stuck(worker: Worker, ordinal: int, cause: str, ran_s: float) -> TaskRow:
    """Strike a task that cannot be stopped; who asked for that is told so. Return its last row."""
    order = worker.cancels.give_up(ordinal)
    task = worker.ledger.strike(ordinal)
    status = RowStatus.WORKER_DIED
    payload = death_text(task, worker.executor.item(), cause, worker.name, worker.pid).encode()
    if order is not None and order.limit is not None:
        status, payload = RowStatus.TIMED_OUT, pack_timeout(order.limit, cause)
    row = _row(worker, task, ordinal, status, payload, ran_s)
    return msgspec.structs.replace(row, final=True)


def _row(
    worker: Worker, task: Task, ordinal: int, status: RowStatus, payload: bytes, ran_s: float
) -> TaskRow:
    """Return the row of an attempt that ended with its executor, or without it."""
    return attempt_row(
        task,
        status,
        payload,
        now_s=worker.context.now(),
        ran_s=ran_s,
        ordinal=ordinal,
        worker=worker.name,
        pid=worker.pid,
    )
