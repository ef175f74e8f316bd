"""`Worker`: the actor of one slot. It keeps one executor busy, and stops what must stop.

Everything between worker and executor is keyed by ordinal: the n-th task sent to that executor. A
task may come back and be sent again, and its second copy must not be taken for its first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import islice, starmap

from actors import Actor, ActorRef, LocalMessage, handles
from scaler.limits import EXECUTOR_KILL_S, EXECUTOR_VAIN_DEATHS, PREFETCH_TASKS
from scaler.protocol.tasks import (
    TaskCancel,
    TaskResult,
    TaskReturned,
    TaskRow,
    TaskRun,
    WorkerConnect,
)
from scaler.worker.cancels import Cancels, GraceOver, SignDue
from scaler.worker.deaths import KillOverdue, Verdict, abandon, bury
from scaler.worker.ledger import Entry, Held, Ledger
from scaler.worker.options import WorkerOptions
from scaler.worker.port import (
    ExecutorExited,
    ExecutorPort,
    ExecutorPrinted,
    ExecutorRows,
    ExecutorUp,
    ExecutorWaits,
    NoExecutor,
)
from scaler.worker.recycling import Recycling
from scaler.worker.starts import StartDue, Starts
from scaler.worker.watch import Tick, Watch

MakeExecutor = Callable[[int, str, Callable[[LocalMessage], None]], ExecutorPort]
"""Starts an executor: its number, its worker's name, where its events go."""

_DEFAULTS = WorkerOptions()


class Worker(Actor):
    """Sends tasks to its executor, passes rows on, takes tasks back, interrupts, kills."""

    def __init__(
        self,
        name: str,
        scheduler: ActorRef,
        make_executor: MakeExecutor,
        options: WorkerOptions = _DEFAULTS,
    ) -> None:
        """Make a worker for `scheduler`.

        Args:
            name: for people, and in rows.
            scheduler: who sends tasks.
            make_executor: starts an executor, without waiting. If it raises `LaunchError` or
                `OSError` it is called again, a few times.
            options: how its executors are treated.
        """
        self.name = name
        self.scheduler = scheduler
        self.make_executor = make_executor
        self.options = options
        self.number = 0
        self.executor: ExecutorPort = NoExecutor()
        self.pid = 0
        """The executor's, 0 until it is up."""
        self.vain_deaths = 0
        """Executors in a row that died by themselves, with tasks at hand and none begun."""
        self.connected = False
        self.accepting = False
        """The executor is sent what comes; otherwise that is held for the next one."""
        self.dying = False
        """The executor was told to die; its slot is free when it was reaped."""
        self.abandoned = False
        """It did not die: the slot is out of use."""
        self.verdict = Verdict()
        self.ledger = Ledger()
        self.recycling: Recycling | None = None
        """`None` if the options set no limit."""
        self.held: dict[int, Held] = {}
        """Tasks for the next executor, by task id."""
        self.starts = Starts(self)
        self.cancels = Cancels(self)
        self.watch = Watch(self)

    def on_start(self) -> None:
        """Start an executor; the scheduler is told when it is up."""
        self.starts.start()

    def on_stop(self) -> None:
        """Give back what has not begun, and kill the executor; its launcher sees to the rest."""
        self.give_back()
        self.give_back_held()
        self.executor.kill()
        self.executor.close()

    # --- tasks ------------------------------------------------------------------------------

    @handles(TaskRun)
    def on_run(self, message: TaskRun) -> None:
        """Send tasks to the executor, or hold them until there is room or a new one."""
        entries = [*starmap(Entry, zip(message.tasks, message.expected_us, strict=True))]
        if self.accepting and not self.held and self._room() is None:
            self.ledger.send(self.executor, message.functions, entries)
        else:
            functions = {function.function_id: function for function in message.functions}
            for entry in entries:
                task = entry.task
                self.held[task.task_id] = Held(functions[task.function_id], entry)
        self.watch.tasks_came()
        if message.left_s:
            self.watch.set_deadlines(entries, message.left_s)

    def end_of_turn(self) -> None:
        """Decide the cancels of this run, then send on what was held."""
        self.cancels.decide()
        if self.abandoned:
            self.give_back_held()
        elif self.held and self.accepting:
            self._send_held([*islice(self.held, self._room())])

    def _room(self) -> int | None:
        """Return how many tasks more the executor may get now; `None`: any number."""
        if self.vain_deaths >= EXECUTOR_VAIN_DEATHS:
            return 0 if self.ledger.sent else 1
        return None if self.recycling is None else self.recycling.room()

    def _send_held(self, task_ids: Sequence[int]) -> None:
        if task_ids:
            held = [self.held.pop(task_id) for task_id in task_ids]
            functions = {one.function.function_id: one.function for one in held}
            self.ledger.send(self.executor, functions.values(), [one.entry for one in held])
            self.watch.tasks_came()

    @handles(ExecutorRows)
    def on_rows(self, message: ExecutorRows) -> None:
        """Attempts ended: pass their rows on, and answer the cancels among them."""
        if message.number != self.number:
            return
        passed: list[TaskRow] = []
        for row in message.rows:
            entry = self.ledger.sent.get(row.ordinal)
            if entry is None or entry.task.task_id != row.task_id:
                continue  # no executor of ours sends this: user code has written to its pipe
            if row.unclean:
                self.kill()  # it waits for that
                if self.cancels.keep_unclean(row):
                    continue
            self.ledger.strike(row.ordinal)
            told = self.cancels.answer(row)
            if told is not None:
                passed.append(told)
        self.tell_rows(passed)
        self.vain_deaths = 0
        if self.recycling is not None:
            self.recycling.rows_came(message.rows)
        if not self.ledger.sent and not self.held:
            self.watch.rest()

    def tell_rows(self, rows: Sequence[TaskRow]) -> None:
        """Tell the scheduler that attempts ended."""
        if rows:
            self.context.tell(self.scheduler, TaskResult(tuple(rows)))

    @handles(ExecutorPrinted)
    def on_printed(self, message: ExecutorPrinted) -> None:
        """Pass on what tasks printed."""
        if message.number == self.number:
            for output in message.outputs:
                self.context.tell(self.scheduler, output)

    @handles(ExecutorWaits)
    def on_waits(self, message: ExecutorWaits) -> None:
        """Give back what has not begun: its arguments need not stay in memory for now."""
        if message.number == self.number:
            self.give_back()

    @handles(Tick)
    def on_tick(self, message: Tick) -> None:
        """Look at what runs, and at who waits."""
        self.watch.tick()

    def give_back(self) -> None:
        """Give all that the executor has and has not begun back to the scheduler."""
        orders = self.cancels.orders
        wanted = [ordinal for ordinal in self.ledger.sent if ordinal not in orders]
        taken = self.executor.take_back(wanted) if wanted else ()
        if taken:
            self.tell_returned([task.task_id for task in self.ledger.drop(taken)])

    def give_back_held(self) -> None:
        """Give what is held back to the scheduler."""
        held, self.held = self.held, {}
        self.tell_returned(held)

    def tell_returned(self, task_ids: Collection[int]) -> None:
        """Tell the scheduler that these have not begun."""
        if task_ids:
            self.context.tell(self.scheduler, TaskReturned(tuple(task_ids)))

    # --- cancels ----------------------------------------------------------------------------

    @handles(TaskCancel)
    def on_cancel(self, message: TaskCancel) -> None:
        """Note a cancel; those of one run are decided together."""
        self.cancels.note(message, self.context.defer_reply())

    @handles(SignDue)
    def on_sign_due(self, message: SignDue) -> None:
        """Look for the sign of life of an interrupted task."""
        self.cancels.sign_due(message.ordinal)

    @handles(GraceOver)
    def on_grace_over(self, message: GraceOver) -> None:
        """End an interrupted task that has not unwound."""
        self.cancels.grace_over(message.ordinal)

    # --- the executor -----------------------------------------------------------------------

    @handles(StartDue)
    def on_start_due(self, message: StartDue) -> None:
        """Try again."""
        self.starts.start()

    def drain(self) -> None:
        """Send nothing more to the executor: it is replaced when it has ended what it began."""
        self.accepting = False
        self.give_back()

    def kill(self, cause: str = "", *, blameless: bool = False) -> None:
        """Kill the executor, once; what has not begun is given back before.

        Args:
            cause: why, if its death is to be told so.
            blameless: what runs there is not to blame.
        """
        if not self.dying:
            self.dying = True
            self.verdict = Verdict(cause, blameless)
            self.drain()
            self.executor.kill()
            self.context.start_timer("kill", EXECUTOR_KILL_S, KillOverdue(self.number))

    @handles(KillOverdue)
    def on_kill_overdue(self, message: KillOverdue) -> None:
        """The executor was told to die, long ago."""
        if message.number == self.number:
            abandon(self)

    @handles(ExecutorUp)
    def on_up(self, message: ExecutorUp) -> None:
        """The executor takes tasks. The first time, so does this worker."""
        if message.number == self.number:
            self.pid = message.pid
            self.starts.failures = 0
            if not self.connected or self.abandoned:
                self.connected, self.abandoned = True, False
                self.tell_credit(PREFETCH_TASKS)

    def tell_credit(self, tasks: int) -> None:
        """Tell the scheduler how many tasks this worker takes; the first time, that it is there."""
        self.context.tell(self.scheduler, WorkerConnect(self.name, tasks))

    @handles(ExecutorExited)
    def on_exited(self, message: ExecutorExited) -> None:
        """The executor is gone: confirm what was to be stopped, blame what ran, go on."""
        if message.number != self.number:
            return
        self.context.cancel_timer("kill")
        bury(self, message)
        self.ledger = Ledger()
        self.executor.close()
        self.executor = NoExecutor()
        self.accepting = False
        if self.pid or message.blameless:
            self.starts.start()
        else:
            self.starts.again(message.cause)
