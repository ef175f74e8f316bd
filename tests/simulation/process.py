"""The model of a process that claims, runs, prints, answers, is stopped, and dies.

Each step that a real one takes by itself is an event of the world, so it can fall before or after
anything that the worker does: the claim, the start, the interrupt's arrival, the end of the task,
the row's way through the pipe, the kill.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from enum import Enum
from typing import TYPE_CHECKING

from actors import LocalMessage
from scaler.errors import ObjectStoreFullError
from scaler.protocol.tasks import RowStatus, Task, TaskOutput, TaskRow
from scaler.worker.port import ExecutorExited, ExecutorUp
from tests.simulation import payloads
from tests.simulation.plans import FAILS, FINAL, Ending, Style
from tests.simulation.runs import How, Run
from tests.simulation.steps import Steps

if TYPE_CHECKING:
    from tests.simulation.host import SimHost

BASE_RSS_BYTES = 50 << 20


class Stage(Enum):
    """Where an executor is."""

    STARTING = "starting"
    IDLE = "idle"
    CLAIMED = "claimed"
    """It has a token, and nobody can take that task back. The page does not name it yet."""
    RUNNING = "running"
    """User code, in the window of the interrupt."""
    STOPPING = "stopping"
    """The interrupt was raised in the user's code, which goes on for a while."""
    ENDED = "ended"
    """The row is written; the page still names the task."""
    SPOILED = "spoiled"
    """It has leftovers, and waits to be killed."""
    DEAD = "dead"


class SimProcess(Steps):
    """What an executor does by itself. `SimExecutor` is what its worker sees of it."""

    def __init__(
        self, host: SimHost, number: int, worker: str, tell: Callable[[LocalMessage], None]
    ) -> None:
        super().__init__(host, number, worker, tell)
        self.pid = host.next_pid()
        self.stage = Stage.STARTING
        self._bodies: dict[int, Task] = {}
        """Tasks whose tokens are in the pipe, in order."""
        self._functions: dict[bytes, None] = {}
        self._last_ordinal = 0
        self._task: Task | None = None
        self._run: Run | None = None
        self._running = self._answered = self._ended = self._wish = self._armed = 0
        self._started_s = 0.0
        self._doom: How | None = None
        """What the death is that is on its way."""
        self._base_rss_bytes = self._peak_rss_bytes = BASE_RSS_BYTES
        self._begun = 0
        self._waits = False
        """Its task has returned, and waits for room: no C code runs any more."""
        self.is_vain = False
        """It counts as one that died with tasks at hand and none begun."""
        self._after(host.start_delay_s(), self._come_up)

    def _rss_bytes(self) -> int:
        """Its memory now."""
        return max(self._base_rss_bytes, 0 if self._run is None else self._run.plan.rss_bytes)

    # --- its own steps ----------------------------------------------------------------------

    def _come_up(self) -> None:
        if self._host.start_fails(self.worker):
            self._die("exit code 1 before it was ready", 1, None, How.CRASHED)
            return
        self.stage = Stage.IDLE
        self._write(ExecutorUp(self.number, self.pid))
        self._claim()

    def _claim(self) -> None:
        """Read the next token, if there is one: from now on nobody takes that task back."""
        self.objects.hear()
        if not self._bodies:
            self.stage = Stage.IDLE
            return
        ordinal = next(iter(self._bodies))
        self._task = self._bodies.pop(ordinal)
        self._armed = ordinal
        self.stage = Stage.CLAIMED
        self._after(self._delay_s(), self._begin)

    def _begin(self) -> None:
        assert self._task is not None
        if self._truth.tasks[self._task.task_id].plan.kills_receiver:
            self._die("killed by SIGKILL: out of memory", None, 9, How.CRASHED)
            return
        ordinal = self._running = self._armed
        self._started_s = self._host.clock()
        self._begun += 1
        self._truth.check_recycled(self, self._begun)
        run = self._run = self._truth.begin(self, ordinal, self._task)
        is_open = self.objects.begin(run, self._task, self._truth.names_for(run.task_id))
        if not is_open:
            run.ending = Ending.BAD_ARGUMENTS
        self.stage = Stage.RUNNING
        for _ in range(run.plan.prints):
            self._write(TaskOutput(run.task_id, "stdout", f"{run.task_id}\n"))
        self._peak_rss_bytes = max(self._peak_rss_bytes, self._rss_bytes())
        if self._wish == ordinal:
            self._hit()
        elif not is_open:
            self._end()
        elif run.ending is not Ending.NEVER:
            self._after(run.plan.run_s, self._end)

    def _end(self) -> None:
        """The task comes to the end that was planned for it."""
        run = self._run
        assert run is not None
        if run.ending is Ending.EXIT:
            self._die("exit code 3", 3, None, How.DIED)
        elif run.ending is Ending.CRASH:
            self._die("killed by SIGSEGV", None, 11, How.DIED)
        elif self._wish == self._running and run.plan.style is Style.IN_C:
            self._hit()  # the handler runs as soon as the C code has returned
        elif run.ending is Ending.VALUE or run.ending is Ending.BAD_VALUE_HERE:
            self._return(self.objects.waiting(run))
        else:
            assert run.ending in FAILS, run.ending
            self._finish(RowStatus.FAILED, How.RAISED)

    def _return(self, pauses: Iterator[float]) -> None:
        """The task has returned: there must be room for what is large of that."""
        run = self._run
        assert run is not None
        try:
            pause_s = next(pauses, None)
        except ObjectStoreFullError:
            run.ending = Ending.NO_ROOM
            self._finish(RowStatus.FAILED, How.RAISED)
            return
        if pause_s is None:
            self._finish(RowStatus.SUCCEEDED, How.VALUE)
        else:
            self._waits = True
            self._after(pause_s, lambda: self._return(pauses))

    def _finish(self, status: RowStatus, how: How, *, unclean: bool = False) -> None:
        """The window of the interrupt is closed; then the row is written."""
        self._armed, self._waits = 0, False
        run, task = self._run, self._task
        assert run is not None
        assert task is not None
        objects = self.objects.write(run) if status is RowStatus.SUCCEEDED else ()
        run.payload = payloads.of(run, status)
        row = TaskRow(
            ordinal=self._running,
            task_id=task.task_id,
            status=status,
            payload=run.payload,
            started_s=self._started_s,
            ended_s=self._host.clock(),
            cpu_s=0.0,
            rss_bytes=self._peak_rss_bytes,
            worker=self.worker,
            pid=self.pid,
            attempt=task.attempt,
            unclean=unclean,
            final=status is RowStatus.FAILED and run.ending in FINAL,
            objects=objects,
        )
        if self._host.stalls():
            self._after(self._delay_s(), lambda: self._answer(row, how))
        else:
            self._answer(row, how)

    def _answer(self, row: TaskRow, how: How) -> None:
        assert self._run is not None
        self._truth.end(self._run, how)
        self._ended = row.ordinal
        self._write(self.objects.frame(row))
        if row.unclean:
            self._run.left_behind = True
            self.stage = Stage.SPOILED
            return
        self.stage = Stage.ENDED
        self._after(self._delay_s(), self._put_back)

    def _put_back(self) -> None:
        """Ready for the next task."""
        if self._run is not None and self._run.plan.leaks:
            self._base_rss_bytes = self._rss_bytes()
        self._run = self._task = None
        self._running = 0
        self._claim()

    # --- the interrupt ----------------------------------------------------------------------

    def _signal(self) -> None:
        """The signal arrives; its handler looks whether the task that runs is meant."""
        if self._sim.now() < self._frozen_until_s:
            self._sim.after(self._frozen_until_s - self._sim.now(), self._signal)
            return
        run = self._run
        if self.stage is not Stage.RUNNING or self._wish != self._armed or run is None:
            return
        if run.plan.style is Style.IN_C and not self._waits:
            return  # the handler would run when the C code returns: with the task's end
        if run.plan.style is Style.IN_C_AT_FIRST and not self._waits:
            left_s = self._started_s + run.plan.unwind_s - self._host.clock()
            if left_s > 1e-9:
                self._sim.after(left_s, self._signal)
                return
        self._hit()

    def _hit(self) -> None:
        """`TaskInterrupt` is raised in the user's code."""
        run = self._run
        assert run is not None
        style = run.plan.style
        self._answered, self._armed, self._waits = self._running, 0, False
        self.stage = Stage.STOPPING
        run.interrupted = True
        self.objects.write_in_vain(run)
        if style is Style.HANGS:
            self._cancel_step()
        elif style in (Style.UNWINDS_SLOWLY, Style.RETURNS, Style.RAISES):
            self._after(run.plan.unwind_s, self._unwound)
        else:
            self._after(self._delay_s(), self._unwound)

    def _unwound(self) -> None:
        run = self._run
        assert run is not None
        if run.plan.style is Style.RETURNS:
            self._return(self.objects.waiting(run))
        elif run.plan.style is Style.DIES:
            self._die("killed by SIGABRT", None, 6, How.DIED)
        else:
            unclean = run.plan.style is Style.LEAVES
            self._finish(RowStatus.INTERRUPTED, How.INTERRUPTED, unclean=unclean)

    # --- its end ----------------------------------------------------------------------------

    def crash(self) -> None:
        """Something outside of the cluster kills it."""
        if self.stage is not Stage.DEAD and not self._hangs(self.crash):
            self._die("killed by SIGKILL", None, 9, How.CRASHED)

    def lose(self) -> None:
        """It goes with its launcher, by nobody's fault."""
        if self.stage is not Stage.DEAD:
            self._die("its launcher died", None, 9, How.LOST)

    def vanish(self) -> None:
        """Its host is gone. Nobody is there to be told."""
        self._cancel_step()
        if self.stage is not Stage.DEAD:
            self._truth.die(self, self._run, How.LOST)
            self.stage = Stage.DEAD
        self.objects.end()
        self.objects.port.close()

    @property
    def is_alive(self) -> bool:
        """Whether there is still a process."""
        return self.stage is not Stage.DEAD

    def claims(self, task_id: int) -> bool:
        """Whether it has the task's token, but not begun with it."""
        is_claimed = self.stage is Stage.CLAIMED and self._task is not None
        return is_claimed and self._task.task_id == task_id  # type: ignore[union-attr]

    def ignores_stop(self, task_id: int) -> bool:
        """Whether it runs the task, and was not told to stop it."""
        if self.stage is not Stage.RUNNING or self._run is None or self._run.task_id != task_id:
            return False
        return self._wish != self._running and self._doom is None

    @property
    def has_claims(self) -> bool:
        """Whether tasks are here that have not begun."""
        return bool(self._bodies) or self.stage is Stage.CLAIMED

    @property
    def unbegun(self) -> list[int]:
        """The ordinals of those that can be taken back."""
        return [*self._bodies]

    def _killed(self) -> None:
        if self.stage is not Stage.DEAD and not self._hangs(self._killed):
            self._die("killed by SIGKILL", None, 9, self._doom or How.KILLED)

    def _hangs(self, again: Callable[[], None]) -> bool:
        """Whether it does not die, for it is in the kernel; then have `again` called."""
        run = self._run
        if run is None or run.how is not None or not run.plan.stuck_s:
            return False
        now_s = self._sim.now()
        if run.stuck_s == math.inf:
            run.stuck_s = now_s
            self._cancel_step()
            self._truth.marks["an executor could not be killed"] += 1
        left_s = run.stuck_s + run.plan.stuck_s - now_s
        if left_s <= 0:
            return False
        self._sim.after(left_s, again)
        return True

    def _die(self, cause: str, code: int | None, signal: int | None, how: How) -> None:
        """The process is gone. What it has written is read before that is told."""
        self._cancel_step()
        if self._doom is How.TOO_LARGE and how is not How.LOST:
            how = How.TOO_LARGE  # that is why its worker says it died
        self._truth.die(self, self._run, how)
        self.stage = Stage.DEAD
        self.objects.end()
        gone = ExecutorExited(self.number, cause, code, signal, blameless=how is How.LOST)
        self._host.node.after(self._host.kill_delay_s(), self._reaped, gone)

    def _reaped(self, gone: ExecutorExited) -> None:
        self._host.forget(self)
        self._read()
        if not self._is_known_up and not gone.blameless:
            self._truth.failed_starts[self.worker] += 1
        self._tell(gone)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.worker}/{self.number}: {self.stage.value}>"
