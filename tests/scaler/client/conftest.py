"""Futures without a cluster: a session that a test answers by hand."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scaler.client.callbacks import CallbackThread
from scaler.client.future import CancelOutcome, ScalerFuture
from scaler.objects.store import ObjectStore
from scaler.protocol.tasks import RowStatus, TaskRow
from scaler.serialization.exceptions import dump_exception
from tests.no_memory import NoFile

BOUND_S = 10.0


def until(condition: Callable[[], Any], bound_s: float = BOUND_S) -> None:
    """Wait for a condition, with a bound."""
    deadline_s = time.monotonic() + bound_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline_s, "not within the bound"
        pause.wait(0.001)


class HandSession:
    """Answers each cancel at once with `answer`, and keeps what it was asked."""

    def __init__(self) -> None:
        self.cancel_finished = True
        self.objects = ObjectStore(NoFile())
        self.answer = CancelOutcome.CANCELED
        self.requests: list[tuple[Any, ...]] = []
        self.sent: list[tuple[Any, ...]] = []
        self.refuses_to_wait: Exception | None = None
        self.callbacks = CallbackThread("callbacks-of-a-test")

    def cancel(
        self, future: ScalerFuture, force: bool, timeout_s: float, grace_s: float | None
    ) -> bool:
        self.requests.append((future.task_id, force, timeout_s, grace_s))
        if self.answer is CancelOutcome.FAILED:
            future.set_cancel_refused()
        else:
            future.set_cancel_confirmed(self.answer)
        return future.cancelled()

    async def acancel(
        self, future: ScalerFuture, force: bool, timeout_s: float, grace_s: float | None
    ) -> bool:
        return self.cancel(future, force, timeout_s, grace_s)

    def cancel_soon(self, future: ScalerFuture, force: bool, grace_s: float | None) -> None:
        self.sent.append((future.task_id, force, grace_s))

    def call_back(self, future: ScalerFuture) -> None:
        self.callbacks.call([future])

    def check_may_wait(self) -> None:
        if self.refuses_to_wait is not None:
            raise self.refuses_to_wait

    # What tests make.

    def future(self, task_id: int = 7, submitted_s: float = 0.5) -> ScalerFuture:
        return ScalerFuture(task_id, self, submitted_s)

    def futures(self, count: int) -> list[ScalerFuture]:
        return [self.future(number) for number in range(count)]

    def row(
        self,
        value: Any = None,
        *,
        error: BaseException | None = None,
        status: RowStatus = RowStatus.SUCCEEDED,
        payload: bytes | None = None,
    ) -> TaskRow:
        if error is not None:
            status, payload = RowStatus.FAILED, dump_exception(error, note="on worker-1")
        return TaskRow(
            ordinal=1,
            task_id=7,
            status=status,
            payload=pickle.dumps(value) if payload is None else payload,
            started_s=1.5,
            ended_s=4.0,
            cpu_s=0.25,
            rss_bytes=1000,
            worker="worker-1",
            pid=42,
            attempt=1,
        )


@pytest.fixture
def session() -> Iterator[HandSession]:
    made = HandSession()
    yield made
    assert made.callbacks.close(BOUND_S)


@pytest.fixture
def wait_until() -> Callable[..., None]:
    return until


@pytest.fixture
def in_thread() -> Iterator[Callable[..., threading.Thread]]:
    """Start threads that must end within the test's bound; their errors fail the test."""
    threads: list[threading.Thread] = []
    errors: list[BaseException] = []

    def start(fn: Callable[..., Any], *args: Any) -> threading.Thread:
        def guarded() -> None:
            try:
                fn(*args)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=guarded, daemon=True)
        threads.append(thread)
        thread.start()
        return thread

    yield start
    for thread in threads:
        thread.join(BOUND_S)
        assert not thread.is_alive()
    assert errors == []
