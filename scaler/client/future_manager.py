"""`ClientFutureManager`: the actor that resolves a client's futures.

It owns the table of open futures. Callers' threads give it tasks and cancels; the scheduler's
answers come back to it, and it decides what each future becomes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

import msgspec

from actors import Actor, ActorRef, ActorsError, LocalMessage, Terminated, handles
from scaler.client.cancels import CancelDue, CancelFutures, Cancels, Waiter
from scaler.client.future import CancelOutcome, ScalerFuture, cancel_all, resolve_rows
from scaler.client.inputs import Inputs
from scaler.client.submissions import Submissions, SubmissionsReady
from scaler.errors import ClusterBrokenError
from scaler.limits import CLOSE_TIMEOUT_S
from scaler.protocol.tasks import (
    ClientConnect,
    ClientDisconnect,
    Remains,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskDrop,
    TaskDropped,
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

    def break_off(self, error: Exception) -> None:
        """The manager has ended without being asked to: nobody takes tasks any more."""


class CloseManager(LocalMessage, frozen=True):
    """Asked: cancel all, end the table, stop. Reply when nothing is open any more."""

    grace_s: float


class BreakManager(LocalMessage, frozen=True):
    """The cluster is broken: end every open future with this error."""

    error: Exception


class OutputShown(LocalMessage, frozen=True):
    """What these attempts printed has been written: their futures may resolve."""

    rows: tuple[TaskRow, ...]

    def remains(self) -> Remains:
        """Keep no results."""
        return Remains("OutputShown", tuple([row.task_id for row in self.rows]))


class ClientFutureManager(Actor):
    """Submits tasks, asks for cancels, resolves futures in batches."""

    def __init__(self, client: int, scheduler: ActorRef, surroundings: Surroundings) -> None:
        """Make the manager of client number `client`."""
        self.client = client
        self.scheduler = scheduler
        self.surroundings = surroundings
        self.open = surroundings.open
        """Future and size in bytes of every task that the scheduler has not answered for."""
        self.cancels = Cancels(self)
        self.inputs = Inputs(self)
        self.printed: dict[int, TaskRow | None] = {}
        """Open tasks that have printed, with the row that waits until that is shown."""
        self.broken: Exception | None = None
        """Why the cluster serves nobody any more."""
        self.leaving = False
        """The client was closed."""
        self._resolved: list[tuple[ScalerFuture, TaskRow]] = []
        self._released_tasks = self._released_bytes = 0

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
        functions, tasks = {}, []
        for submission in submissions:
            task = submission.task
            self.open[task.task_id] = (submission.future, len(task.payload))
            functions[task.function_id] = submission.function
            tasks.append(task)
        if self.broken is not None:
            self._break(self.broken)
            return
        self.context.tell(self.scheduler, TaskSubmit(tuple(functions.values()), tuple(tasks)))
        self.inputs.await_for(submissions)

    # --- results ----------------------------------------------------------------------------

    @handles(TaskResult)
    def on_result(self, message: TaskResult) -> None:
        """Resolve the futures of attempts that ended."""
        self.take_rows(message.rows)

    def take_rows(self, rows: Iterable[TaskRow]) -> None:
        """Resolve futures, but for those whose output is still to be shown."""
        waiting: list[TaskRow] = []
        for row in rows:
            if row.task_id in self.printed:
                self.printed[row.task_id] = row
                waiting.append(row)
                continue
            entry = self.open.pop(row.task_id, None)
            if entry is None:
                continue  # its future was resolved by an answer to a cancel
            self._release(entry[1])
            if not self.cancels.cross(entry[0], row):
                self._resolved.append((entry[0], row))
        if waiting:
            held = OutputShown(tuple(waiting))
            self.surroundings.after_shown(partial(self.context.self_ref.tell, held))

    @handles(OutputShown)
    def on_output_shown(self, message: OutputShown) -> None:
        """The output is out: now the futures."""
        for row in message.rows:
            self.printed.pop(row.task_id, None)
        self.take_rows(message.rows)

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
        self.on_submissions(SubmissionsReady())  # one thread's may be overtaken by another's cancel
        self.resolve()
        futures = dict.fromkeys(message.futures)
        waiter = Waiter(self.context.defer_reply(), futures)
        task_ids = tuple([f.task_id for f in futures if f.task_id in self.open])
        if len(task_ids) > 1 and message.timeout_s:
            due_s = self.context.now() + message.timeout_s
            then = partial(self._on_dropped, futures, message, waiter, due_s)
            self.context.ask(self.scheduler, TaskDrop(task_ids), then, message.timeout_s)
        else:
            self._cancel_each(futures, message, waiter)

    def _on_dropped(
        self,
        rest: dict[ScalerFuture, None],
        message: CancelFutures,
        waiter: Waiter,
        due_s: float,
        answer: Any,
    ) -> None:
        """What was queued of a batch is gone; each of the rest is cancelled in the time left."""
        self.resolve()  # what has arrived in this turn is done, and can be given up
        dropped = []
        for task_id in answer.task_ids if isinstance(answer, TaskDropped) else ():
            entry = self.open.pop(task_id, None)
            if entry is not None:
                self.printed.pop(task_id, None)  # in an attempt that was lost
                self._release(entry[1])
                dropped.append(entry[0])
                del rest[entry[0]]
        self.surroundings.run_callbacks(cancel_all(dropped, CancelOutcome.CANCELED))
        for future in dropped:
            self.cancels.settle(future.task_id)
            waiter.settled()
        left_s = max(0.0, due_s - self.context.now())
        self._cancel_each(rest, msgspec.structs.replace(message, timeout_s=left_s), waiter)

    def _cancel_each(
        self, futures: Iterable[ScalerFuture], message: CancelFutures, waiter: Waiter
    ) -> None:
        for future in futures:
            if future.task_id in self.open:
                self.cancels.request(future, message, waiter)
                continue
            if message.unconfirmed:  # its result was on the way already, and was released
                future.set_cancel_confirmed(CancelOutcome.RESULT)
            else:  # answered since the caller looked
                future.cancel_done()
            waiter.settled()

    @handles(TaskCancelConfirm)
    def on_confirm(self, message: TaskCancelConfirm) -> None:
        """A task has been cancelled, or nobody knows it any more."""
        row = self.printed.pop(message.task_id, None)
        if row is not None:  # it is not known because it has ended: here is its row
            self.take_rows((row,))
            return
        entry = self.open.pop(message.task_id, None)
        if entry is None:
            return
        self._release(entry[1])
        found = message.type is TaskCancelConfirmType.Canceled
        outcome = CancelOutcome.CANCELED if found else CancelOutcome.NOT_FOUND
        entry[0].set_cancel_confirmed(outcome)
        self.cancels.settle(message.task_id)

    @handles(CancelDue)
    def on_cancel_due(self, message: CancelDue) -> None:
        """One of several callers has waited long enough."""
        self.cancels.give_up_waiting(message.task_id)

    # --- batches ----------------------------------------------------------------------------

    def _release(self, size_bytes: int) -> None:
        if not self._released_tasks and not self._resolved:
            self.context.after_turn(self.resolve)
        self._released_tasks += 1
        self._released_bytes += size_bytes

    def resolve(self) -> None:
        """Resolve what has arrived in this turn: one lock, one release of credit."""
        # Credit first: who has seen a result may submit the next task without waiting.
        tasks, size_bytes = self._released_tasks, self._released_bytes
        self._released_tasks = self._released_bytes = 0
        if tasks:
            self.surroundings.release_credit(tasks, size_bytes)
        resolved, self._resolved = self._resolved, []
        if resolved and (with_callbacks := resolve_rows(resolved)):
            self.surroundings.run_callbacks(with_callbacks)

    # --- the end ----------------------------------------------------------------------------

    @handles(CloseManager)
    def on_close(self, message: CloseManager) -> None:
        """Have the scheduler cancel all; then end what is still open."""
        self.leaving = True
        self.on_submissions(SubmissionsReady())
        reply = self.context.defer_reply()

        def disconnected(answer: Any) -> None:
            unanswered = isinstance(answer, ActorsError)
            outcome = CancelOutcome.TIMEOUT if unanswered else CancelOutcome.CANCELED
            self._end_all(lambda future: future.set_cancel_confirmed(outcome))
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
        """Leave no future open, and let go of the client, which refers to this actor."""
        error = self.broken or ClusterBrokenError("the cluster has ended for this client")
        self._break(error)
        if not self.leaving:
            self.surroundings.break_off(error)
        del self.surroundings

    def _break(self, error: Exception) -> None:
        """End every open future with `error`, and those to come."""
        self.broken = self.broken or error
        self.on_submissions(SubmissionsReady())
        self._end_all(lambda future: future.set_error(error))

    def _end_all(self, end: Callable[[ScalerFuture], object]) -> None:
        """End every open future by `end`, the newest first."""
        self.resolve()
        for task_id in reversed(list(self.open)):
            future, size_bytes = self.open.pop(task_id)
            end(future)
            self._release(size_bytes)
            self.cancels.settle(task_id)
        self.resolve()
