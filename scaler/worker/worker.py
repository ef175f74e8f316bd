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
    CANCEL_SIGN_S,
    EXECUTOR_START_FAILURES,
    FUNCTIONS_KNOWN,
    PREFETCH_TASKS,
    RECALL_AFTER_S,
)
from scaler.protocol.tasks import (
    Function,
    RowStatus,
    Task,
    TaskCancel,
    TaskCancelConfirm,
    TaskCancelConfirmType,
    TaskResult,
    TaskReturned,
    TaskRow,
    TaskRun,
    TaskStarted,
    WorkerConnect,
)
from scaler.worker.orders import CancelOrder, Sent, death_row
from scaler.worker.port import (
    ExecutorExited,
    ExecutorPort,
    ExecutorPrinted,
    ExecutorRows,
    ExecutorUp,
)

MakeExecutor = Callable[[int, str, Callable[[LocalMessage], None]], ExecutorPort]
"""Starts an executor: its number, its worker's name, where its events go."""

_LOST_ROW_CHECK_S = 0.01
_EXPECTED_FACTOR = 2


class Tick(LocalMessage, frozen=True):
    """Look at what runs: for how long, and who waits behind it."""


class SignDue(LocalMessage, frozen=True):
    """The interrupted task should have given a sign of life by now."""

    ordinal: int


class GraceOver(LocalMessage, frozen=True):
    """The interrupted task should have unwound by now."""

    ordinal: int


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
        self.ordinal = 0
        self.outstanding: dict[int, Sent] = {}
        self.ordinals: dict[int, int] = {}
        """Ordinal of each outstanding task, by task id."""
        self.known: dict[bytes, None] = {}
        """Functions the executor has."""
        self.dropped: list[int] = []
        """Taken back since the last frame."""
        self.held: dict[int, tuple[Function, Task, int]] = {}
        """Tasks that came while the executor was dying, by task id."""
        self.orders: dict[int, CancelOrder] = {}
        """Interrupted tasks, by ordinal."""
        self.requests: list[CancelOrder] = []
        """Cancels of this run."""
        self.announced = 0
        """The ordinal last reported as running."""
        self.ticking = False

    def on_start(self) -> None:
        """Start an executor; the scheduler is told when it is up."""
        self._start_executor()

    def on_stop(self) -> None:
        """Kill the executor; its launcher sees to the rest."""
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
        first = self.ordinal + 1
        self.ordinal += len(tasks)
        ordinals = range(first, self.ordinal + 1)
        for ordinal, task, expected in zip(ordinals, tasks, expected_us, strict=True):
            self.outstanding[ordinal] = Sent(task, expected)
            self.ordinals[task.task_id] = ordinal
        new = [function for function in functions if function.function_id not in self.known]
        for function in new:
            self.known[function.function_id] = None
        dropped, self.dropped = self.dropped, []
        self.executor.send(ordinals, tasks, new, dropped, self._forgettable())
        if not self.ticking:
            self.ticking = True
            self.context.start_timer("tick", RECALL_AFTER_S, Tick())

    def _forgettable(self) -> list[bytes]:
        """Functions to forget: the oldest that no outstanding task names, above the bound."""
        excess = len(self.known) - FUNCTIONS_KNOWN
        if excess <= 0:
            return []
        used = {sent.task.function_id: None for sent in self.outstanding.values()}
        forgotten = [key for key in self.known if key not in used][:excess]
        for key in forgotten:
            del self.known[key]
        return forgotten

    @handles(ExecutorRows)
    def on_rows(self, message: ExecutorRows) -> None:
        """Attempts ended: pass their rows on, and answer the cancels among them."""
        if message.number != self.number:
            return
        passed: list[TaskRow] = []
        for row in message.rows:
            sent = self.outstanding.get(row.ordinal)
            if sent is None or sent.task.task_id != row.task_id:
                continue  # no executor of ours sends this: user code has written to its socket
            order = self.orders.get(row.ordinal)
            if row.status is RowStatus.INTERRUPTED and row.unclean and order is not None:
                order.unwound = True
                self._kill()  # the confirm comes when its leftovers are gone
                continue
            self._strike(row.ordinal)
            if order is None:
                passed.append(row)
            else:
                self._answer(row.ordinal, order, row)
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
        if not self.outstanding or self.dying:
            return
        running = self.executor.running()
        sent = self.outstanding.get(running)
        waits_s = RECALL_AFTER_S
        if sent is not None:
            runs_s = self.executor.running_for()
            if runs_s >= RECALL_AFTER_S and self.announced != running:
                self.announced = running
                self.context.tell(self.scheduler, TaskStarted((sent.task.task_id,)))
            patience_s = max(RECALL_AFTER_S, _EXPECTED_FACTOR * sent.expected_us / 1e6)
            if runs_s >= patience_s:
                self._return(number for number in self.outstanding if number != running)
                if len(self.outstanding) == 1:
                    return  # the next `TaskRun` starts the ticks again
            elif len(self.outstanding) == 1 and self.announced == running:
                return
            waits_s = max(min(waits_s, patience_s - runs_s), RECALL_AFTER_S / 10)
        self.ticking = True
        self.context.start_timer("tick", waits_s, Tick())

    def _return(self, ordinals: Iterable[int]) -> None:
        """Give tasks that have not begun back to the scheduler."""
        wanted = [ordinal for ordinal in ordinals if ordinal not in self.orders]
        taken = self.executor.take_back(wanted) if wanted else ()
        if taken:
            task_ids = tuple([self.outstanding[ordinal].task.task_id for ordinal in taken])
            self._drop(taken)
            self.context.tell(self.scheduler, TaskReturned(task_ids))

    def _drop(self, ordinals: Iterable[int]) -> None:
        for ordinal in ordinals:
            self._strike(ordinal)
            self.dropped.append(ordinal)

    def _strike(self, ordinal: int) -> None:
        del self.ordinals[self.outstanding.pop(ordinal).task.task_id]

    # --- cancels ----------------------------------------------------------------------------

    @handles(TaskCancel)
    def on_cancel(self, message: TaskCancel) -> None:
        """Note a cancel; those of one run are decided together."""
        reply = self.context.defer_reply()
        order = CancelOrder(message.task_id, [reply], message.force, message.grace_s)
        self.requests.append(order)

    def end_of_turn(self) -> None:
        """Decide the cancels of this run: take back what has not begun, interrupt the rest."""
        if not self.requests:
            return
        requests, self.requests = self.requests, []
        ordinals = [self.ordinals.get(order.task_id, 0) for order in requests]
        wanted = [number for number in ordinals if number and number not in self.orders]
        taken = dict.fromkeys(self.executor.take_back(wanted) if wanted else ())
        self._drop(taken)
        for ordinal, order in zip(ordinals, requests, strict=True):
            if ordinal in taken or self.held.pop(order.task_id, None) is not None:
                self._confirm(order, TaskCancelConfirmType.Canceled)
            elif not ordinal:
                self._confirm(order, TaskCancelConfirmType.CancelNotFound)
            elif ordinal in self.orders:
                self._join(ordinal, order)
            elif order.force:
                self._interrupt(ordinal, order)
            else:
                self._confirm(order, TaskCancelConfirmType.CancelFailed)

    def _join(self, ordinal: int, later: CancelOrder) -> None:
        """A second cancel of an interrupted task gets the same answer; it may bring it sooner."""
        order = self.orders[ordinal]
        order.replies += later.replies
        if later.force and later.grace_s is not None and not self.dying:
            self._limit(ordinal, order, later.grace_s)

    def _interrupt(self, ordinal: int, order: CancelOrder) -> None:
        self.orders[ordinal] = order
        if self.dying:
            return  # the death that is under way is the answer
        grace_s = self.cancel_grace_s if order.grace_s is None else order.grace_s
        if grace_s > 0:
            self.executor.interrupt(ordinal)
            if order.grace_s is None:
                self.context.start_timer(("sign", ordinal), CANCEL_SIGN_S, SignDue(ordinal))
        self._limit(ordinal, order, grace_s)

    def _limit(self, ordinal: int, order: CancelOrder, grace_s: float) -> None:
        """Kill what has not unwound after `grace_s`, unless that is due sooner already."""
        due_s = self.context.now() + grace_s
        if grace_s == 0:
            self.on_grace_over(GraceOver(ordinal))
        elif due_s < order.due_s:
            order.due_s = due_s
            self.context.start_timer(("grace", ordinal), grace_s, GraceOver(ordinal))

    @handles(SignDue)
    def on_sign_due(self, message: SignDue) -> None:
        """Kill a task that sits in C code: its handler has not even run."""
        if self.executor.answered() != message.ordinal:
            self.on_grace_over(GraceOver(message.ordinal))

    @handles(GraceOver)
    def on_grace_over(self, message: GraceOver) -> None:
        """Kill a task that has not unwound; what waits behind it is given back before."""
        ordinal = message.ordinal
        if ordinal not in self.orders or self.dying:
            return
        self._return(list(self.outstanding))
        if self.executor.running() in (ordinal, 0):
            self._kill()
        else:  # it has ended, and its row is on the way; the one that runs is innocent
            self.context.start_timer(("grace", ordinal), _LOST_ROW_CHECK_S, GraceOver(ordinal))

    def _answer(self, ordinal: int, order: CancelOrder, row: TaskRow) -> None:
        """The interrupted task ended: by the interrupt, or faster than it."""
        self._forget_order(ordinal)
        if row.status is RowStatus.INTERRUPTED:
            self._confirm(order, TaskCancelConfirmType.Canceled)
            return
        for reply in order.replies:
            reply.send(TaskResult((row,)))

    def _forget_order(self, ordinal: int) -> None:
        del self.orders[ordinal]
        self.context.cancel_timer(("grace", ordinal))
        self.context.cancel_timer(("sign", ordinal))

    def _confirm(self, order: CancelOrder, kind: TaskCancelConfirmType) -> None:
        for reply in order.replies:
            reply.send(TaskCancelConfirm(order.task_id, kind))

    # --- the executor -----------------------------------------------------------------------

    def _start_executor(self) -> None:
        self.number += 1
        self.pid = 0
        self.dying = False
        self.ordinal = 0
        self.announced = 0
        self.known.clear()
        self.dropped.clear()
        own = self.context.self_ref
        self.executor = self.make_executor(self.number, self.name, own.tell)

    def _kill(self) -> None:
        if not self.dying:
            self.dying = True
            self._return(list(self.outstanding))
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
        for ordinal, order in list(self.orders.items()):
            self._forget_order(ordinal)
            self._strike(ordinal)
            self._confirm(order, TaskCancelConfirmType.Canceled)
        sent = self.outstanding.get(blamed)
        if sent is not None:
            self._strike(blamed)
            now_s = self.context.now()
            row = death_row(sent.task, blamed, item, message.cause, self.name, self.pid, now_s)
            self.context.tell(self.scheduler, TaskResult((row,)))
        if self.outstanding:  # claimed, but not begun: nobody's fault
            innocent = tuple([sent.task.task_id for sent in self.outstanding.values()])
            self.context.tell(self.scheduler, TaskReturned(innocent))
            self.outstanding.clear()
            self.ordinals.clear()
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
