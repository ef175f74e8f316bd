"""A future manager in a harness, the client around it, and the scheduler's inbox."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from actors.testkit import ActorHarness, Asked, InboxRef, PendingReply
from scaler.client.cancels import CancelFutures
from scaler.client.future import CancelOutcome, ScalerFuture
from scaler.client.future_manager import ClientFutureManager
from scaler.client.submissions import Submission, Submissions, SubmissionsReady
from scaler.limits import CANCEL_TIMEOUT_S
from scaler.objects.store import ObjectStore
from scaler.protocol.tasks import (
    CLIENT_SHIFT,
    ClientConnect,
    ClientConnected,
    Function,
    RowStatus,
    Task,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskDrop,
    TaskDropped,
    TaskOutput,
    TaskResult,
    TaskRow,
)
from tests.no_memory import NoFile

CANCELED = TaskCancelConfirmType.Canceled
NOT_FOUND = TaskCancelConfirmType.CancelNotFound
FAILED = TaskCancelConfirmType.CancelFailed

CLIENT = 3
PAYLOAD = b"arguments"


def row_of(
    future: ScalerFuture, value: object = None, status: RowStatus = RowStatus.SUCCEEDED
) -> TaskRow:
    """Return the row of a future's task, ended with `value`."""
    return TaskRow(
        ordinal=1,
        task_id=future.task_id,
        status=status,
        payload=b"" if status is RowStatus.INTERRUPTED else pickle.dumps(value),
        started_s=1.0,
        ended_s=2.0,
        cpu_s=0.0,
        rss_bytes=0,
        worker="worker-1",
        pid=1,
        attempt=1,
    )


class Office:
    """The manager's surroundings, and what a test does to it. Nothing here waits."""

    def __init__(self, *, cancel_finished: bool = True, connected: bool = True) -> None:
        self.cancel_finished = cancel_finished
        self.objects = ObjectStore(NoFile())
        self.submissions = Submissions()
        self.open: dict[int, tuple[ScalerFuture, int]] = {}
        self.released_tasks = 0
        self.released_bytes = 0
        self.called_back: list[ScalerFuture] = []
        self.shown: list[TaskOutput] = []
        self.after: list[Callable[[], None]] = []
        self.broken_off: list[Exception] = []
        self.submitted = 0
        self.scheduler = InboxRef("scheduler")
        self.kit = ActorHarness(ClientFutureManager, CLIENT, self.scheduler, self)
        if connected:
            self.kit.take_asked(ClientConnect).answer(ClientConnected(True))

    # --- what the manager needs -------------------------------------------------------------

    def release_credit(self, tasks: int, size_bytes: int) -> None:
        self.released_tasks += tasks
        self.released_bytes += size_bytes

    def run_callbacks(self, futures: list[ScalerFuture]) -> None:
        self.called_back += futures

    def show(self, future: ScalerFuture, output: TaskOutput) -> None:
        assert future.task_id == output.task_id
        self.shown.append(output)

    def after_shown(self, then: Callable[[], None]) -> None:
        self.after.append(then)

    def break_off(self, error: Exception) -> None:
        self.broken_off.append(error)

    def drop(self, *futures: ScalerFuture) -> None:
        """Answer what asks to drop a batch: these were queued."""
        self.kit.take_asked(TaskDrop).answer(TaskDropped(tuple(f.task_id for f in futures)))

    # --- what futures need ------------------------------------------------------------------

    def cancel(self, *arguments: Any) -> bool:
        raise NotImplementedError

    async def acancel(self, *arguments: Any) -> bool:
        raise NotImplementedError

    def cancel_soon(self, *arguments: Any) -> None:
        raise NotImplementedError

    def call_back(self, future: ScalerFuture) -> None:
        self.called_back.append(future)

    def check_may_wait(self) -> None:
        """Nobody waits here for what is not there."""

    # --- what a test does -------------------------------------------------------------------

    def put(self, *needs: ScalerFuture) -> ScalerFuture:
        """Leave a task where callers' threads leave them, without a word to the manager."""
        self.submitted += 1
        task_id = CLIENT << CLIENT_SHIFT | self.submitted
        future: ScalerFuture = ScalerFuture(task_id, self)
        future.add_done_callback(lambda _: None)
        function = Function(b"f", b"blob", "module.f")
        task = Task(task_id, b"f", PAYLOAD, needs=tuple(need.task_id for need in needs))
        submission = Submission(future, function, task, needs)
        self.submissions.waiting.append(submission)
        return future

    def submit(self, count: int = 1) -> list[ScalerFuture]:
        """Submit tasks, all in one message."""
        futures = [self.put() for _ in range(count)]
        self.kit.tell(SubmissionsReady())
        return futures

    def ask_cancel(
        self,
        *futures: ScalerFuture,
        force: bool = True,
        timeout_s: float = CANCEL_TIMEOUT_S,
        grace_s: float | None = None,
        unconfirmed: bool = False,
    ) -> PendingReply:
        """Cancel, as a caller's thread does; the reply is what it waits for."""
        if unconfirmed:
            for future in futures:
                future.set_cancel_confirmed(CancelOutcome.UNCONFIRMED)
        message = CancelFutures(futures, force, timeout_s, grace_s, unconfirmed)
        return self.kit.ask(message, timeout_s=1_000.0)

    def asked(self, future: ScalerFuture) -> Asked:
        """Take the oldest request that went to the scheduler; it must be of this future."""
        asked = self.kit.take_asked(TaskCancel)
        assert asked.message.task_id == future.task_id
        return asked

    def confirm(self, future: ScalerFuture, kind: TaskCancelConfirmType = CANCELED) -> None:
        """Let the scheduler answer the oldest request with a confirm."""
        self.asked(future).answer(TaskCancelConfirm(future.task_id, kind))

    def cross(self, future: ScalerFuture, value: object = None) -> TaskRow:
        """Let the scheduler answer the oldest request with the result that was faster."""
        row = row_of(future, value)
        self.asked(future).answer(TaskResult((row,)))
        return row

    def end(self, *rows: TaskRow) -> None:
        """Have the scheduler tell that attempts ended."""
        self.kit.tell(TaskResult(rows))

    def print(self, future: ScalerFuture, text: str = "hello\n") -> None:
        """Have a task print."""
        self.kit.tell(TaskOutput(future.task_id, "stdout", text))

    def is_at_rest(self) -> bool:
        """Whether nothing is open and all credit is back."""
        manager = self.kit.actor
        left = (self.open, manager.cancels._open, manager.printed, self.kit.timers)
        credit = (self.submitted, self.submitted * len(PAYLOAD))
        return not any(left) and (self.released_tasks, self.released_bytes) == credit
