from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest

from scaler.client.future import ScalerFuture
from scaler.client.notebook import CellFuture, future_factory
from scaler.client.output import OutputThread
from scaler.protocol.tasks import TaskOutput

BOUND_S = 10.0
FUTURE: Any = ScalerFuture(1, None)  # type: ignore[arg-type]


@pytest.fixture
def thread() -> Iterator[OutputThread]:
    made = OutputThread("output-of-the-test")
    yield made
    made.close(BOUND_S)


def out(text: str, stream: str = "stdout") -> TaskOutput:
    return TaskOutput(1, stream, text)


def wait(thread: OutputThread) -> None:
    written = Event()
    thread.after(written.set)
    assert written.wait(BOUND_S)


class Pipe(io.StringIO):
    """Remembers what was written before each flush."""

    def __init__(self) -> None:
        super().__init__()
        self.flushed = ""

    def flush(self) -> None:
        self.flushed = self.getvalue()


def test_outputs_are_written_in_order_and_flushed_before_what_comes_after(
    thread: OutputThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdout, stderr = Pipe(), Pipe()
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "stderr", stderr)
    seen = []
    thread.show(FUTURE, out("one\n"))
    thread.show(FUTURE, out("two\n", "stderr"))
    thread.show(FUTURE, out("three\n"))
    thread.after(lambda: seen.append((stdout.flushed, stderr.flushed)))
    wait(thread)
    assert seen == [("one\nthree\n", "two\n")]


def test_closing_writes_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = Pipe()
    monkeypatch.setattr(sys, "stdout", stdout)
    thread = OutputThread("output-of-the-test")
    for _ in range(100):
        thread.show(FUTURE, out("line\n"))
    thread.close(BOUND_S)
    assert stdout.flushed == "line\n" * 100


def test_a_stream_that_fails_is_named_once_and_nothing_waits_for_it(
    thread: OutputThread, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    closed = Pipe()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    with caplog.at_level(logging.WARNING, "scaler"):
        for _ in range(3):
            thread.show(FUTURE, out("lost\n"))
        wait(thread)
    assert len(caplog.records) == 1
    assert "closed" in caplog.text


def test_a_program_without_streams_loses_the_output_and_nothing_else(
    thread: OutputThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    thread.show(FUTURE, out("lost\n"))
    wait(thread)
    back = io.StringIO()
    monkeypatch.setattr(sys, "stdout", back)
    thread.show(FUTURE, out("shown\n"))
    wait(thread)
    assert back.getvalue() == "shown\n"


def test_when_no_thread_can_be_started_any_more_outputs_are_written_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_self: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    stdout = Pipe()
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr("threading.Thread.start", refuse)
    thread = OutputThread("output-of-the-test")
    thread.show(FUTURE, out("last words\n"))
    after = []
    thread.after(lambda: after.append(stdout.getvalue()))
    thread.close(BOUND_S)
    assert after == ["last words\n"]


def test_only_in_a_kernel_a_future_knows_its_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert future_factory() is ScalerFuture
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    future = future_factory()(1, FUTURE, 0.0)
    assert isinstance(future, CellFuture)
    assert future.context.run(lambda: "shown there") == "shown there"


def test_after_its_end_nothing_is_shown_and_nobody_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stdout = Pipe()
    monkeypatch.setattr(sys, "stdout", stdout)
    thread = OutputThread("output-of-the-test")
    thread.close(BOUND_S)
    thread.show(FUTURE, out("late\n"))
    wait(thread)
    assert stdout.getvalue() == ""
