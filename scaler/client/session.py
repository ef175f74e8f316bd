"""`ClientSession`: what all views of one client share, and what its futures need."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from actors import ActorRef, ActorsError, WouldDeadlockError
from scaler.client.callbacks import CallbackThread
from scaler.client.cancels import CancelFutures, give_up
from scaler.client.chunking import ItemTimes
from scaler.client.credit import Credit
from scaler.client.future import ScalerFuture
from scaler.client.future_manager import ClientFutureManager, CloseManager
from scaler.client.inputs import Arguments, given_inputs
from scaler.client.notebook import future_factory
from scaler.client.object_reference import ReferenceTable
from scaler.client.output import OutputThread
from scaler.client.references import references
from scaler.client.submissions import Submission, Submissions
from scaler.errors import ClientClosedError, ForkedClientError
from scaler.limits import CANCEL_TIMEOUT_S, CLOSE_GRACE_S, CLOSE_TIMEOUT_S
from scaler.protocol.tasks import CLIENT_SHIFT, Function, Task, TaskOutput, TaskPolicy
from scaler.serialization.functions import FunctionPickler

if TYPE_CHECKING:
    from scaler.client.connection import Connection

_REPLY_MARGIN_S = 10.0
"""A caller waits this much longer than its cancel's timeout for the node's thread to say so."""


class ClientSession:
    """One client's credit, functions, threads and future manager. Thread-safe.

    It is the `Canceller` of its futures and the `Surroundings` of its manager.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        cancel_finished: bool,
        credit_tasks: int,
        credit_bytes: int,
    ) -> None:
        """Connect: spawn the future manager next to the scheduler's node.

        Args:
            connection: the cluster's side.
            cancel_finished: whether cancelling a finished future gives its value up.
            credit_tasks: tasks in flight at most.
            credit_bytes: bytes of pickled arguments in flight at most.
        """
        self._connection: Connection | None = connection
        """`None` once closed: futures live on, and a cluster is dropped when nobody uses it."""
        self.cancel_finished = cancel_finished
        self.number = connection.next_client_number()
        self.objects = connection.objects
        self.functions = FunctionPickler()
        self.item_times = ItemTimes()
        self._new_future = future_factory()
        self.credit = Credit(credit_tasks, credit_bytes)
        self.closed = False
        self.broken: Exception | None = None
        self._pid = os.getpid()
        self._closing = threading.RLock()  # a signal handler may close what is being closed
        self._task_ids = count((self.number << CLIENT_SHIFT) + 1)
        self.references = ReferenceTable(self, self._task_ids)
        self._callbacks = CallbackThread(f"scaler-callbacks-{self.number}")
        self._output = OutputThread(f"scaler-output-{self.number}")
        self.submissions = Submissions()
        self.open: dict[int, tuple[ScalerFuture, int]] = {}
        """The manager's table of open futures; here too for the day the node's thread ends."""
        self.manager: ActorRef = connection.spawn(
            ClientFutureManager,
            self.number,
            connection.scheduler,
            self,
            name=f"future-manager-{self.number}",
        )
        connection.attach(self)

    # --- submit -----------------------------------------------------------------------------

    def prepare(
        self,
        function: Function,
        arguments: Arguments,
        policy: TaskPolicy | None = None,
        chunked: bool = False,
    ) -> Submission:
        """Make a task and its future. Nothing is sent yet."""
        task_id, function_id = next(self._task_ids), function.function_id
        future = self._new_future(task_id, self, time.monotonic())
        future.name = function.name
        payload, objects, needs = arguments
        needed, inputs, unknown = given_inputs(needs, self) if needs else ((), (), ())
        task = Task(task_id, function_id, payload, chunked, 1, policy, needed, inputs, objects)
        return Submission(future, function, task, unknown)

    def submit(self, submission: Submission, *, block: bool) -> ScalerFuture:
        """Send one task; waits for credit, or raises what `Credit.acquire` does."""
        waiting = self.submissions.waiting
        self.credit.acquire(1, len(submission.task.payload), block)
        waiting += (submission,)  # no call in between: Ctrl-C, which comes with one, would cost it
        return self._sent(submission.future)

    async def asubmit(self, submission: Submission) -> ScalerFuture:
        """Do what `submit` does, and let the event loop run meanwhile."""
        await self.credit.wait_async(1, len(submission.task.payload))
        self.submissions.waiting.append(submission)
        return self._sent(submission.future)

    def _sent(self, future: ScalerFuture) -> ScalerFuture:
        self.submissions.announce(self.manager)
        if self.closed:  # it was closed meanwhile: nobody takes this any more
            future.set_error(self.broken or ClientClosedError("the client was closed"))
        return future

    def check_usable(self) -> None:
        """Raise what stands in the way of using this client, if anything does."""
        self._check_process()
        if self.broken is not None:
            raise self.broken
        if self.closed:
            raise ClientClosedError("the client was closed; make a new one")

    # --- what futures need (`Canceller`) ----------------------------------------------------

    def cancel(
        self, future: ScalerFuture, force: bool, timeout_s: float, grace_s: float | None
    ) -> bool:
        """Ask for a cancel and wait for its answer; whether the future is cancelled now."""
        return self.cancel_many((future,), force, timeout_s, grace_s)[0]

    def cancel_many(
        self, futures: Sequence[ScalerFuture], force: bool, timeout_s: float, grace_s: float | None
    ) -> list[bool]:
        """Cancel open futures of this client, the newest first; wait until each is decided."""
        self.check_may_wait()
        answer = self._ask_cancel(futures, force, timeout_s, grace_s)
        if answer is not None:
            try:
                answer.result(timeout_s + _REPLY_MARGIN_S)
            except (ActorsError, TimeoutError):
                give_up(futures, force)
        return [future.cancelled() for future in futures]

    async def acancel(
        self, future: ScalerFuture, force: bool, timeout_s: float, grace_s: float | None
    ) -> bool:
        """Do what `cancel` does without blocking the loop."""
        import asyncio  # 25 ms, and who awaits has it

        answer = self._ask_cancel((future,), force, timeout_s, grace_s)
        if answer is not None:
            try:
                await asyncio.wait_for(asyncio.wrap_future(answer), timeout_s + _REPLY_MARGIN_S)
            except (ActorsError, TimeoutError):
                give_up((future,), force)
        return future.cancelled()

    def cancel_soon(self, future: ScalerFuture, force: bool, grace_s: float | None) -> None:
        """Send a cancel and do not wait."""
        if not self.closed:
            self.manager.tell(
                CancelFutures((future,), force, CANCEL_TIMEOUT_S, _float(grace_s), True)
            )

    def call_back(self, future: ScalerFuture) -> None:
        """Have the callbacks of a future that is done called."""
        self._callbacks.call((future,))

    def check_may_wait(self) -> None:
        """Raise if this thread or process must not wait for an answer.

        Raises:
            WouldDeadlockError: this is the node's thread, which would have to deliver it.
            ForkedClientError: this is a fork of the client's process.
        """
        self._check_process()
        connection = self._connection
        if connection is not None and connection.on_node_thread():
            raise WouldDeadlockError(
                "this is the cluster's own thread, which delivers all answers: it cannot wait"
            )

    def _ask_cancel(
        self, futures: Sequence[ScalerFuture], force: bool, timeout_s: float, grace_s: float | None
    ) -> Any:
        if self.closed:
            return None
        newest_first = tuple(sorted(futures, key=lambda future: -future.task_id))
        request = CancelFutures(newest_first, force, timeout_s, _float(grace_s))
        try:
            return self.manager.ask(request, timeout_s + _REPLY_MARGIN_S)
        except ActorsError:
            give_up(futures, force)  # the cluster was closed under us
            return None

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedClientError(
                f"process {os.getpid()} is a fork of {self._pid}, which owns this client; "
                "make a client of its own here"
            )

    # --- what the manager needs (`Surroundings`) --------------------------------------------

    def release_credit(self, tasks: int, size_bytes: int) -> None:
        """Give credit back."""
        self.credit.release(tasks, size_bytes)

    def run_callbacks(self, futures: list[ScalerFuture]) -> None:
        """Have the callbacks of these futures called."""
        self._callbacks.call(futures)

    def show(self, future: ScalerFuture, output: TaskOutput) -> None:
        """Show what a task printed."""
        self._output.show(future, output)

    def after_shown(self, then: Callable[[], Any]) -> None:
        """Call `then` when all shown so far has been written."""
        self._output.after(then)

    # --- the end ----------------------------------------------------------------------------

    def close(self) -> None:
        """Cancel all tasks, wait for the confirms (bounded), end the threads. Twice is fine."""
        if os.getpid() != self._pid:
            return
        with self._closing:
            self.credit.close()
            if not self.closed:
                self._close_manager()
            self.closed = True
            self.references.end_all("its client was closed")
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.detach(self)
            self._end_open(ClientClosedError("the client was closed"))
            self._output.close(CLOSE_TIMEOUT_S)
            self._callbacks.close(CLOSE_TIMEOUT_S)

    def _close_manager(self) -> None:
        try:
            closing = self.manager.ask(CloseManager(CLOSE_GRACE_S), 2 * CLOSE_TIMEOUT_S)
            closing.result(3 * CLOSE_TIMEOUT_S)
        except (ActorsError, TimeoutError):
            self._end_open(ClientClosedError("the client was closed"))

    def is_awaited(self) -> bool:
        """Whether somebody else holds an open future, or wants to be told of it.

        For the node's thread, which alone moves futures about.
        """
        return bool(self.submissions) or any(
            entry[0]._done_callbacks or references(entry, 0) > 1 for entry in self.open.values()
        )

    def client_dropped(self, end: Callable[[], None]) -> None:
        """Nobody holds the client any more, and it was not closed: have `end` called in time.

        For finalizers: it takes no lock and waits for nothing.
        """
        connection = self._connection
        if connection is not None and os.getpid() == self._pid:
            connection.client_dropped(self, end)

    def break_off(self, error: Exception) -> None:
        """Nobody answers any more: every open future ends with `error`, and those to come."""
        self.broken = self.broken or error
        self.closed = True
        self.credit.close()
        self._end_open(error)

    def _end_open(self, error: Exception) -> None:
        for future, _ in list(self.open.values()):
            future.set_error(error)
        for submission in self.submissions.take_all():
            submission.future.set_error(error)


def _float(grace_s: float | None) -> float | None:
    """What the scheduler calculates with: users have numbers of many kinds."""
    return None if grace_s is None else float(grace_s)
