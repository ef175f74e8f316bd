"""The model of a host: the launcher of its workers' executors, and how fast things are there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from actors import ActorRef, LaunchError, LocalMessage
from tests.simulation.executor import SimExecutor
from tests.simulation.memory import Memory
from tests.simulation.plans import Options
from tests.simulation.process import SimProcess
from tests.simulation.truth import Truth

if TYPE_CHECKING:
    from actors.testkit.simulation import SimulatedNode, Simulation

_STALL_S = (0.001, 0.02, 0.2)
_READ_S = 0.0001
_RELAUNCH_S = 0.05


class SimHost:
    """Where executors live: one launcher, one node whose thread reads their pipes."""

    def __init__(
        self, sim: Simulation, node: SimulatedNode, options: Options, memory: Memory
    ) -> None:
        self.sim = sim
        self.node = node
        self.options = options
        self.memory = memory
        self.truth: Truth = memory.truth
        self.executors: list[SimExecutor] = []
        """Those that live or are not yet reaped."""
        self.failing: dict[str, int] = {}
        """How many of the next starts fail, by worker."""
        self.refusing: dict[str, int] = {}
        """How many of the next launches do."""
        self.clock = sim.now
        self._pid = 1_000
        self._launcher_since_s = 0.0

    def make(self, number: int, worker: str, tell: Callable[[LocalMessage], None]) -> SimExecutor:
        """Start an executor: the worker's `make_executor`."""
        before = self.truth.alive.get(worker)
        if before is not None and before in self.executors:
            self.truth.fail("capacity", f"{worker} starts an executor beside {before}")
        if self._fails(self.refusing, worker):
            self.truth.marks["an executor was not launched"] += 1
            self.truth.failed_starts[worker] += 1
            raise LaunchError("by plan")
        own: ActorRef = tell.__self__  # type: ignore[attr-defined]
        return self.start(number, worker, partial(self.pass_on, own))

    def pass_on(self, own: ActorRef, event: LocalMessage) -> None:
        """Tell a worker of its executor; from the node's own thread, so not through the network."""
        self.sim.tell(own, event, own)

    def start(self, number: int, worker: str, tell: Callable[[LocalMessage], None]) -> SimExecutor:
        """Start an executor whose events go to `tell`."""
        executor = SimExecutor(self, number, worker, tell)
        self.truth.alive[worker] = executor
        self.executors.append(executor)
        return executor

    def forget(self, executor: SimProcess) -> None:
        """It was reaped."""
        self.executors = [one for one in self.executors if one is not executor]

    def kill_launcher(self) -> None:
        """All executors go; the next ones have to wait for another launcher."""
        self._launcher_since_s = self.sim.now() + _RELAUNCH_S
        for executor in list(self.executors):
            executor.lose()

    def end(self) -> None:
        """The host is gone, and all that lives there."""
        for executor in list(self.executors):
            executor.vanish()
        self.executors.clear()

    # --- how fast things are ----------------------------------------------------------------

    def next_pid(self) -> int:
        """Return a number that no other process here has."""
        self._pid += 1
        return self._pid

    def start_delay_s(self) -> float:
        """Until an executor is up."""
        wait_s = max(0.0, self._launcher_since_s - self.sim.now())
        return wait_s + self.options.start_s * (0.5 + self.sim.random.random())

    def start_fails(self, worker: str) -> bool:
        """Whether this start fails."""
        fails = self._fails(self.failing, worker)
        if fails:
            self.truth.marks["an executor did not start"] += 1
        return fails

    def _fails(self, left: dict[str, int], worker: str) -> bool:
        left[worker] = left.get(worker, 0) - 1
        return left[worker] >= 0

    def stalls(self) -> bool:
        """Whether an executor loses the processor here."""
        return self.options.stall > 0 and self.sim.random.random() < self.options.stall

    def step_delay_s(self, usually_s: float) -> float:
        """How long a small step takes."""
        random = self.sim.random
        if self.stalls():
            return random.choice(_STALL_S) * random.random()
        return usually_s * (0.5 + random.random())

    def kill_delay_s(self) -> float:
        """From the wish to kill to the end, and again until it is reaped."""
        return self.options.kill_s * 2 * self.sim.random.random()

    def read_later(self, read: Callable[..., Any], *args: Any) -> None:
        """Have the node's thread read a pipe, when it gets to it."""
        self.node.after(self.step_delay_s(_READ_S), read, *args)
