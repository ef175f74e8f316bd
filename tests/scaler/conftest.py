"""A live executor behind its port, driven from the test's own thread."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actors import Launcher, LocalMessage, Poller
from scaler.objects.file import open_shared_file
from scaler.objects.store import ObjectStore
from scaler.protocol.tasks import Function, Task, TaskPolicy, TaskRow
from scaler.serialization.functions import FunctionPickler
from scaler.serialization.values import dump_arguments, dump_items
from scaler.worker.objects import PortObjects
from scaler.worker.port import ExecutorExited, ExecutorPrinted, ExecutorRows, ExecutorUp
from scaler.worker.process import ExecutorProcess

BOUND_S = 20.0


class Bench:
    """One poller, one launcher, and executors that are sent functions."""

    def __init__(self) -> None:
        self.poller = Poller()
        self.poller.on_error = self._raise
        self.launcher = Launcher(preload=("scaler.executor.main", "cloudpickle"))
        self.launcher.attach(self.poller)
        self.objects = ObjectStore(open_shared_file())
        self.errors: list[BaseException] = []
        self.executors: list[Driven] = []

    def start(self, number: int = 1) -> Driven:
        executor = Driven(self, number)
        self.executors.append(executor)
        return executor

    def until(self, condition: Callable[[], Any], bound_s: float = BOUND_S) -> Any:
        deadline_s = time.monotonic() + bound_s
        while not (value := condition()):
            assert time.monotonic() < deadline_s, "not within the bound"
            self.poller.poll(0.002)
            if self.errors:
                raise self.errors[0]
        return value

    def pass_s(self, duration_s: float) -> None:
        """Run the poller for so long, to see that something does not happen."""
        end_s = time.monotonic() + duration_s
        while time.monotonic() < end_s:
            self.poller.poll(0.002)

    def close(self) -> None:
        self.launcher.close()
        for executor in self.executors:
            executor.port.close()
        self.poller.close()
        for executor in self.executors:  # their rows hold objects
            executor.rows.clear()
            executor.events.clear()
        self.objects.close()
        if self.errors:
            raise self.errors[0]

    def _raise(self, fd: int, error: BaseException) -> None:
        self.errors.append(error)


class Driven:
    """One incarnation of an executor, and all it has told."""

    def __init__(self, bench: Bench, number: int) -> None:
        self.bench = bench
        self.events: list[LocalMessage] = []
        self.rows: dict[int, TaskRow] = {}
        self.printed: list[tuple[str, str]] = []
        self.pid = 0
        self.exited: ExecutorExited | None = None
        self.port = ExecutorProcess(
            number,
            "worker-1",
            bench.poller,
            bench.launcher,
            self._on_event,
            PortObjects(bench.objects, 0),
        )
        self._ordinals = itertools.count(1)
        self._pickler = FunctionPickler()
        self._sent: dict[bytes, Function] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> int:
        return self.send(fn, [dump_arguments(args, kwargs)])[0]

    def submit_chunk(self, fn: Callable[..., Any], items: list[tuple[Any, ...]]) -> int:
        return self.send(fn, [dump_items(items)], chunked=True)[0]

    def send(
        self,
        fn: Callable[..., Any],
        payloads: list[bytes],
        *,
        chunked: bool = False,
        policy: TaskPolicy | None = None,
    ) -> list[int]:
        function = self._pickler.pickle(fn)
        functions = [] if function.function_id in self._sent else [function]
        self._sent[function.function_id] = function
        ordinals = list(itertools.islice(self._ordinals, len(payloads)))
        tasks = [
            Task(1000 + ordinal, function.function_id, payload, chunked, policy=policy)
            for ordinal, payload in zip(ordinals, payloads, strict=True)
        ]
        self.port.send(ordinals, tasks, functions)
        return ordinals

    def row(self, ordinal: int) -> TaskRow:
        self.bench.until(lambda: ordinal in self.rows or self.exited)
        assert ordinal in self.rows, self.exited
        return self.rows[ordinal]

    def run(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> TaskRow:
        return self.row(self.submit(fn, *args, **kwargs))

    def interrupted(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> TaskRow:
        """Interrupt `fn` once it prints; return its row."""
        ordinal = self.submit(fn, *args, **kwargs)
        self.bench.until(lambda: self.printed)
        self.port.interrupt(ordinal)
        with contextlib.suppress(AssertionError):
            self.bench.until(lambda: ordinal in self.rows or self.exited, BOUND_S / 4)
        if ordinal not in self.rows:  # it came at the door of a system call: see `Cancels.sign_due`
            self.port.interrupt(ordinal)
        return self.row(ordinal)

    def exit(self) -> ExecutorExited:
        exited: ExecutorExited = self.bench.until(lambda: self.exited)
        return exited

    def _on_event(self, event: LocalMessage) -> None:
        assert self.exited is None, f"{event} after the exit"
        assert event.number == self.port.number  # type: ignore[attr-defined]
        self.events.append(event)
        if isinstance(event, ExecutorUp):
            self.pid = event.pid
        elif isinstance(event, ExecutorRows):
            for row in event.rows:
                assert row.ordinal not in self.rows, f"two rows of {row.ordinal}"
                self.rows[row.ordinal] = row
        elif isinstance(event, ExecutorPrinted):
            self.printed += [(output.stream, output.text) for output in event.outputs]
        elif isinstance(event, ExecutorExited):
            self.exited = event


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def executor(bench: Bench) -> Driven:
    return bench.start()
