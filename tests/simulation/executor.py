"""What a worker sees of the model of an executor: an `ExecutorPort`.

The page and the claim pipe are exact at each moment, as with the real one; the process behind them
goes on by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from scaler.limits import PREFETCH_TASKS
from scaler.protocol.tasks import Function, Task
from tests.simulation.process import SimProcess, Stage


class SimExecutor(SimProcess):
    """An `ExecutorPort` whose process is a model."""

    def send(
        self,
        ordinals: Sequence[int],
        tasks: Sequence[Task],
        functions: Sequence[Function] = (),
        dropped: Sequence[int] = (),
        forgotten: Sequence[bytes] = (),
    ) -> None:
        if self.stage is Stage.DEAD and not self.is_vain:
            self._truth.died_in_vain(self)
        self._functions.update((function.function_id, None) for function in functions)
        for ordinal, task in zip(ordinals, tasks, strict=True):
            if ordinal <= self._last_ordinal:
                self._truth.fail("order", f"ordinal {ordinal} of {self.worker} was used before")
            if task.function_id not in self._functions:
                self._truth.fail("functions", f"{task.task_id} was sent before its function")
            self._last_ordinal = ordinal
            self._bodies[ordinal] = self.objects.sent(ordinal, task)
        if len(self._bodies) > PREFETCH_TASKS:
            self._truth.fail("capacity", f"{len(self._bodies)} tasks wait at {self}")
        for function_id in forgotten:
            self._functions.pop(function_id, None)
        self._wake()

    def _tell_freed(self) -> None:
        self.objects.told()
        self._wake()

    def _wake(self) -> None:
        if self.stage is Stage.IDLE and self._step is None:
            self._after(self._delay_s(), self._claim)

    def take_back(self, ordinals: Sequence[int]) -> tuple[int, ...]:
        if self.is_closed:
            return ()
        bodies = self._bodies
        taken = tuple([ordinal for ordinal in ordinals if bodies.pop(ordinal, None) is not None])
        return self.objects.port.taken_back(taken)

    def running(self) -> int:
        return 0 if self.is_closed else self._running

    def running_for(self) -> float:
        if self.is_closed or self._ended == self._running:
            return 0.0
        return self._host.clock() - self._started_s

    def item(self) -> int:
        if self.is_closed or self._run is None:
            return 0
        plan = self._run.plan
        share = (self._host.clock() - self._started_s) / max(plan.run_s, 1e-9)
        return min(int(plan.items * share), max(plan.items - 1, 0))

    def rss_bytes(self) -> int:
        return 0 if self.is_closed or self.stage is Stage.DEAD else self._rss_bytes()

    def answered(self) -> int:
        return 0 if self.is_closed else self._answered

    def interrupt(self, ordinal: int) -> None:
        if self.stage is not Stage.DEAD and not self.is_closed:
            self._wish = ordinal
            self._sim.after(self._delay_s(), self._signal)

    def kill(self) -> None:
        if self.stage is Stage.DEAD or self._doom is not None:
            return
        self._doom = self._truth.kill_wanted(
            self._run, self.rss_bytes(), told=self._wish == self._running
        )
        self._sim.after(self._host.kill_delay_s(), self._killed)

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.objects.port.close()
