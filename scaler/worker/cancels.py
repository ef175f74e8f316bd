"""How a worker stops tasks: taken back, interrupted, or killed with the executor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from actors import DeferredReply, LocalMessage
from scaler.limits import CANCEL_SIGN_S
from scaler.protocol.tasks import (
    RowStatus,
    Task,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskResult,
    TaskRow,
)
from scaler.protocol.timeouts import Limit, pack_timeout
from scaler.worker.rows import attempt_row

if TYPE_CHECKING:
    from scaler.worker.worker import Worker

_LOST_ROW_CHECK_S = 0.01
_REPEAT_S = 0.02


class SignDue(LocalMessage, frozen=True):
    """The interrupted task should have given a sign of life by now."""

    ordinal: int


class GraceOver(LocalMessage, frozen=True):
    """The interrupted task should have unwound by now."""

    ordinal: int


class CancelOrder(msgspec.Struct):
    """A task that is to stop: who asked for it, or which limit it met."""

    task_id: int
    replies: list[DeferredReply]
    force: bool = True
    grace_s: float | None = None
    limit: Limit | None = None
    """Answered by a row, unless someone asked for a cancel meanwhile."""
    due_s: float = math.inf
    """When its grace ends, on the node's clock."""
    is_repeated: bool = False
    """The interrupt was sent a second time."""
    how: str = ""
    """Why it was killed."""
    unwound: TaskRow | None = None
    """Its row; the answer comes when what it left behind is gone."""


class Cancels:
    """The worker's side of the cancel protocol, and of limits: a task at its limit is cancelled."""

    def __init__(self, worker: Worker) -> None:
        """Serve `worker`, whose ledger, executor and context this uses."""
        self._worker = worker
        self._requests: list[CancelOrder] = []
        self.orders: dict[int, CancelOrder] = {}
        """Interrupted tasks, by ordinal."""

    def note(self, message: TaskCancel, reply: DeferredReply) -> None:
        """Keep a cancel until the end of this run: all are decided together."""
        order = CancelOrder(message.task_id, [reply], message.force, message.grace_s)
        self._requests.append(order)

    def decide(self) -> None:
        """Decide the cancels of this run: take back what has not begun, interrupt the rest."""
        if not self._requests:
            return
        requests, self._requests = self._requests, []
        worker = self._worker
        ordinals = [worker.ledger.ordinals.get(order.task_id, 0) for order in requests]
        wanted = [ordinal for ordinal in ordinals if ordinal and ordinal not in self.orders]
        taken = worker.executor.take_back(wanted) if wanted else ()
        worker.ledger.drop(taken)
        is_taken = dict.fromkeys(taken)
        for ordinal, order in zip(ordinals, requests, strict=True):
            if ordinal in is_taken or worker.held.pop(order.task_id, None) is not None:
                _confirm(order, TaskCancelConfirmType.Canceled)
            elif not ordinal:
                _confirm(order, TaskCancelConfirmType.CancelNotFound)
            elif ordinal in self.orders:
                self._join(ordinal, order)
            elif order.force:
                self._interrupt(ordinal, order)
            else:
                _confirm(order, TaskCancelConfirmType.CancelFailed)

    def expire(self, ordinals: Sequence[int], limit: Limit) -> None:
        """Stop tasks at their limit, those apart that are being stopped already."""
        worker = self._worker
        wanted = [ordinal for ordinal in ordinals if ordinal not in self.orders]
        taken = worker.executor.take_back(wanted) if wanted else ()
        self._tell_unbegun(worker.ledger.drop(taken), limit)
        for ordinal in wanted:
            entry = worker.ledger.sent.get(ordinal)
            if entry is not None:
                self._interrupt(ordinal, CancelOrder(entry.task.task_id, [], limit=limit))

    def expire_held(self, task_ids: Sequence[int]) -> None:
        """End tasks that no executor has, at their deadline."""
        held = [self._worker.held.pop(task_id) for task_id in task_ids]
        self._tell_unbegun([one.entry.task for one in held], Limit.DEADLINE)

    def keep_unclean(self, row: TaskRow) -> bool:
        """Keep the row of a task that unwound and left something behind, if it was to stop."""
        order = self.orders.get(row.ordinal)
        if order is None or row.status is not RowStatus.INTERRUPTED:
            return False
        order.unwound = row
        return True

    def answer(self, row: TaskRow) -> TaskRow | None:
        """Answer the cancel of a task that ended; return what is to be told to the scheduler."""
        order = self._close(row.ordinal)
        if order is None:
            return row
        if row.status is not RowStatus.INTERRUPTED:
            for reply in order.replies:
                reply.send(TaskResult((row,)))
            return None if order.replies else row
        return self._stopped(order, row, "it unwound after the interrupt")

    def give_up(self, ordinal: int) -> CancelOrder | None:
        """Tell who asked for it that a task cannot be stopped; return what there was to stop it."""
        order = self._close(ordinal)
        if order is not None:
            _confirm(order, TaskCancelConfirmType.CancelFailed)
        return order

    def end_all(self, cause: str, ran_s: float, *, by_us: bool) -> None:
        """The executor is gone, and with it all that was to be stopped.

        What was at a limit and shows no sign that it lived to see the interrupt stays in the
        ledger: it may have died before, and is one of the dead.

        Args:
            cause: how it went.
            ran_s: how long the running task had been running.
            by_us: it was killed, and by its worker.
        """
        worker = self._worker
        answered = worker.executor.answered()
        rows: list[TaskRow] = []
        for ordinal in list(self.orders):
            order = self._close(ordinal)
            assert order is not None
            was_stopped = by_us or order.unwound is not None or answered == ordinal
            if not was_stopped and not order.replies:
                continue
            task = worker.ledger.strike(ordinal)
            row, how = order.unwound, order.how or f"its executor ended meanwhile: {cause}"
            if row is not None:
                how = "it unwound after the interrupt; what it left behind was killed"
            else:
                was_running = ordinal == worker.executor.running()
                row = self._row(task, ordinal, worker.pid, ran_s if was_running else 0.0)
            told = self._stopped(order, row, how)
            if told is not None:
                rows.append(told)
        worker.tell_rows(rows)

    def sign_due(self, ordinal: int) -> None:
        """Interrupt once more, then kill a task that sits in C code: its handler has not even run.

        A signal that comes after the last look at signals, but before a system call begins, does
        not end that call: one time in some thousand a task that goes to sleep sleeps on.
        """
        executor, order = self._worker.executor, self.orders.get(ordinal)
        if order is None or executor.answered() == ordinal:
            return
        if not order.is_repeated:
            order.is_repeated = True
            if max(self.orders) == ordinal:
                executor.interrupt(ordinal)
            if order.grace_s is None:
                self._start_sign(ordinal, CANCEL_SIGN_S - _REPEAT_S)
            return
        if not self._kill(ordinal, ": it gave no sign of life"):
            self._start_sign(ordinal, _LOST_ROW_CHECK_S)

    def grace_over(self, ordinal: int) -> None:
        """Kill a task that has not unwound."""
        grace_s = self._worker.options.cancel_grace_s
        why = f": it did not unwind within {grace_s:g} s" if grace_s else ""
        if not self._kill(ordinal, why):
            self._start_grace(ordinal, _LOST_ROW_CHECK_S)

    def _kill(self, ordinal: int, why: str) -> bool:
        """Kill the executor if nothing else can be running there; else look again.

        If another task runs, this one has ended and its row is on the way; the same if none runs
        but others are here, of which one may begin just now.
        """
        worker = self._worker
        if ordinal in self.orders and not worker.dying:
            worker.give_back()  # from now on no other task begins
            running = worker.executor.running()
            is_alone = not running and all(number in self.orders for number in worker.ledger.sent)
            if running != ordinal and not is_alone:
                return False
            self.orders[ordinal].how = f"it was killed with its executor{why}"
            worker.kill()
        return True

    def _stopped(self, order: CancelOrder, row: TaskRow, how: str) -> TaskRow | None:
        """Confirm a stop to those who asked for it; return the row if nobody did: a limit."""
        _confirm(order, TaskCancelConfirmType.Canceled)
        if order.replies or order.limit is None:
            return None
        payload = pack_timeout(order.limit, how)
        return msgspec.structs.replace(row, status=RowStatus.TIMED_OUT, payload=payload)

    def _tell_unbegun(self, tasks: Sequence[Task], limit: Limit) -> None:
        payload = pack_timeout(limit, "")
        rows = [self._row(task, payload=payload) for task in tasks]
        self._worker.tell_rows(rows)

    def _row(
        self, task: Task, ordinal: int = 0, pid: int = 0, ran_s: float = 0.0, payload: bytes = b""
    ) -> TaskRow:
        return attempt_row(
            task,
            RowStatus.TIMED_OUT,
            payload,
            now_s=self._worker.context.now(),
            ran_s=ran_s,
            ordinal=ordinal,
            worker=self._worker.name,
            pid=pid,
        )

    def _join(self, ordinal: int, later: CancelOrder) -> None:
        """A second cancel of an interrupted task gets the same answer; it may bring it sooner."""
        order = self.orders[ordinal]
        order.replies += later.replies
        if later.force and later.grace_s is not None:
            self._limit(ordinal, order, later.grace_s)

    def _interrupt(self, ordinal: int, order: CancelOrder) -> None:
        worker = self._worker
        self.orders[ordinal] = order
        if worker.dying:
            return  # the death that is under way is the answer
        grace_s = worker.options.cancel_grace_s if order.grace_s is None else order.grace_s
        # Tasks run in order, so that only the last one can be running: the others have ended, and
        # the page has one word for the wish.
        if grace_s > 0 and ordinal == max(self.orders):
            worker.executor.interrupt(ordinal)
        if grace_s > 0:
            self._start_sign(ordinal, _REPEAT_S)
        self._limit(ordinal, order, grace_s)

    def _limit(self, ordinal: int, order: CancelOrder, grace_s: float) -> None:
        """Kill what has not unwound after `grace_s`, unless that is due sooner already."""
        now_s = self._worker.context.now()
        is_sooner = now_s + grace_s < order.due_s
        order.due_s = min(order.due_s, now_s + grace_s)
        if order.due_s <= now_s:  # perhaps since an earlier cancel, and by now the kill is possible
            self.grace_over(ordinal)
        elif is_sooner:
            self._start_grace(ordinal, grace_s)

    def _start_sign(self, ordinal: int, after_s: float) -> None:
        self._worker.context.start_timer(("sign", ordinal), after_s, SignDue(ordinal))

    def _start_grace(self, ordinal: int, grace_s: float) -> None:
        self._worker.context.start_timer(("grace", ordinal), grace_s, GraceOver(ordinal))

    def _close(self, ordinal: int) -> CancelOrder | None:
        order = self.orders.pop(ordinal, None)
        if order is not None:
            self._worker.context.cancel_timer(("grace", ordinal))
            self._worker.context.cancel_timer(("sign", ordinal))
        return order


def _confirm(order: CancelOrder, kind: TaskCancelConfirmType) -> None:
    for reply in order.replies:
        reply.send(TaskCancelConfirm(order.task_id, kind))
