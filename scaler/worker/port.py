"""What a worker knows of its executor: a port to act through, and events that come back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from actors import LocalMessage
from scaler.protocol.tasks import Function, Remains, Task, TaskOutput, TaskRow


class ExecutorUp(LocalMessage, frozen=True):
    """It reads claims now."""

    number: int
    pid: int


class ExecutorRows(LocalMessage, frozen=True):
    """Attempts ended, in this order."""

    number: int
    rows: tuple[TaskRow, ...]

    def remains(self) -> Remains:
        """Keep no results."""
        return Remains("ExecutorRows", tuple([row.task_id for row in self.rows]))


class ExecutorPrinted(LocalMessage, frozen=True):
    """Tasks printed. Comes before the rows of those tasks."""

    number: int
    outputs: tuple[TaskOutput, ...]


class ExecutorWaits(LocalMessage, frozen=True):
    """It waits for room in the shared memory, for the result of the task that runs."""

    number: int


class ExecutorExited(LocalMessage, frozen=True):
    """It is gone and reaped, and so is its process group. Always the last event of a port."""

    number: int
    cause: str
    """In words: `exit code 3`, `killed by SIGKILL`, what was wrong with what it sent; where it
    tells anything, with the last lines of its stderr."""
    code: int | None
    signal: int | None
    blameless: bool = False
    """It went with the launcher of all executors: no task is to blame."""


class ExecutorPort(Protocol):
    """One incarnation of an executor. Nothing blocks; used on the node's thread only.

    Events are told to the worker; `number` stands in each, so that those of an executor that was
    given up can be told from those of its successor.
    """

    number: int

    def send(
        self,
        ordinals: Sequence[int],
        tasks: Sequence[Task],
        functions: Sequence[Function] = (),
        dropped: Sequence[int] = (),
        forgotten: Sequence[bytes] = (),
    ) -> None:
        """Send tasks, under ascending ordinals from 1 on. Works before the executor is up.

        Args:
            ordinals: one for each task; never used twice in one incarnation.
            tasks: what to run, in this order.
            functions: those that the executor does not have yet.
            dropped: ordinals taken back since the last call.
            forgotten: function ids that no outstanding task names.
        """

    def take_back(self, ordinals: Sequence[int]) -> tuple[int, ...]:
        """Return those that have not begun; they never will here. The rest has, or has ended."""

    def running(self) -> int:
        """Return the ordinal that runs now (or ran when the executor died), 0: none."""

    def running_for(self) -> float:
        """Return for how many seconds it has been running, 0 if it only waits to send its row."""

    def item(self) -> int:
        """Return the index within the chunk that runs."""

    def rss_bytes(self) -> int:
        """Return its resident memory now, 0 where nobody knows."""

    def answered(self) -> int:
        """Return the last ordinal whose interrupt was seen by the executor, 0: none."""

    def interrupt(self, ordinal: int) -> None:
        """Raise `TaskInterrupt` in that task, if it runs or will; otherwise nothing happens."""

    def kill(self) -> None:
        """Kill the executor and all processes of its group. `ExecutorExited` follows."""

    def close(self) -> None:
        """Give memory and descriptors back. Call after `ExecutorExited`; again is fine."""


class NoExecutor:
    """The `ExecutorPort` of a worker between two executors: it has no task and does nothing."""

    number = 0

    def send(
        self,
        ordinals: Sequence[int],
        tasks: Sequence[Task],
        functions: Sequence[Function] = (),
        dropped: Sequence[int] = (),
        forgotten: Sequence[bytes] = (),
    ) -> None:
        """Nobody sends here: the worker holds its tasks."""
        raise AssertionError("tasks were sent while there was no executor")

    def take_back(self, ordinals: Sequence[int]) -> tuple[int, ...]:
        """Return nothing."""
        return ()

    def running(self) -> int:
        """Return 0."""
        return 0

    def running_for(self) -> float:
        """Return 0."""
        return 0.0

    def item(self) -> int:
        """Return 0."""
        return 0

    def rss_bytes(self) -> int:
        """Return 0."""
        return 0

    def answered(self) -> int:
        """Return 0."""
        return 0

    def interrupt(self, ordinal: int) -> None:
        """Nothing runs."""

    def kill(self) -> None:
        """Nothing runs; no event follows."""

    def close(self) -> None:
        """Nothing is open."""
