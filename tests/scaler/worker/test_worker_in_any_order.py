"""Whatever happens in whatever order: each task is answered once, and truthfully."""

from __future__ import annotations

from random import Random

import pytest

from actors.testkit import PendingReply
from scaler.protocol.tasks import RowStatus, TaskCancelConfirm, TaskResult, TaskReturned
from scaler.protocol.timeouts import Limit, unpack_timeout
from tests.scaler.worker.fake_executor import FakeExecutor
from tests.scaler.worker.slot import CANCELED, FAILED, NOT_FOUND, Slot

SEEDS = 200
STEPS = 150
SLACK_S = 1e-6
LATE_S = 0.012
"""Who runs is looked at every 10 ms while others are there."""


class Chaos:
    """A slot whose tasks, callers, executors and clock do what a seed says.

    Attributes:
        timeout_s: of each task that has one.
        deadline_s: the same, on the clock.
        began_s: when each task began.
        ran_in: the executor in which it did.
        gone: numbers of executors that have exited.
        cancels: those that are not answered yet.
        answers: the last word on each task.
    """

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.max_tasks = random.choice((None, None, 1, 3))
        self.slot = Slot(
            up=False,
            grace_s=random.choice((0, 0.2, 1.0)),
            max_tasks=self.max_tasks,
            max_memory_bytes=random.choice((None, 1_000)),
        )
        self.timeout_s: dict[int, float] = {}
        self.deadline_s: dict[int, float] = {}
        self.began_s: dict[int, float] = {}
        self.ran_in: dict[int, FakeExecutor] = {}
        self.gone: dict[int, None] = {}
        self.cancels: list[tuple[int, PendingReply]] = []
        self.answers: dict[int, str] = {}
        self.seen = 0
        self.last = 0

    # --- what may happen --------------------------------------------------------------------

    def submit(self) -> None:
        random = self.random
        first, self.last = self.last + 1, self.last + random.randint(1, 4)
        timeout_s = random.choice((None, None, 0.02, 0.3))
        left_s = random.choice((None, None, 0.0, 0.05, 0.5))
        task_ids = range(first, self.last + 1)
        for task_id in task_ids:
            if timeout_s is not None:
                self.timeout_s[task_id] = timeout_s
            if left_s is not None:
                self.deadline_s[task_id] = self.slot.clock.now() + left_s
        expected_us = random.choice((1_000, 100_000))
        self.slot.run(*task_ids, timeout_s=timeout_s, left_s=left_s, expected_us=expected_us)

    def cancel(self) -> None:
        if self.last:
            task_id = self.random.randint(max(1, self.last - 6), self.last)
            grace_s = self.random.choice((None, None, 0, 0.1))
            force = self.random.random() < 0.7
            self.cancels.append((task_id, self.slot.cancel(task_id, force=force, grace_s=grace_s)))

    def wait(self) -> None:
        self.slot.kit.advance(self.random.choice((0.001, 0.01, 0.05, 0.3)))

    def step(self) -> None:
        """The executor takes a step of its own."""
        executor = self.slot.executor
        if executor.number in self.gone:
            return
        if not self.slot.kit.actor.pid:
            executor.up()
        elif executor.page:
            self.go_on(executor)
        elif executor.claimed or executor.waiting:
            self.begin(executor)

    def begin(self, executor: FakeExecutor) -> None:
        if not executor.claimed and self.random.random() < 0.3:
            executor.claim()
            return
        task_id = executor.tasks[executor.begin()].task_id
        assert task_id not in self.answers, "it was answered, and begins"
        self.began_s[task_id] = self.slot.clock.now()
        self.ran_in[task_id] = executor

    def go_on(self, executor: FakeExecutor) -> None:
        if executor.undelivered and executor.undelivered[-1].unclean:
            executor.deliver()  # it waits for its end
        elif executor.interrupts and executor.interrupts[-1] == executor.page:
            executor.answer_interrupt()
            if self.random.random() < 0.6:
                executor.finish(RowStatus.INTERRUPTED, b"", unclean=self.random.random() < 0.3)
        else:
            executor.finish(self.random.choice((RowStatus.SUCCEEDED, RowStatus.FAILED)))

    def deliver(self) -> None:
        if self.slot.executor.number not in self.gone:
            self.slot.executor.deliver()

    def grow(self) -> None:
        self.slot.executor.rss = self.random.choice((0, 900, 2_000))

    def die(self) -> None:
        executor = self.slot.executor
        if executor.number not in self.gone and (executor.kills or self.random.random() < 0.1):
            self.gone[executor.number] = None
            executor.exit(blameless=self.random.random() < 0.2)

    # --- what must hold ---------------------------------------------------------------------

    def check(self) -> None:
        """Read what was told since the last time."""
        told, self.seen = self.slot.told[self.seen :], len(self.slot.told)
        for message in told:
            if isinstance(message, TaskReturned):
                for task_id in message.task_ids:
                    assert task_id not in self.began_s, "it has begun, and was returned"
                    self.answer(task_id, "returned")
            elif isinstance(message, TaskResult):
                for row in message.rows:
                    self.check_row(row.task_id, row.status, row.payload)
                    self.answer(row.task_id, row.status.name)
        left = [(task_id, reply) for task_id, reply in self.cancels if reply.replied]
        self.cancels = [(task_id, reply) for task_id, reply in self.cancels if not reply.replied]
        for task_id, reply in left:
            self.check_reply(task_id, reply.reply)
        begun = [executor for executor in self.ran_in.values() if executor is self.slot.executor]
        assert self.max_tasks is None or len(begun) <= self.max_tasks
        self.check_limits()

    def check_limits(self) -> None:
        """What is over a limit is being stopped."""
        executor, now_s = self.slot.executor, self.slot.clock.now()
        if executor.kills or executor.number in self.gone:
            return
        running = executor.tasks[executor.page].task_id if executor.page else 0
        for ordinal in executor.waiting:
            task_id = executor.tasks[ordinal].task_id
            assert now_s < self.deadline_s.get(task_id, now_s) + LATE_S
        if running and running not in self.answers:
            limit_s = self.began_s[running] + self.timeout_s.get(running, now_s)
            is_late = now_s > min(limit_s, self.deadline_s.get(running, now_s)) + LATE_S
            assert not is_late or executor.page in self.slot.kit.actor.cancels.orders

    def check_row(self, task_id: int, status: RowStatus, payload: bytes) -> None:
        now_s = self.slot.clock.now()
        if status is RowStatus.TIMED_OUT:
            if unpack_timeout(payload)[0] is Limit.DEADLINE:
                assert now_s >= self.deadline_s[task_id] - SLACK_S
            else:
                limit_s = self.began_s[task_id] + self.timeout_s[task_id]
                assert now_s >= limit_s - SLACK_S
            self.check_stopped(task_id)
        elif status in (RowStatus.WORKER_DIED, RowStatus.LOST):
            executor = self.ran_in[task_id]
            assert executor.number in self.gone
            assert executor.tasks[executor.page].task_id == task_id, "it was not running"
            if status is RowStatus.WORKER_DIED and executor.kills:
                assert b"its memory of" in payload, "an innocent was killed"
        else:
            assert status in (RowStatus.SUCCEEDED, RowStatus.FAILED)

    def check_reply(self, task_id: int, reply: object) -> None:
        if isinstance(reply, TaskResult):
            self.answer(task_id, "result", again=True)
            return
        assert isinstance(reply, TaskCancelConfirm)
        if reply.type is CANCELED:
            self.check_stopped(task_id)
            self.answer(task_id, "canceled", again=True)
        elif reply.type is NOT_FOUND:
            assert task_id in self.answers
        else:
            assert reply.type is FAILED

    def check_stopped(self, task_id: int) -> None:
        """Nothing of it runs any more."""
        executor = self.ran_in.get(task_id)
        if executor is not None and executor.number not in self.gone:
            assert not executor.page or executor.tasks[executor.page].task_id != task_id

    def answer(self, task_id: int, how: str, *, again: bool = False) -> None:
        assert task_id not in self.answers or (again and self.answers[task_id] == how)
        self.answers[task_id] = how

    # --- the end ----------------------------------------------------------------------------

    def run(self) -> None:
        deeds = (self.submit, self.cancel, self.wait, self.grow, self.die, self.deliver)
        weights = (3, 3, 3, 1, 2, 3)
        for _ in range(STEPS):
            deed = self.random.choices((*deeds, self.step), (*weights, 12))[0]
            deed()
            self.check()
        for _ in range(40 * self.last):
            if len(self.answers) == self.last and not self.cancels:
                break
            self.step()
            self.deliver()
            if self.slot.executor.kills:
                self.die()
            self.slot.kit.advance(0.02)
            self.check()
        assert sorted(self.answers) == list(range(1, self.last + 1))
        assert self.cancels == []


@pytest.mark.parametrize("block", range(2))
def test_each_task_is_answered_once_and_truthfully(block):
    for seed in range(block * SEEDS // 2, (block + 1) * SEEDS // 2):
        try:
            Chaos(seed).run()
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
