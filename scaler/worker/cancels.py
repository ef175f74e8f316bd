"""How a worker stops tasks: taken back, interrupted, or killed with the executor."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from actors import DeferredReply, LocalMessage
from scaler.limits import CANCEL_SIGN_S
from scaler.protocol.tasks import (
    RowStatus,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskResult,
    TaskRow,
)

if TYPE_CHECKING:
    from scaler.worker.worker import Worker

_LOST_ROW_CHECK_S = 0.01


class SignDue(LocalMessage, frozen=True):
    """The interrupted task should have given a sign of life by now."""

    ordinal: int


class GraceOver(LocalMessage, frozen=True):
    """The interrupted task should have unwound by now."""

    ordinal: int


class CancelOrder(msgspec.Struct):
    """A cancel that waits for its task to end."""

    task_id: int
    replies: list[DeferredReply]
    force: bool
    grace_s: float | None
    due_s: float = math.inf
    """When its grace ends, on the node's clock."""


class Cancels:
    """The worker's side of the cancel protocol."""

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
        taken = dict.fromkeys(worker.executor.take_back(wanted) if wanted else ())
        worker.ledger.drop(taken)
        for ordinal, order in zip(ordinals, requests, strict=True):
            if ordinal in taken or worker.held.pop(order.task_id, None) is not None:
                _confirm(order, TaskCancelConfirmType.Canceled)
            elif not ordinal:
                _confirm(order, TaskCancelConfirmType.CancelNotFound)
            elif ordinal in self.orders:
                self._join(ordinal, order)
            elif order.force:
                self._interrupt(ordinal, order)
            else:
                _confirm(order, TaskCancelConfirmType.CancelFailed)

    def answer(self, row: TaskRow) -> bool:
        """Answer the cancel of a task that ended; False if there is none."""
        order = self._close(row.ordinal)
        if order is None:
            return False
        if row.status is RowStatus.INTERRUPTED:
            _confirm(order, TaskCancelConfirmType.Canceled)
        else:
            for reply in order.replies:
                reply.send(TaskResult((row,)))
        return True

    def confirm_all(self) -> None:
        """The executor is gone, and with it all that was to be stopped."""
        for ordinal in list(self.orders):
            order = self._close(ordinal)
            assert order is not None
            self._worker.ledger.strike(ordinal)
            _confirm(order, TaskCancelConfirmType.Canceled)

    def sign_due(self, ordinal: int) -> None:
        """Kill a task that sits in C code: its handler has not even run."""
        if self._worker.executor.answered() != ordinal and not self._kill(ordinal):
            self._start_sign(ordinal, _LOST_ROW_CHECK_S)

    def grace_over(self, ordinal: int) -> None:
        """Kill a task that has not unwound."""
        if not self._kill(ordinal):
            self._start_grace(ordinal, _LOST_ROW_CHECK_S)

    def _kill(self, ordinal: int) -> bool:
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
            worker.kill()
        return True

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
        grace_s = worker.cancel_grace_s if order.grace_s is None else order.grace_s
        # Tasks run in order, so that only the last one can be running: the others have ended, and
        # the page has one word for the wish.
        if grace_s > 0 and ordinal == max(self.orders):
            worker.executor.interrupt(ordinal)
        if grace_s > 0 and order.grace_s is None:
            self._start_sign(ordinal, CANCEL_SIGN_S)
        self._limit(ordinal, order, grace_s)

    def _limit(self, ordinal: int, order: CancelOrder, grace_s: float) -> None:
        """Kill what has not unwound after `grace_s`, unless that is due sooner already."""
        due_s = self._worker.context.now() + grace_s
        if grace_s == 0:
            self.grace_over(ordinal)
        elif due_s < order.due_s:
            order.due_s = due_s
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
