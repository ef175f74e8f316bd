"""A worker in a harness, and the executors it starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors import LocalMessage
from actors.testkit import ActorHarness, InboxRef, ManualClock, PendingReply
from scaler.protocol.tasks import (
    Function,
    RowStatus,
    Task,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskPolicy,
    TaskResult,
    TaskReturned,
    TaskRow,
    TaskRun,
)
from scaler.protocol.timeouts import unpack_timeout
from scaler.worker.options import WorkerOptions
from scaler.worker.worker import Worker
from tests.scaler.worker.fake_executor import FakeExecutor

CANCELED = TaskCancelConfirmType.Canceled
NOT_FOUND = TaskCancelConfirmType.CancelNotFound
FAILED = TaskCancelConfirmType.CancelFailed

GRACE_S = 1.0


class Slot:
    """A worker, its scheduler's inbox, and the executors it has started."""

    def __init__(
        self,
        *,
        up: bool = True,
        grace_s: float = GRACE_S,
        max_tasks: int | None = None,
        max_memory_bytes: int | None = None,
    ) -> None:
        self.clock = ManualClock()
        self.scheduler = InboxRef("scheduler")
        self.executors: list[FakeExecutor] = []
        self.launch_error: Exception | None = None
        options = WorkerOptions(grace_s, max_tasks, max_memory_bytes)
        self.kit = ActorHarness(
            Worker, "worker-1", self.scheduler, self._make, options, clock=self.clock
        )
        if up:
            self.executor.up()
            self.kit.clear()

    def _make(self, number: int, worker: str, tell: Callable[[LocalMessage], None]) -> FakeExecutor:
        if self.launch_error is not None:
            raise self.launch_error
        self.executors.append(FakeExecutor(number, worker, tell, self.clock.now))
        return self.executors[-1]

    @property
    def executor(self) -> FakeExecutor:
        return self.executors[-1]

    @property
    def told(self) -> list[Any]:
        return self.kit.messages_to(self.scheduler)

    def run(
        self,
        *task_ids: int,
        expected_us: int = 1_000,
        function_id: bytes = b"f",
        attempt: int = 1,
        timeout_s: float | None = None,
        left_s: float | None = None,
    ) -> None:
        """Send tasks, all in one message, with the same timeout and deadline."""
        function = Function(function_id, b"blob", "module.f")
        policy = None if timeout_s is None else TaskPolicy(timeout_s=timeout_s)
        tasks = tuple(
            Task(task_id, function_id, b"", attempt=attempt, policy=policy) for task_id in task_ids
        )
        left = () if left_s is None else tuple((task_id, left_s) for task_id in task_ids)
        self.kit.tell(TaskRun((function,), tasks, (expected_us,) * len(tasks), left))

    def cancel(
        self, task_id: int, *, force: bool = True, grace_s: float | None = None
    ) -> PendingReply:
        return self.kit.ask(TaskCancel(task_id, force, grace_s), sender=self.scheduler)

    def rows(self) -> list[TaskRow]:
        return [
            row for message in self.told if isinstance(message, TaskResult) for row in message.rows
        ]

    def timed_out(self) -> list[tuple[int, str, str]]:
        """Id, limit and end of each task that was stopped at one."""
        rows = [row for row in self.rows() if row.status is RowStatus.TIMED_OUT]
        return [(row.task_id, *unpack_timeout(row.payload)) for row in rows]

    def returned(self) -> list[int]:
        """Ids of the tasks given back."""
        given = [message for message in self.told if isinstance(message, TaskReturned)]
        return [task_id for message in given for task_id in message.task_ids]

    def is_at_rest(self) -> bool:
        """Whether nothing is left of any task."""
        worker = self.kit.actor
        ledger = worker.ledger
        left = (ledger.sent, ledger.ordinals, worker.held, worker.cancels.orders)
        return not any(left) and not self.kit.timers


def confirm(task_id: int, kind: TaskCancelConfirmType) -> TaskCancelConfirm:
    return TaskCancelConfirm(task_id, kind)
