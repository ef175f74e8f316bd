"""The real executor port: a child of the launcher, three pipes, a shared page."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from actors import ExitStatus, Launcher, LocalMessage, Poller
from scaler.limits import OUTPUT_BYTES
from scaler.protocol.executor import (
    INTERRUPT_SIGNAL,
    ExecutorFrame,
    ExecutorReady,
    RoomFrame,
    RowFrame,
    RunTasks,
    ViewsFrame,
)
from scaler.protocol.tasks import Function, Task, TaskOutput, TaskRow
from scaler.worker.answers import AnswersPipe
from scaler.worker.memory import OomKills, rss_bytes
from scaler.worker.objects import PortObjects
from scaler.worker.pipes import Pipes
from scaler.worker.port import (
    ExecutorExited,
    ExecutorPrinted,
    ExecutorRows,
    ExecutorUp,
    ExecutorWaits,
)
from scaler.worker.stderr import StderrPipe, show_here
from scaler.worker.tasks import TasksPipe

_ENTRY: Final = "scaler.executor.main:main"
_OOM_KILLS: Final = OomKills()
"""One for the process: a kill that one executor died of explains no other's death."""


class ExecutorProcess:
    """An `ExecutorPort` on a process of its own. See there what the methods do."""

    def __init__(
        self,
        number: int,
        worker: str,
        poller: Poller,
        launcher: Launcher,
        tell: Callable[[LocalMessage], None],
        objects: PortObjects,
        oom_kills: OomKills = _OOM_KILLS,
    ) -> None:
        """Start the executor, without waiting for it.

        Args:
            number: of this incarnation.
            worker: name of its worker.
            poller: of the node whose thread uses this port.
            launcher: what starts the process.
            tell: gets the events, on the node's thread.
            objects: its part of the shared memory.
            oom_kills: what tells kills for memory from others.

        Raises:
            LaunchError: the launcher is gone.
            OSError: no descriptor or no memory is left.
        """
        self.number = number
        self._poller = poller
        self._launcher = launcher
        self._tell = tell
        self._pid = 0
        """As it says itself when it is up; its launcher may say so later."""
        self._has_ended = False
        """No more answers come, and nothing need be sent."""
        self._has_exited = self._is_closed = False
        self._last_told = 0
        """Ordinal of the last row that was told."""
        self._is_unwanted = False
        """The worker has ordered its death."""
        self._fault = ""
        self._pipes = pipes = Pipes(objects.fds)
        self._page = pipes.page
        self._tasks = TasksPipe(poller, pipes.tasks_fd, pipes.claims)
        self._answers = AnswersPipe(pipes.answers_fd)
        self._stderr = StderrPipe(pipes.stderr_fd)
        self._oom_kills = oom_kills
        self._objects = objects
        payload = msgspec.msgpack.encode(objects.begin(worker, self._tell_freed))
        try:
            poller.add_reader(pipes.answers_fd, self._read)
            poller.add_reader(pipes.stderr_fd, self._on_stderr)
            self._child = launcher.launch(_ENTRY, payload, pipes.theirs, on_exit=self._on_exit)
        except BaseException:
            poller.remove_reader(pipes.answers_fd)
            poller.remove_reader(pipes.stderr_fd)
            pipes.close()
            objects.close()
            raise
        finally:
            pipes.close_theirs()
        self._oom_before = oom_kills.look(launcher.pid)  # while the launcher forks

    def __repr__(self) -> str:
        state = "exited" if self._has_exited else "up" if self._pid else "starting"
        return f"<ExecutorProcess {self.number} pid={self._pid}: {state}>"

    def send(
        self,
        ordinals: Sequence[int],
        tasks: Sequence[Task],
        functions: Sequence[Function] = (),
        dropped: Sequence[int] = (),
        forgotten: Sequence[bytes] = (),
    ) -> None:
        """Send tasks; what the pipe has no room for is sent later."""
        if not self._is_closed:
            columns = tuple(ordinals), self._objects.sent(ordinals, tasks), tuple(functions)
            freed = self._objects.take_freed()
            self._tasks.send(RunTasks(*columns, tuple(dropped), tuple(forgotten), freed))

    def _tell_freed(self) -> None:
        """Have the executor give memory back, also if it waits for a task."""
        self.send((), ())
        self._pipes.claims.knock()

    def take_back(self, ordinals: Sequence[int]) -> tuple[int, ...]:
        """Return those that have not begun; they never will here. The rest has, or has ended."""
        return () if self._is_closed else self._objects.taken_back(self._tasks.take_back(ordinals))

    def running(self) -> int:
        """Return the ordinal that runs now (or ran when the executor died), 0: none."""
        return 0 if self._is_closed else self._page.running

    def running_for(self) -> float:
        """Return for how many seconds it has been running, 0 if it only waits to send its row."""
        if self._is_closed or self._page.ended == self._page.running:
            return 0.0
        return time.monotonic() - self._page.started_ns / 1e9

    def item(self) -> int:
        """Return the index within the chunk that runs."""
        return 0 if self._is_closed else self._page.item

    def rss_bytes(self) -> int:
        """Return its resident memory now, 0 where nobody knows."""
        return 0 if self._has_exited or self._is_closed else rss_bytes(self._pid)

    def answered(self) -> int:
        """Return the last ordinal whose interrupt was seen by the executor, 0: none."""
        return 0 if self._is_closed else self._page.answered

    def interrupt(self, ordinal: int) -> None:
        """Raise `TaskInterrupt` in that task, if it runs or will; otherwise nothing happens."""
        if self._has_exited or self._is_closed:
            return
        self._page.interrupt = ordinal  # looked at when a task begins, so too early is fine
        self._launcher.signal(self._child, INTERRUPT_SIGNAL)

    def kill(self) -> None:
        """Kill the executor and all processes of its group. `ExecutorExited` follows."""
        self._is_unwanted = True
        self._launcher.kill(self._child)

    def close(self) -> None:
        """Give memory and descriptors back; the executor ends by itself if it still runs."""
        if self._is_closed:
            return
        self._is_closed = True
        self._stop_listening()
        self._poller.remove_reader(self._pipes.stderr_fd)
        self._pipes.close()
        self._objects.close()

    def _read(self) -> bool:
        """Read a bounded part of what is there and tell it; return whether more may come."""
        try:
            frames, may_come = self._answers.read()
            self._handle(frames)
        except Exception as error:  # a bug of ours; the poller would only stop listening
            self._give_up(f"its message could not be handled: {error!r}")
            return False
        if self._answers.fault:
            self._give_up(self._answers.fault)
        elif self._answers.has_ended:  # dead; or a task closed the pipe: it is of no use any more
            self._stop_listening()
            self._launcher.kill(self._child)
        return may_come

    def _handle(self, frames: list[ExecutorFrame]) -> None:
        rows: list[TaskRow] = []
        outputs: list[TaskOutput] = []
        has_row = False
        for frame in frames:
            if isinstance(frame, RowFrame):
                self._tell_outputs(outputs)
                if not has_row:  # what tasks wrote to their stderr comes before their rows
                    has_row = True
                    self._pass_stderr(frame.row.task_id, to_end=True)
                self._stderr.last_lines.forget()
                self._objects.row_came(frame)
                rows.append(frame.row)
            elif isinstance(frame, ExecutorReady):
                self._pid = frame.pid
                self._tell(ExecutorUp(self.number, frame.pid))
            elif isinstance(frame, RoomFrame):
                self._tell(ExecutorWaits(self.number))
                self._objects.store.press(frame.size_bytes)
            elif isinstance(frame, ViewsFrame):
                self._objects.let_go(frame.dropped)
            else:
                self._tell_rows(rows)
                outputs.append(frame.output)
                if frame.output.stream == "stderr":
                    self._stderr.last_lines.feed(frame.output.text.encode())
        self._tell_outputs(outputs)
        self._tell_rows(rows)

    def _tell_rows(self, rows: list[TaskRow]) -> None:
        if rows:
            self._last_told = rows[-1].ordinal
            self._tell(ExecutorRows(self.number, tuple(rows)))
            rows.clear()

    def _tell_outputs(self, outputs: list[TaskOutput]) -> None:
        if outputs:
            self._tell(ExecutorPrinted(self.number, tuple(outputs)))
            outputs.clear()

    def _on_stderr(self) -> None:
        if not self._has_ended:
            self._read()  # what was written before a row is the task's that ended with it
        self._pass_stderr(self._writer())
        if self._stderr.has_ended:
            self._poller.remove_reader(self._pipes.stderr_fd)

    def _writer(self) -> int:
        """Return the id of the task whose output comes now, 0: none runs, or its row was told."""
        running = self._page.running
        return self._page.task_id if running and running != self._last_told else 0

    def _pass_stderr(self, task_id: int, *, to_end: bool = False) -> None:
        """Tell what came over stderr as this task's output; 0: there is none, so show it here."""
        if not self._stderr.has_news():
            return
        text = self._stderr.read(to_end=to_end)
        if task_id:
            starts = range(0, len(text), OUTPUT_BYTES)
            pieces = [text[start : start + OUTPUT_BYTES] for start in starts]
            self._tell_outputs([TaskOutput(task_id, "stderr", piece) for piece in pieces])
        else:
            show_here(text)

    def _give_up(self, reason: str) -> None:
        """Kill an executor that sends what no correct one sends."""
        self._fault = reason
        self._stop_listening()
        self._launcher.kill(self._child)

    def _stop_listening(self) -> None:
        self._has_ended = True
        self._poller.remove_reader(self._pipes.answers_fd)
        self._tasks.stop()

    def _on_exit(self, status: ExitStatus) -> None:
        if not self._is_closed:
            while not self._fault and self._read():
                pass
            self._stop_listening()
            self._pass_stderr(self._writer(), to_end=True)
            self._poller.remove_reader(self._pipes.stderr_fd)
        self._has_exited = True
        blameless = status.launcher_lost
        cause = self._cause(status)
        self._tell(ExecutorExited(self.number, cause, status.code, status.signal, blameless))

    def _cause(self, status: ExitStatus) -> str:
        """Say how it died, and unless it was made to, what it said last."""
        cause = self._fault or status.cause
        if status.launcher_lost or (status.signal == signal.SIGKILL and self._is_unwanted):
            return cause
        if status.signal == signal.SIGKILL and not self._fault:
            now = self._oom_kills.look(self._launcher.pid)
            oom = self._oom_kills.cause(self._oom_before, now)
            cause += f": {oom}" if oom else ""
        lines = self._stderr.last_lines.text()
        return f"{cause}\nlast lines of its stderr:{lines}" if lines else cause
