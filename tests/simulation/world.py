"""One world: nodes, the production actors on them, the models around them, users, faults."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from actors import ActorRef, AskTimeoutError
from actors.testkit.simulation import Event, EventKind, SimulatedNode, Simulation
from scaler.client.future import ScalerFuture
from scaler.errors import ClusterStartError
from scaler.limits import (
    CANCEL_SIGN_S,
    CANCEL_TIMEOUT_S,
    CLOSE_GRACE_S,
    EXECUTOR_KILL_S,
    EXECUTOR_START_FAILURES,
    ROOM_WAIT_S,
)
from scaler.objects.keeper import ObjectKeeper
from scaler.overseer import Overseer
from scaler.protocol.tasks import (
    CLIENT_SHIFT,
    GetStatus,
    InputGiven,
    SchedulerStatus,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskDropped,
    TaskResult,
    TaskReturned,
    TaskStarted,
)
from scaler.scheduler.attempts import DeadlineDue, RetryDue
from scaler.scheduler.scheduler import Scheduler
from scaler.worker.options import WorkerOptions
from scaler.worker.port import ExecutorWaits
from scaler.worker.worker import Worker
from tests.simulation import plans, rest
from tests.simulation.client import SimClient
from tests.simulation.host import SimHost
from tests.simulation.leases import check_collected
from tests.simulation.memory import Memory
from tests.simulation.plans import Script
from tests.simulation.truth import Truth
from tests.simulation.verdicts import check_at_end, check_future, check_on_time, check_timer

END_S = 120.0
"""After the last fault all must have ended within so much virtual time."""

EVENTS_PER_TASK = 500
"""More mean that something goes round in circles."""

_BUSY_S = 0.03
"""No node is busy for longer, unless it stands still."""


def may_fail(_: ActorRef, error: Exception) -> bool:
    """Whether an actor may fail so: a worker whose executors do not start says that it does."""
    return isinstance(error, ClusterStartError)


class World:
    """A script, set up and ready to run.

    Attributes:
        sim: the simulation.
        truth: what really happened.
        scheduler: the scheduler's ref; `workers`: those of the workers.
        hosts: where the executors live.
        clients: by number, from 0.
    """

    host_type = SimHost

    def __init__(
        self,
        script: Script,
        seed: int,
        *,
        keep_trace: bool = False,
        sim: Simulation | None = None,
    ) -> None:
        """Make the actors, in `sim` if it is given; nothing runs yet."""
        options = script.options
        self.script = script
        self.sim = sim or Simulation(
            seed,
            delays=options.delays,
            expect_failures=self._may_fail,
            keep_trace=keep_trace,
        )
        self.truth = Truth(self.sim.now)
        self.truth.memory_limit_bytes = options.max_memory_per_executor
        self.truth.max_tasks = options.max_tasks_per_executor
        self.truth.quick_stop_s = self._quick_stop_s()
        self.truth.stop_s = self.truth.quick_stop_s + self._longest_grace_s()
        if any(plan.stuck_s for plan in script.tasks):
            self.truth.stop_s += EXECUTOR_KILL_S
        self.truth.gives_grace = options.cancel_grace_s > 0
        self.truth.calm = not any(isinstance(act, plans.PauseNode) for act in script.faults)
        self._at_hand: dict[int, tuple[float, list[int]]] = {}
        """What executors that wait for room have not begun, and since when they wait, by pid."""
        self.resolved: list[tuple[SimClient, ScalerFuture]] = []
        self.sim.on_event(self._check)
        many = options.hosts > 0
        self.main = self.sim.node("main")
        self.scheduler = self.main.spawn(Scheduler, name="scheduler")
        # One for all hosts, so one keeper: see `Memory`.
        self.memory = Memory(self.truth, options, self.sim.random, self.main.after)
        keeper = self.main.spawn(ObjectKeeper, self.memory.store, name="objects")
        self.host_nodes = (
            [self.sim.node(f"host-{n}") for n in range(options.hosts)] if many else [self.main]
        )
        self.hosts = [
            self.host_type(self.sim, node, options, self.memory) for node in self.host_nodes
        ]
        self.workers = [self._spawn_worker(number) for number in range(options.workers)]
        watched = (self.scheduler, keeper, *self.workers)
        self.main.spawn(Overseer, self.break_off, watched, None, name="overseer")
        client_nodes = [
            self.sim.node(f"client-{n}") if many else self.main for n in range(options.clients)
        ]
        self.clients = [SimClient(self, n, node) for n, node in enumerate(client_nodes)]
        for act in (*script.ops, *script.faults):
            self.sim.after(act.at_s, partial(self._do, act))

    def host_of(self, worker: int) -> SimHost:
        """The host of a worker, by its number."""
        return self.hosts[worker % len(self.hosts)]

    def _spawn_worker(self, number: int) -> Any:
        host, options = self.host_of(number), self.script.options
        name = f"worker-{number}"
        treatment = WorkerOptions(
            cancel_grace_s=options.cancel_grace_s,
            max_tasks=options.max_tasks_per_executor or None,
            max_memory_bytes=options.max_memory_per_executor or None,
        )
        return host.node.spawn(Worker, name, self.scheduler, host.make, treatment, name=name)

    # --- running ----------------------------------------------------------------------------

    def run(self) -> None:
        """Run the script, until all has come to an end; then close all, and look what is left.

        Raises:
            SimulationError: something that must hold does not.
        """
        bound = EVENTS_PER_TASK * (len(self.script.tasks) + 20)
        end = self.sim.run(until_s=self.script.heal_s + self._patience_s(), max_events=bound)
        if end.reason == "events":
            self.truth.fail("livelock", f"{end.events} events for {len(self.script.tasks)} tasks")
        if end.reason == "quiet" and self.truth.broken_s == math.inf:
            check_collected(self)
        for client in self.clients:
            check_at_end(client)
        if self.truth.broken_s == math.inf:
            rest.check_idle(self)
        for client in self.clients:
            client.close()
        self.sim.run(until_s=self.sim.now() + END_S, max_events=bound)
        rest.check_closed(self)
        self.broken_now()
        for node in self.sim.nodes.values():
            node.stop()
        self.sim.run(until_s=self.sim.now() + END_S, max_events=bound)
        rest.check_stopped(self)

    def _patience_s(self) -> float:
        """How long it may take from the last fault until all tasks have ended.

        Perhaps each of them in an executor of its own.
        """
        wait_s, start_s = END_S, 1.5 * self.script.options.start_s
        room_s = 2 * ROOM_WAIT_S if self.script.options.object_store_bytes else 0.0
        for plan in self.script.tasks:
            retries = plan.policy.retries
            wait_s += room_s * (len(plan.argument_bytes) + len(plan.needs))
            attempt_s = start_s + plan.run_s + plan.unwind_s + room_s
            wait_s += attempt_s * (retries + plan.policy.max_attempts)
            wait_s += plan.policy.backoff_s * 2 ** min(retries, 10)
        return wait_s

    @property
    def slack_s(self) -> float:
        """What slow messages and nodes that stand still may add to a bound."""
        delays = self.script.options.delays
        way_s = delays.remote_s[1] + (0.0 if delays.local_s is None else delays.local_s[1])
        way_s += delays.slow_s[1] if delays.slow_share else 0.0
        way_s += delays.stall_s[1] if delays.stall_share else 0.0
        # A node that stood still for long moves its deadlines by that.
        pauses = [2 * act.for_s for act in self.script.faults if isinstance(act, plans.PauseNode)]
        return 6 * way_s + sum(pauses) + 0.01

    @property
    def has_long_pause(self) -> bool:
        """Whether a node stands still for so long that cancels are not answered any more."""
        return any(
            isinstance(act, plans.PauseNode) and act.for_s >= CANCEL_TIMEOUT_S
            for act in self.script.faults
        )

    def _longest_grace_s(self) -> float:
        options = self.script.options
        graces = [op.grace_s or 0.0 for op in self.script.ops if isinstance(op, plans.Cancel)]
        return max(options.cancel_grace_s, *graces, CLOSE_GRACE_S)

    def _quick_stop_s(self) -> float:
        """How long it may take until a task is stopped that unwinds at once, or shows no sign."""
        options = self.script.options
        stall_s = 1.0 if options.stall else 0.1
        return CANCEL_SIGN_S + 4 * options.kill_s + self.slack_s + stall_s

    def break_off(self, error: Exception) -> None:
        """The cluster has ended by itself."""
        self.broken_now()
        self.truth.marks["the cluster broke"] += 1
        for client in self.clients:
            client.break_off(error)

    def _may_fail(self, ref: ActorRef, error: Exception) -> bool:
        """A worker whose executors do not start gives up, and that breaks the cluster."""
        failed = self.truth.failed_starts[ref.name]
        if isinstance(error, ClusterStartError) and failed < EXECUTOR_START_FAILURES:
            self.truth.fail("starts", f"{ref.name} gives up after {failed} failed starts")
        self.broken_now()
        return isinstance(error, ClusterStartError)

    def broken_now(self) -> None:
        """From now on futures may end with `ClusterBrokenError`."""
        self.truth.broken_s = min(self.truth.broken_s, self.sim.now())

    # --- what the script says ---------------------------------------------------------------

    def _do(self, act: plans.Op | plans.Fault) -> None:
        self.truth.marks[type(act).__name__] += 1
        match act:
            case plans.Submit():
                self.clients[act.client].submit(act.tasks)
            case plans.Cancel():
                self.clients[act.client].stop_tasks(act)
            case plans.Drop():
                self.clients[act.client].drop(act.tasks)
            case plans.Read():
                self.clients[act.client].read(act.tasks)
            case plans.Close(in_callback=True):
                self.clients[act.client].closes_in_callback = True
            case plans.Close():
                self.clients[act.client].close()
            case plans.Leave():
                self.clients[act.client].leave()
            case plans.Look():
                self.scheduler.ask(GetStatus()).add_done_callback(self._look)
            case _:
                self._cause(act)

    def _cause(self, fault: plans.Fault) -> None:
        match fault:
            case plans.KillExecutor():
                self.truth.alive[f"worker-{fault.worker}"].crash()
            case plans.FreezeExecutor():
                self.truth.alive[f"worker-{fault.worker}"].freeze(fault.for_s)
            case plans.FailStarts():
                failing = self.host_of(fault.worker).failing
                failing[f"worker-{fault.worker}"] = fault.times
            case plans.FailLaunches():
                refusing = self.host_of(fault.worker).refusing
                refusing[f"worker-{fault.worker}"] = fault.times
            case plans.KillLauncher():
                self.hosts[fault.host].kill_launcher()
            case plans.PauseNode():
                self._node(fault.node).pause(fault.for_s)
            case plans.JumpClock():
                self._node(fault.node).jump_clock(fault.by_s)
            case plans.CrashNode():
                self._crash(self._node(fault.node))

    def _node(self, number: int) -> SimulatedNode:
        nodes = list(self.sim.nodes.values())
        return nodes[number % len(nodes)]

    def _crash(self, node: SimulatedNode) -> None:
        """A node ends, and with it what lives there; for the cluster it is the end."""
        gone = [client for client in self.clients if client.node is node]
        if node is not self.main and gone:
            gone[0].leave()
            return
        self.broken_now()
        node.crash()
        for host in self.hosts:
            if host.node is node:
                host.end()
        for client in gone:  # the node's thread ends, and says so to the clients of its process
            client.break_off(rest.NODE_ENDED)

    # --- at each step -----------------------------------------------------------------------

    def _check(self, event: Event) -> None:
        if self.truth.failed is not None:
            raise self.truth.failed
        if event.kind is EventKind.TIMEOUT:
            self.truth.marks["an ask met its deadline"] += 1
        message = event.message
        kind = type(message)
        if kind is TaskCancelConfirm:
            if message.type is TaskCancelConfirmType.Canceled:
                self.truth.promised(message.task_id, "Canceled was confirmed")
            self.truth.marks[f"confirm: {message.type.value}"] += 1
        elif kind is TaskDropped:
            for task_id in message.task_ids:
                self.truth.promised(task_id, "it was dropped from the queue")
        elif kind is InputGiven:
            self.truth.marks["a result had ended before it was needed"] += 1
        elif kind is TaskReturned:
            self.truth.marks["tasks came back"] += 1
            self.truth.came_back(message.task_ids)
        elif kind is TaskResult:
            if event.kind is EventKind.REPLY:
                self.truth.marks["a result answered a cancel"] += 1
            for row in message.rows:
                self.truth.told(row)
        elif kind is DeadlineDue or kind is RetryDue:
            check_timer(self.clients[message.task_id >> CLIENT_SHIFT], message.task_id)
        elif kind is TaskCancel and message.force and event.target is not None:
            executor = self.truth.alive.get(event.target.name)
            if executor is not None and executor.ignores_stop(message.task_id):
                self.truth.fail("grace", f"{executor} was not told to stop {message.task_id}")
        elif kind is TaskStarted:
            self.truth.started(message.task_ids)
        elif kind is ExecutorWaits and event.target is not None:
            self._check_gave_back(event.target, message.number)
        if self.resolved:
            resolved, self.resolved = self.resolved, []
            for client, future in resolved:
                check_future(client, future)
                check_on_time(client, future)
                client.was_read(future)

    def _check_gave_back(self, worker: ActorRef, number: int) -> None:
        """An executor still waits for room: what it had not begun before keeps no room any more."""
        self.truth.marks["an executor waited for room"] += 1
        executor, now_s = self.truth.alive[worker.name], self.truth.now()
        if executor.number != number or executor.is_closed:
            return
        since_s, before = self._at_hand.get(executor.pid, (now_s, []))
        cancelled = self.host_of(self.workers.index(worker)).node.actor(worker).cancels.orders
        kept = [one for one in before if one in executor.unbegun and one not in cancelled]
        if kept and self.truth.calm and now_s > since_s + _BUSY_S:
            self.truth.fail("room", f"{executor} waits for room, and has had {kept} at hand")
        self._at_hand[executor.pid] = now_s, executor.unbegun

    def has_failed(self, answer: Any) -> bool:
        """Whether what came from an actor is an error; notes one that says that nothing came."""
        error = answer.exception(0)
        if isinstance(error, AskTimeoutError):
            self.truth.marks["an ask met its deadline"] += 1
        return error is not None

    def _look(self, answer: Any) -> None:
        """The scheduler's books, seen from outside, cannot hold more than there is."""
        if self.has_failed(answer):
            return
        status: SchedulerStatus = answer.result(0)
        held = status.waiting + status.queued + status.running + status.canceling
        if held > len(self.truth.tasks) or status.clients > len(self.clients):
            self.truth.fail("books", f"{status} for {len(self.truth.tasks)} tasks")
