"""`ClientFutureManager`: the actor that resolves a client's futures.

It owns the table of open futures. Callers' threads give it tasks and cancels; the scheduler's
answers come back to it, and it decides what each future becomes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from actors import Actor, ActorRef, ActorsError, AskTimeoutError, LocalMessage, Terminated, handles
from scaler.client.cancels import CancelFutures, OpenCancel, Waiter, crossed
from scaler.client.future import CancelOutcome, ScalerFuture, resolve_rows
from scaler.client.submissions import Submissions, SubmissionsReady
from scaler.errors import ClusterBrokenError
from scaler.limits import CANCEL_TIMEOUT_S, CLOSE_TIMEOUT_S
from scaler.protocol.tasks import (
    ClientConnect,
    ClientDisconnect,
    RowStatus,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskOutput,
    TaskResult,
    TaskRow,
    TaskStarted,
    TaskSubmit,
)


class Surroundings(Protocol):
    """What a future manager needs of its client. Called on the node's thread; never blocks."""

    cancel_finished: bool
    """Whether a result that crosses a cancel, or is there already, is given up."""
    submissions: Submissions
    open: dict[int, tuple[ScalerFuture, int]]
    """The table of open futures, filled and emptied by the manager."""

    def release_credit(self, tasks: int, size_bytes: int) -> None:
        """Give credit back."""

    def run_callbacks(self, futures: list[ScalerFuture]) -> None:
        """Have the callbacks of these futures called."""

    def show(self, future: ScalerFuture, output: TaskOutput) -> None:
        """Show what a task printed."""

    def after_shown(self, then: Callable[[], None]) -> None:
        """Call `then`, on any thread, when all shown so far has been written."""


class CloseManager(LocalMessage, frozen=True):
    """Asked: cancel all, end the table, stop. Reply when nothing is open any more."""

    grace_s: float


class BreakManager(LocalMessage, frozen=True):
    """The cluster is broken: end every open future with this error."""

    error: Exception


class CancelDue(LocalMessage, frozen=True):
    """A caller of `cancel` that joined an open one has waited long enough."""

    task_id: int


class OutputShown(LocalMessage, frozen=True):
    """What these attempts printed has been written: their futures may resolve."""

    rows: tuple[TaskRow, ...]


class ClientFutureManager(Actor):
    """Submits tasks, asks for cancels, resolves futures in batches."""

    def __init__(self, client: int, scheduler: ActorRef, surroundings: Surroundings) -> None:
        """Make the manager of client number `client`."""
        self.client = client
        self.scheduler = scheduler
        self.surroundings = surroundings
        self.open = surroundings.open
        """Future and size in bytes of every task that the scheduler has not answered for."""
        self.cancels: dict[int, OpenCancel] = {}
        self.printed: dict[int, None] = {}
        """Open tasks that have printed."""
        self._resolved: list[tuple[ScalerFuture, TaskRow]] = []
        self._released_tasks = 0
        self._released_bytes = 0
        self._timers = 0

    def on_start(self) -> None:
        """Introduce the client to the scheduler."""
        self.context.watch(self.scheduler)
        self.context.ask(self.scheduler, ClientConnect(self.client), then=self._on_connected)

    def _on_connected(self, answer: Any) -> None:
        if isinstance(answer, ActorsError) or not answer.accepted:
            why = answer if isinstance(answer, ActorsError) else "the client's number is taken"
            self._break(ClusterBrokenError(f"the scheduler does not take this client: {why}"))

    # --- submit -----------------------------------------------------------------------------

    @handles(SubmissionsReady)
    def on_submissions(self, message: SubmissionsReady) -> None:
        """Send the new tasks, all in one message."""
        submissions = self.surroundings.submissions.take_all()
        if not submissions:
            return
        functions = {}
        tasks = []
        for submission in submissions:
            task = submission.task
            self.open[task.task_id] = (submission.future, len(task.payload))
            functions[task.function_id] = submission.function
            tasks.append(task)
        message_out = TaskSubmit(tuple(functions.values()), tuple(tasks))
        self.context.tell(self.scheduler, message_out)

    # --- results ----------------------------------------------------------------------------

    @handles(TaskResult)
    def on_result(self, message: TaskResult) -> None:
        """Resolve the futures of attempts that ended."""
        self._take_rows(message.rows)

    def _take_rows(self, rows: Iterable[TaskRow]) -> None:
        waiting: list[TaskRow] = []
        for row in rows:
            if row.task_id in self.printed:
                waiting.append(row)
                continue
            entry = self.open.pop(row.task_id, None)
            if entry is None:
                continue  # its future was resolved by an answer to a cancel
            self._release(entry[1])
            cancel = self.cancels.pop(row.task_id, None)
            if cancel is None:
                self._resolved.append((entry[0], row))
            else:
                self._cross(entry[0], cancel, row)
        if waiting:
            held = OutputShown(tuple(waiting))
            self.surroundings.after_shown(partial(self.context.self_ref.tell, held))

    @handles(OutputShown)
    def on_output_shown(self, message: OutputShown) -> None:
        """The output is out: now the futures."""
        for row in message.rows:
            self.printed.pop(row.task_id, None)
        self._take_rows(message.rows)

    def _cross(self, future: ScalerFuture, cancel: OpenCancel, row: TaskRow) -> None:
        """A result and a cancel have crossed."""
        if row.status is RowStatus.INTERRUPTED:
            future.set_cancel_confirmed(CancelOutcome.CANCELED)
        else:
            outcome, delivered = crossed(cancel.force, self.surroundings.cancel_finished)
            if delivered:
                future.set_cancel_refused(outcome)
                future.set_result_ready(row)
            else:
                future.set_cancel_confirmed(outcome)
        self._answer(cancel, future)

    @handles(TaskStarted)
    def on_started(self, message: TaskStarted) -> None:
        """Note which tasks run."""
        for task_id in message.task_ids:
            entry = self.open.get(task_id)
            if entry is not None:
                entry[0].set_running()

    @handles(TaskOutput)
    def on_output(self, message: TaskOutput) -> None:
        """Show what a task printed; its future waits for that."""
        entry = self.open.get(message.task_id)
        if entry is not None:
            self.printed[message.task_id] = None
            self.surroundings.show(entry[0], message)

    # --- cancel -----------------------------------------------------------------------------

    @handles(CancelFutures)
    def on_cancel(self, message: CancelFutures) -> None:
        """Ask the scheduler to stop tasks; reply for each whether its future is cancelled."""
        self._resolve()
        waiter = Waiter(self.context.defer_reply(), message.futures)
        for future in message.futures:
            if future.task_id in self.open:
                self._cancel(future, message, waiter)
            else:  # answered since the caller looked
                if not message.unconfirmed:
                    future.cancel_done()
                waiter.settled()

    def _cancel(self, future: ScalerFuture, message: CancelFutures, waiter: Waiter) -> None:
        task_id = future.task_id
        if future.done() and not message.unconfirmed:
            waiter.settled()  # given up on before; its answer is still on the way
            return
        cancel = self.cancels.get(task_id)
        joined = cancel is not None
        if cancel is None:
            cancel = self.cancels[task_id] = OpenCancel()
        stronger = message.force and (not cancel.force or message.grace_s is not None)
        cancel.force = cancel.force or message.force
        cancel.waiters.append((waiter, message.force))
        if message.timeout_s == 0:
            future.set_cancel_confirmed(CancelOutcome.TIMEOUT)
            self._answer(cancel, future)
            cancel.waiters.clear()
        elif joined:
            self._timers += 1
            key = ("cancel", task_id, self._timers)
            cancel.timers.append(key)
            self.context.start_timer(key, message.timeout_s, CancelDue(task_id))
        if not joined or stronger:
            self._ask(task_id, message.force, message.grace_s, message.timeout_s)

    def _ask(self, task_id: int, force: bool, grace_s: float | None, timeout_s: float) -> None:
        self.context.ask(
            self.scheduler,
            TaskCancel(task_id, force, grace_s),
            then=partial(self._on_cancel_answer, task_id, force, grace_s),
            timeout_s=timeout_s or CANCEL_TIMEOUT_S,
        )

    def _on_cancel_answer(
        self, task_id: int, force: bool, grace_s: float | None, answer: Any
    ) -> None:
        """The scheduler's answer; one that a result has overtaken changes nothing."""
        cancel = self.cancels.get(task_id)
        if isinstance(answer, TaskResult):
            self._take_rows(answer.rows)
        elif isinstance(answer, AskTimeoutError):
            self._give_up_waiting(task_id)
            if task_id in self.open:  # its credit is held until somebody answers for it
                self._ask(task_id, force, grace_s, CANCEL_TIMEOUT_S)
        elif isinstance(answer, ActorsError):
            return  # the scheduler ended: `Terminated` follows
        elif answer.type is not TaskCancelConfirmType.CancelFailed:
            self.on_confirm(answer)
        elif cancel is not None:
            self._refused(task_id, cancel, force)

    @handles(TaskCancelConfirm)
    def on_confirm(self, message: TaskCancelConfirm) -> None:
        """A task has been cancelled, or nobody knows it any more."""
        entry = self.open.pop(message.task_id, None)
        if entry is None:
            return
        self.printed.pop(message.task_id, None)
        future = entry[0]
        self._release(entry[1])
        found = message.type is TaskCancelConfirmType.Canceled
        future.set_cancel_confirmed(CancelOutcome.CANCELED if found else CancelOutcome.NOT_FOUND)
        cancel = self.cancels.pop(message.task_id, None)
        if cancel is not None:
            self._answer(cancel, future)

    def _refused(self, task_id: int, cancel: OpenCancel, force: bool) -> None:
        """It goes on running. Who asked with more force still waits for the other answer."""
        future = self.open[task_id][0]
        refused = [waiter for waiter, forced in cancel.waiters if force or not forced]
        cancel.waiters = [(w, forced) for w, forced in cancel.waiters if forced and not force]
        if force or not cancel.force:
            self._close(self.cancels.pop(task_id))
        future.set_cancel_refused(CancelOutcome.FAILED)
        for waiter in refused:
            waiter.settled()

    def _give_up_waiting(self, task_id: int) -> None:
        """A caller's time is up: the future is cancelled, for all who wait."""
        cancel = self.cancels.get(task_id)
        entry = self.open.get(task_id)
        if cancel is not None and entry is not None:
            entry[0].set_cancel_confirmed(CancelOutcome.TIMEOUT)
            self._answer(cancel, entry[0])
            cancel.waiters.clear()

    @handles(CancelDue)
    def on_cancel_due(self, message: CancelDue) -> None:
        """One of several callers has waited long enough."""
        self._give_up_waiting(message.task_id)

    def _answer(self, cancel: OpenCancel, future: ScalerFuture) -> None:
        """The future is decided: wake who waits for its cancel."""
        self._close(cancel)
        for waiter, _ in cancel.waiters:
            waiter.settled()

    def _close(self, cancel: OpenCancel) -> None:
        for key in cancel.timers:
            self.context.cancel_timer(key)
        cancel.timers.clear()

    # --- batches ----------------------------------------------------------------------------

    def _release(self, size_bytes: int) -> None:
        if not self._released_tasks and not self._resolved:
            self.context.after_turn(self._resolve)
        self._released_tasks += 1
        self._released_bytes += size_bytes

    def _resolve(self) -> None:
        """Resolve what has arrived in this turn: one lock, one release of credit."""
        resolved, self._resolved = self._resolved, []
        if resolved:
            with_callbacks = resolve_rows(resolved)
            if with_callbacks:
                self.surroundings.run_callbacks(with_callbacks)
        tasks, size_bytes = self._released_tasks, self._released_bytes
        self._released_tasks = self._released_bytes = 0
        if tasks:
            self.surroundings.release_credit(tasks, size_bytes)

    # --- the end ----------------------------------------------------------------------------

    @handles(CloseManager)
    def on_close(self, message: CloseManager) -> None:
        """Have the scheduler cancel all; then end what is still open."""
        self.on_submissions(SubmissionsReady())
        reply = self.context.defer_reply()

        def disconnected(answer: Any) -> None:
            outcome = CancelOutcome.CANCELED
            if isinstance(answer, ActorsError):
                outcome = CancelOutcome.TIMEOUT
            self._resolve()
            for task_id in reversed(list(self.open)):
                future, size_bytes = self.open.pop(task_id)
                future.set_cancel_confirmed(outcome)
                self._release(size_bytes)
                cancel = self.cancels.pop(task_id, None)
                if cancel is not None:
                    self._answer(cancel, future)
            self._resolve()
            reply.send(None)
            self.context.stop()

        self.context.ask(
            self.scheduler,
            ClientDisconnect(self.client, message.grace_s),
            then=disconnected,
            timeout_s=CLOSE_TIMEOUT_S,
        )

    @handles(Terminated)
    def on_terminated(self, message: Terminated) -> None:
        """The scheduler has ended without being asked to."""
        self._break(ClusterBrokenError(f"the scheduler has ended: {message.cause}"))

    @handles(BreakManager)
    def on_break(self, message: BreakManager) -> None:
        """The cluster is broken."""
        self._break(message.error)

    def on_stop(self) -> None:
        """Leave no future open."""
        self._break(ClusterBrokenError("the cluster has ended"))

    def _break(self, error: Exception) -> None:
        """End every open future with `error`."""
        self.on_submissions(SubmissionsReady())
        self._resolve()
        for task_id in list(self.open):
            future, size_bytes = self.open.pop(task_id)
            future.set_error(error)
            self._release(size_bytes)
            cancel = self.cancels.pop(task_id, None)
            if cancel is not None:
                self._answer(cancel, future)
        self._resolve()
