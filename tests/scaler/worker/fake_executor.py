"""An executor that takes each step when a test says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from actors import LocalMessage
from scaler.protocol.tasks import Function, RowStatus, Task, TaskOutput, TaskRow
from scaler.worker.port import ExecutorExited, ExecutorPrinted, ExecutorRows, ExecutorUp


class Frame(NamedTuple):
    """One call of `send`."""

    ordinals: tuple[int, ...]
    tasks: tuple[Task, ...]
    functions: tuple[Function, ...]
    dropped: tuple[int, ...]
    forgotten: tuple[bytes, ...]


class FakeExecutor:
    """An `ExecutorPort` without a process. `test_port.py` holds it to what the real one does.

    A task waits (its token is in the pipe), is claimed (nobody can take it back), runs (its ordinal
    is in the page), has ended (its row is on the way) and is answered (its row was told). Each step
    is a method: `claim`, `begin`, `finish`, `deliver`; `complete` takes all that are left.

    Attributes:
        frames: what was sent.
        waiting: ordinals that nobody has claimed.
        claimed: the ordinal that was claimed and does not run yet, 0: none.
        page: the ordinal that runs, 0: none.
        undelivered: rows on the way.
        interrupts: ordinals whose interrupt was asked for.
        weighed: how often its memory was looked at.
        kills: how often it was to be killed.
        closed: whether `close` was called.
        rss: its resident memory, bytes.
    """

    def __init__(
        self,
        number: int,
        worker: str,
        tell: Callable[[LocalMessage], None],
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.number = number
        self.worker = worker
        self.pid = 1000 + number
        self.frames: list[Frame] = []
        self.tasks: dict[int, Task] = {}
        self.waiting: list[int] = []
        self.claimed = 0
        self.page = 0
        self.page_item = 0
        self.undelivered: list[TaskRow] = []
        self.interrupts: list[int] = []
        self.kills = 0
        self.closed = False
        self.rss = 0
        self.weighed = 0
        self._peak = 0
        self._wish = 0
        self._answered = 0
        self._started_s = 0.0
        self._tell = tell
        self._clock = clock

    # --- the port ---------------------------------------------------------------------------

    def send(
        self,
        ordinals: Sequence[int],
        tasks: Sequence[Task],
        functions: Sequence[Function] = (),
        dropped: Sequence[int] = (),
        forgotten: Sequence[bytes] = (),
    ) -> None:
        frame = Frame(
            tuple(ordinals), tuple(tasks), tuple(functions), tuple(dropped), tuple(forgotten)
        )
        assert len(frame.ordinals) == len(frame.tasks)
        assert all(ordinal not in self.tasks for ordinal in frame.ordinals), "used twice"
        assert list(frame.ordinals) == sorted(frame.ordinals)
        self.frames.append(frame)
        self.tasks.update(zip(frame.ordinals, frame.tasks, strict=True))
        self.waiting += frame.ordinals

    def take_back(self, ordinals: Sequence[int]) -> tuple[int, ...]:
        if self.closed:
            return ()
        taken = tuple(ordinal for ordinal in dict.fromkeys(ordinals) if ordinal in self.waiting)
        self.waiting = [ordinal for ordinal in self.waiting if ordinal not in taken]
        return taken

    def running(self) -> int:
        return 0 if self.closed else self.page

    def running_for(self) -> float:
        return 0.0 if self.closed else self._clock() - self._started_s

    def item(self) -> int:
        return 0 if self.closed else self.page_item

    def rss_bytes(self) -> int:
        self.weighed += 1
        return 0 if self.closed else self.rss

    def answered(self) -> int:
        return 0 if self.closed else self._answered

    def interrupt(self, ordinal: int) -> None:
        self.interrupts.append(ordinal)
        self._wish = ordinal

    def kill(self) -> None:
        self.kills += 1

    def close(self) -> None:
        self.closed = True

    # --- the steps --------------------------------------------------------------------------

    def up(self) -> None:
        """It reads claims now."""
        self._tell(ExecutorUp(self.number, self.pid))

    def claim(self) -> int:
        """Read the next token: from now on nobody takes that task back."""
        assert not self.claimed
        self.claimed = self.waiting.pop(0)
        return self.claimed

    def begin(self) -> int:
        """Write the claimed task's ordinal into the page; claim one before if none is."""
        assert not self.page
        self.page = self.claimed or self.claim()
        self.claimed = 0
        self._started_s = self._clock()
        return self.page

    def answer_interrupt(self) -> None:
        """The handler runs, in the task that runs: the sign of life."""
        assert self._wish == self.page != 0, f"{self._wish} was wished, {self.page} runs"
        self._answered = self.page

    def finish(
        self,
        status: RowStatus = RowStatus.SUCCEEDED,
        payload: bytes = b"value",
        *,
        unclean: bool = False,
    ) -> int:
        """The running task ends; its row is on the way. After an unclean one nothing runs."""
        ordinal = self.page
        task = self.tasks[ordinal]
        self._peak = max(self._peak, self.rss)
        row = TaskRow(
            ordinal=ordinal,
            task_id=task.task_id,
            status=status,
            payload=payload,
            started_s=self._started_s,
            ended_s=self._clock(),
            cpu_s=0.0,
            rss_bytes=self._peak,
            worker=self.worker,
            pid=self.pid,
            attempt=task.attempt,
            unclean=unclean,
        )
        self.undelivered.append(row)
        if not unclean:
            self.page = 0
        return ordinal

    def deliver(self) -> tuple[TaskRow, ...]:
        """Tell the rows that are on the way, all in one message."""
        rows, self.undelivered = tuple(self.undelivered), []
        if rows:
            self._tell(ExecutorRows(self.number, rows))
        return rows

    def complete(
        self, status: RowStatus = RowStatus.SUCCEEDED, *, unclean: bool = False
    ) -> TaskRow:
        """Bring the task that runs, or the next one, to its end."""
        if not self.page:
            self.begin()
        self.finish(status, unclean=unclean)
        return self.deliver()[-1]

    def unwind(self, *, unclean: bool = False) -> TaskRow:
        """The interrupt unwinds the task that runs."""
        self.answer_interrupt()
        self.finish(RowStatus.INTERRUPTED, b"", unclean=unclean)
        return self.deliver()[-1]

    def print(self, text: str) -> None:
        """The running task prints."""
        output = TaskOutput(self.tasks[self.page].task_id, "stdout", text)
        self._tell(ExecutorPrinted(self.number, (output,)))

    def exit(
        self,
        cause: str = "killed by SIGKILL",
        *,
        signal: int | None = 9,
        blameless: bool = False,
    ) -> None:
        """It is gone. What was on the way is told before."""
        self.deliver()
        self._tell(ExecutorExited(self.number, cause, None, signal, blameless))
