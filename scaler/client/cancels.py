"""How a future manager cancels: one request per task, however many callers wait for it."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from actors import ActorsError, AskTimeoutError, DeferredReply, LocalMessage
from scaler.client.future import CancelOutcome, ScalerFuture
from scaler.limits import CANCEL_TIMEOUT_S
from scaler.protocol.tasks import (
    Remains,
    RowStatus,
    TaskCancel,
    TaskCancelConfirmType,
    TaskResult,
    TaskRow,
)

if TYPE_CHECKING:
    from scaler.client.future_manager import ClientFutureManager


class CancelFutures(LocalMessage, frozen=True):
    """Asked by a caller's thread: cancel these. Reply (`None`) when each is decided."""

    futures: tuple[ScalerFuture, ...]
    force: bool
    timeout_s: float
    """0: the futures are cancelled at once, and the request travels all the same."""
    grace_s: float | None
    unconfirmed: bool = False
    """They are cancelled already (from an event loop's callback); the answer is only noted."""

    def remains(self) -> Remains:
        """Keep no results."""
        return Remains("CancelFutures", tuple([future.task_id for future in self.futures]))


class Waiter:
    """One call of `cancel` that waits until all its futures are decided."""

    __slots__ = ("_left", "_reply")

    def __init__(self, reply: DeferredReply, futures: Collection[ScalerFuture]) -> None:
        self._reply = reply
        self._left = len(futures)
        if not futures:
            reply.send(None)

    def settled(self) -> None:
        """One more of the futures is decided."""
        self._left -= 1
        if not self._left:
            self._reply.send(None)


class CancelDue(LocalMessage, frozen=True):
    """A caller of `cancel` that joined an open one has waited long enough."""

    task_id: int


class Caller(msgspec.Struct, frozen=True):
    """One who waits for the cancel of one future."""

    waiter: Waiter
    force: bool
    timer: Hashable
    """Key of the timer of one who joined; `None` for the first, whose deadline is the request's."""


class OpenCancel:
    """A cancel that travels: one request, however many callers wait for it."""

    __slots__ = ("callers", "force")

    def __init__(self) -> None:
        self.force = False
        self.callers: list[Caller] = []


class Cancels:
    """The future manager's side of the cancel protocol."""

    def __init__(self, manager: ClientFutureManager) -> None:
        """Serve `manager`, whose table and context this uses."""
        self._manager = manager
        self._open: dict[int, OpenCancel] = {}
        self._timers = 0

    def request(self, future: ScalerFuture, message: CancelFutures, waiter: Waiter) -> None:
        """Cancel an open future: ask the scheduler, or join a request that travels."""
        task_id, timeout_s = future.task_id, message.timeout_s
        cancel = self._open.get(task_id)
        joined = cancel is not None
        if joined and future.done() and not message.unconfirmed:
            waiter.settled()  # given up on before; its answer is still on the way
            return
        if cancel is None:
            cancel = self._open[task_id] = OpenCancel()
        sooner = message.force and (not cancel.force or message.grace_s is not None)
        cancel.force = cancel.force or message.force
        timer = self._start_timer(task_id, timeout_s) if joined and timeout_s else None
        cancel.callers.append(Caller(waiter, message.force, timer))
        if not timeout_s:
            self.give_up_waiting(task_id)
        if not joined or sooner:
            self._ask(task_id, message.force, message.grace_s, timeout_s or CANCEL_TIMEOUT_S)

    def cross(self, future: ScalerFuture, row: TaskRow) -> bool:
        """A task has ended while its cancel travels: decide; False if none does."""
        cancel = self._open.get(future.task_id)
        if cancel is None:
            return False
        if row.status is RowStatus.INTERRUPTED:
            future.set_cancel_confirmed(CancelOutcome.CANCELED)
        else:
            keeps = self._manager.surroundings.cancel_finished
            outcome, delivered = crossed(cancel.force, keeps)
            if delivered:
                future.set_cancel_refused(outcome)
                future.set_result_ready(row)
            else:
                future.set_cancel_confirmed(outcome)
        self.settle(future.task_id)
        return True

    def settle(self, task_id: int) -> None:
        """The future is decided: wake who waits for its cancel, if anybody does."""
        cancel = self._open.pop(task_id, None)
        if cancel is not None:
            self._dismiss(cancel.callers)

    def give_up_waiting(self, task_id: int) -> None:
        """A caller's time is up: the future is cancelled, for all who wait."""
        cancel = self._open.get(task_id)
        entry = self._manager.open.get(task_id)
        if cancel is not None and entry is not None:
            callers, cancel.callers = cancel.callers, []
            entry[0].set_cancel_confirmed(CancelOutcome.TIMEOUT)
            self._dismiss(callers)

    def _ask(self, task_id: int, force: bool, grace_s: float | None, timeout_s: float) -> None:
        self._manager.context.ask(
            self._manager.scheduler,
            TaskCancel(task_id, force, grace_s),
            then=partial(self._answered, task_id, force, grace_s),
            timeout_s=timeout_s,
        )

    def _answered(self, task_id: int, force: bool, grace_s: float | None, answer: Any) -> None:
        """The scheduler's answer; one that a result has overtaken changes nothing."""
        if isinstance(answer, TaskResult):
            self._manager.take_rows(answer.rows)
        elif isinstance(answer, AskTimeoutError):
            self.give_up_waiting(task_id)
            if task_id in self._manager.open:  # its credit is held until somebody answers for it
                self._ask(task_id, force, grace_s, CANCEL_TIMEOUT_S)
        elif isinstance(answer, ActorsError):
            return  # the scheduler ended: `Terminated` follows
        elif answer.type is not TaskCancelConfirmType.CancelFailed:
            self._manager.on_confirm(answer)
        elif task_id in self._open:
            self._refused(task_id, force)

    def _refused(self, task_id: int, force: bool) -> None:
        """It goes on running. Who asked with more force still waits for the other answer."""
        cancel = self._open[task_id]
        refused = [caller for caller in cancel.callers if force or not caller.force]
        cancel.callers = [caller for caller in cancel.callers if caller.force and not force]
        if force or not cancel.force:
            del self._open[task_id]
        self._manager.open[task_id][0].set_cancel_refused(CancelOutcome.FAILED)
        self._dismiss(refused)

    def _start_timer(self, task_id: int, timeout_s: float) -> Hashable:
        self._timers += 1
        key = ("cancel", task_id, self._timers)
        self._manager.context.start_timer(key, timeout_s, CancelDue(task_id))
        return key

    def _dismiss(self, callers: Iterable[Caller]) -> None:
        for caller in callers:
            if caller.timer is not None:
                self._manager.context.cancel_timer(caller.timer)
            caller.waiter.settled()


def crossed(force: bool, cancel_finished: bool) -> tuple[CancelOutcome, bool]:
    """What a result that came before the confirm does: the outcome, and whether it is delivered."""
    if not force:
        return CancelOutcome.FAILED, True
    return CancelOutcome.RESULT, not cancel_finished


def give_up(futures: Iterable[ScalerFuture], force: bool) -> None:
    """Nobody answered a cancel, not even too late: decide here what each future is.

    One that is open is cancelled, truthfully unanswered. One that was done before anybody looked
    at the request is given up as if it had been done when that was made, if it was forceful.
    """
    for future in futures:
        if not future.set_cancel_confirmed(CancelOutcome.TIMEOUT) and force:
            future.cancel_done()
