"""`Worker`: the actor of one slot. It keeps one executor busy, and stops what must stop.

Everything between worker and executor is keyed by ordinal: the n-th task sent to that executor. A
task may come back and be sent again, and its second copy must not be taken for its first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from actors import Actor, ActorRef, LocalMessage, handles
from scaler.errors import ClusterStartError
from scaler.limits import (
    CANCEL_GRACE_S,
    EXECUTOR_START_FAILURES,
    PREFETCH_TASKS,
    RECALL_AFTER_S,
)
from scaler.protocol.tasks import (
    Function,
    RowStatus,
    Task,
    TaskCancel,
    TaskResult,
    TaskReturned,
    TaskRow,
    TaskRun,
    TaskStarted,
    WorkerConnect,
)
from scaler.worker.cancels import Cancels, GraceOver, SignDue
from scaler.worker.ledger import Ledger, death_row
from scaler.worker.port import (
    ExecutorExited,
    ExecutorPort,
    ExecutorPrinted,
    ExecutorRows,
    ExecutorUp,
)

MakeExecutor = Callable[[int, str, Callable[[LocalMessage], None]], ExecutorPort]
"""Starts an executor: its number, its worker's name, where its events go."""

_EXPECTED_FACTOR = 2


class Tick(LocalMessage, frozen=True):
    """Look at what runs: for how long, and who waits behind it."""


class Worker(Actor):
    """Sends tasks to its executor, passes rows on, takes tasks back, interrupts, kills."""

    def __init__(
        self,
        name: str,
        scheduler: ActorRef,
        make_executor: MakeExecutor,
        cancel_grace_s: float = CANCEL_GRACE_S,
    ) -> None:
        """Make a worker for `scheduler`.

        Args:
            name: for people, and in rows.
            scheduler: who sends tasks.
            make_executor: starts an executor, without waiting.
            cancel_grace_s: from interrupt to kill, unless a cancel says otherwise.
        """
        self.name = name
        self.scheduler = scheduler
        self.make_executor = make_executor
        self.cancel_grace_s = cancel_grace_s
        self.number = 0
        self.executor: ExecutorPort
        self.pid = 0
        """The executor's, 0 until it is up."""
        self.start_failures = 0
        self.connected = False
        self.dying = False
        """The executor was told to die; its slot is free when it was reaped."""
        self.ledger = Ledger()
        self.held: dict[int, tuple[Function, Task, int]] = {}
        """Tasks that came while the executor was dying, by task id."""
        self.cancels = Cancels(self)
        self.announced = 0
        """The ordinal last reported as running."""
        self.ticking = False

    def on_start(self) -> None:
        """Start an executor; the scheduler is told when it is up."""
        self._start_executor()

    def on_stop(self) -> None:
        """Give back what has not begun, and kill the executor; its launcher sees to the rest."""
        self.give_back()
        if self.held:
            self.context.tell(self.scheduler, TaskReturned(tuple(self.held)))
        self.executor.kill()
        self.executor.close()

    # --- tasks ------------------------------------------------------------------------------

    @handles(TaskRun)
    def on_run(self, message: TaskRun) -> None:
        """Send tasks to the executor, or hold them until there is a new one."""
        if not self.dying:
            self._send(message.functions, message.tasks, message.expected_us)
            return
        functions = {function.function_id: function for function in message.functions}
        for task, expected_us in zip(message.tasks, message.expected_us, strict=True):
            self.held[task.task_id] = (functions[task.function_id], task, expected_us)

    def _send(
        self,
        functions: Iterable[Function],
        tasks: tuple[Task, ...],
        expected_us: tuple[int, ...],
    ) -> None:
        self.ledger.send(self.executor, functions, tasks, expected_us)
        if not self.ticking:
            self._start_ticking(RECALL_AFTER_S)

    def _start_ticking(self, after_s: float) -> None:
        self.ticking = True
        self.context.start_timer("tick", after_s, Tick())

    @handles(ExecutorRows)
    def on_rows(self, message: ExecutorRows) -> None:
        """Attempts ended: pass their rows on, and answer the cancels among them."""
        if message.number != self.number:
            return
        passed: list[TaskRow] = []
        for row in message.rows:
            sent = self.ledger.sent.get(row.ordinal)
            if sent is None or sent.task.task_id != row.task_id:
                continue  # no executor of ours sends this: user code has written to its pipe
            if row.unclean:
                self.kill()  # it waits for that
                if row.status is RowStatus.INTERRUPTED and row.ordinal in self.cancels.orders:
                    continue  # the confirm comes when its leftovers are gone
            self.ledger.strike(row.ordinal)
            if not self.cancels.answer(row):
                passed.append(row)
        if passed:
            self.context.tell(self.scheduler, TaskResult(tuple(passed)))

    @handles(ExecutorPrinted)
    def on_printed(self, message: ExecutorPrinted) -> None:
        """Pass on what tasks printed."""
        if message.number == self.number:
            for output in message.outputs:
                self.context.tell(self.scheduler, output)

    @handles(Tick)
    def on_tick(self, message: Tick) -> None:
        """Report a task that runs for a while, and give back what waits behind it."""
        self.ticking = False
        if not self.ledger.sent or self.dying:
            return
        running = self.executor.running()
        sent = self.ledger.sent.get(running)
        waits_s = RECALL_AFTER_S
        if sent is not None:
            runs_s = self.executor.running_for()
            if runs_s >= RECALL_AFTER_S and self.announced != running:
                self.announced = running
                self.context.tell(self.scheduler, TaskStarted((sent.task.task_id,)))
            patience_s = max(RECALL_AFTER_S, _EXPECTED_FACTOR * sent.expected_us / 1e6)
            if runs_s >= patience_s:
                self.give_back()
            if len(self.ledger.sent) == 1 and self.announced == running:
                return  # nobody waits; the next `TaskRun` starts the ticks again
            waits_s = max(min(waits_s, patience_s - runs_s), RECALL_AFTER_S / 10)
        self._start_ticking(waits_s)

    def give_back(self) -> None:
        """Give all that has not begun back to the scheduler."""
        orders = self.cancels.orders
        wanted = [ordinal for ordinal in self.ledger.sent if ordinal not in orders]
        taken = self.executor.take_back(wanted) if wanted else ()
        if taken:
            self.context.tell(self.scheduler, TaskReturned(self.ledger.drop(taken)))

    # --- cancels ----------------------------------------------------------------------------

    @handles(TaskCancel)
    def on_cancel(self, message: TaskCancel) -> None:
        """Note a cancel; those of one run are decided together."""
        self.cancels.note(message, self.context.defer_reply())

    def end_of_turn(self) -> None:
        """Decide the cancels of this run."""
        self.cancels.decide()

    @handles(SignDue)
    def on_sign_due(self, message: SignDue) -> None:
        """Look for the sign of life of an interrupted task."""
        self.cancels.sign_due(message.ordinal)

    @handles(GraceOver)
    def on_grace_over(self, message: GraceOver) -> None:
        """End an interrupted task that has not unwound."""
        self.cancels.grace_over(message.ordinal)

    # --- the executor -----------------------------------------------------------------------

    def _start_executor(self) -> None:
        self.number += 1
        self.pid = 0
        self.dying = False
        self.announced = 0
        self.ledger = Ledger()
        own = self.context.self_ref
        self.executor = self.make_executor(self.number, self.name, own.tell)

    def kill(self) -> None:
        """Kill the executor, once; what has not begun is given back before."""
        if not self.dying:
            self.dying = True
            self.give_back()
            self.executor.kill()

    @handles(ExecutorUp)
    def on_up(self, message: ExecutorUp) -> None:
        """The executor takes tasks. The first time, so does this worker."""
        if message.number == self.number:
            self.pid = message.pid
            self.start_failures = 0
            if not self.connected:
                self.connected = True
                self.context.tell(self.scheduler, WorkerConnect(self.name, PREFETCH_TASKS))

    @handles(ExecutorExited)
    def on_exited(self, message: ExecutorExited) -> None:
        """The executor is gone: confirm what was to be stopped, blame what ran, go on."""
        if message.number != self.number:
            return
        self._note_start(message.cause)
        blamed, item = self.executor.running(), self.executor.item()
        self.cancels.confirm_all()
        sent = self.ledger.sent.get(blamed)
        if sent is not None:
            self.ledger.strike(blamed)
            now_s = self.context.now()
            row = death_row(sent.task, blamed, item, message.cause, self.name, self.pid, now_s)
            self.context.tell(self.scheduler, TaskResult((row,)))
        if self.ledger.ordinals:  # claimed, but not begun: nobody's fault
            self.context.tell(self.scheduler, TaskReturned(tuple(self.ledger.ordinals)))
        self.executor.close()
        self._start_executor()
        held, self.held = self.held, {}
        for function, task, expected_us in held.values():
            self._send((function,), (task,), (expected_us,))

    def _note_start(self, cause: str) -> None:
        """Give up when executors do not even start."""
        if self.pid:
            return
        self.start_failures += 1
        if self.start_failures >= EXECUTOR_START_FAILURES:
            raise ClusterStartError(
                f"the executor of {self.name} did not start, "
                f"{self.start_failures} times in a row; the last time: {cause}"
            )
