"""What is known about one chapter of chaos: what was asked for, what was done to it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Expect(Enum):
    """How a task ends if nobody hits or cancels it."""

    VALUE = "a value"
    OWN_ERROR = "its own exception"
    NOT_PICKLED = "SerializationError"
    TIMEOUT = "TaskTimeoutError"
    DEATH = "WorkerDiedError"


class Target(Enum):
    """What was hit."""

    EXECUTOR = "executor"
    LAUNCHER = "launcher"


@dataclass
class Blow:
    """A kill. It happened between the two times."""

    target: Target
    pid: int
    before_ns: int
    after_ns: int | None = None

    def happened_within(self, from_ns: int, to_ns: int) -> bool:
        """Whether it may have happened then."""
        return self.before_ns <= to_ns and (self.after_ns is None or from_ns <= self.after_ns)


@dataclass
class Ticket:
    """One task: what was submitted, and what came of it."""

    index: int
    kind: str
    expects: Expect
    value: Any = None
    max_attempts: int = 3
    own_failures: int = 0
    """How often it raises before it returns; so often it may be tried again."""
    own_crashes: int = 0
    """How often it takes its executor down before it returns."""
    limit_s: float | None = None
    """Its timeout or deadline, the smaller one."""
    lines: int = 0
    """How many it prints."""
    submitted_ns: int = field(default_factory=time.monotonic_ns)
    resolved_ns: int = 0
    """When its callback was called."""
    resolutions: int = 0
    """How often its callback was called."""
    cancelled_ns: int | None = None
    """When a cancel of it, or the close of its client, had returned with success."""
    outcome: str = ""
    """What the cancel came to."""
    impatient: bool = False
    """Its cancel did not wait for the answer."""
    answered: bool = False
    result: Any = None
    error: BaseException | None = None
    is_item: bool = False
    """One item of a `map`, whose values are compared there: it has no future of its own."""


class Facts:
    """The record of a chapter. Thread-safe."""

    def __init__(self, tasks: int) -> None:
        """Make an empty record for at most so many tasks."""
        self.tickets: list[Ticket] = []
        self.blows: list[Blow] = []
        self.counts: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.printed: Counter[int] = Counter()
        self.is_full = False
        """No more tasks can be recorded."""
        self._tasks = tasks
        self._next = 0
        self._lock = threading.Lock()

    def indices(self, number: int) -> range | None:
        """Return so many unused indices, or None: there are not as many."""
        with self._lock:
            first = self._next
            if first + number > self._tasks:
                self.is_full = True
                return None
            self._next += number
            return range(first, first + number)

    def add(self, ticket: Ticket) -> Ticket:
        """Note a task."""
        with self._lock:
            self.tickets.append(ticket)
        return ticket

    def begin_blow(self, target: Target, pid: int) -> Blow:
        """Note a kill that is about to happen."""
        blow = Blow(target, pid, time.monotonic_ns())
        with self._lock:
            self.blows.append(blow)
        return blow

    def count(self, what: str, number: int = 1) -> None:
        """Count what was done."""
        with self._lock:
            self.counts[what] += number

    def complain(self, text: str) -> None:
        """Note what must not be."""
        with self._lock:
            self.complaints.append(text)

    def wrote(self, index: int) -> None:
        """Note a line that a task printed."""
        with self._lock:
            self.printed[index] += 1
