"""The poller, on epoll and on poll."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator

import pytest

from actors import Poller


@pytest.fixture(params=["linux", "darwin"], ids=["epoll", "poll"])
def poller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Poller]:
    if request.param == "linux" and sys.platform != "linux":
        pytest.skip("there is no epoll here")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", request.param)
        poller = Poller()
    yield poller
    poller.close()


class Pipe:
    """A pipe that is closed with its test."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.calls = 0

    def read(self) -> None:
        self.calls += 1
        os.read(self.reader, 100)

    def close(self) -> None:
        for fd in (self.reader, self.writer):
            try:
                os.close(fd)
            except OSError:
                pass


@pytest.fixture
def pipes() -> Iterator[list[Pipe]]:
    pipes = [Pipe() for _ in range(3)]
    yield pipes
    for pipe in pipes:
        pipe.close()


def test_what_is_readable_is_read(poller: Poller, pipes: list[Pipe]) -> None:
    for pipe in pipes:
        poller.add_reader(pipe.reader, pipe.read)
    os.write(pipes[0].writer, b"x")
    os.write(pipes[2].writer, b"x")
    assert poller.poll(1) == 2
    assert [pipe.calls for pipe in pipes] == [1, 0, 1]


def test_nothing_ready_returns_zero_after_the_timeout(poller: Poller, pipes: list[Pipe]) -> None:
    poller.add_reader(pipes[0].reader, pipes[0].read)
    before_s = time.monotonic()
    assert poller.poll(0.02) == 0
    assert time.monotonic() - before_s >= 0.019
    assert poller.poll(0) == 0
    assert poller.poll(-1.0) == 0


@pytest.mark.parametrize("timeout_s", [None, 1e12])
def test_a_wait_without_end_ends_when_something_is_ready(
    poller: Poller, pipes: list[Pipe], timeout_s: float | None
) -> None:
    poller.add_reader(pipes[0].reader, pipes[0].read)
    os.write(pipes[0].writer, b"x")
    assert poller.poll(timeout_s) == 1


def test_one_file_descriptor_can_be_read_and_written(poller: Poller) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        calls: list[str] = []
        poller.add_reader(ours.fileno(), lambda: calls.append("read"))
        poller.add_writer(ours.fileno(), lambda: calls.append("write"))
        assert poller.poll(1) == 1
        theirs.send(b"x")
        assert poller.poll(1) == 2
        poller.remove_writer(ours.fileno())
        assert poller.poll(1) == 1
        poller.remove_reader(ours.fileno())
        assert poller.poll(0) == 0
        assert calls == ["write", "read", "write", "read"]


def test_the_end_of_a_file_calls_its_reader(poller: Poller, pipes: list[Pipe]) -> None:
    poller.add_reader(pipes[0].reader, pipes[0].read)
    os.close(pipes[0].writer)
    assert poller.poll(1) == 1


def test_a_broken_pipe_calls_its_writer(poller: Poller, pipes: list[Pipe]) -> None:
    os.set_blocking(pipes[0].writer, False)
    try:
        while True:
            os.write(pipes[0].writer, bytes(65536))
    except BlockingIOError:
        pass
    calls: list[int] = []
    poller.add_writer(pipes[0].writer, lambda: calls.append(1))
    assert poller.poll(0) == 0
    os.close(pipes[0].reader)
    assert poller.poll(1) == 1
    poller.remove_writer(pipes[0].writer)


def test_a_callback_may_remove_another_that_is_due(poller: Poller, pipes: list[Pipe]) -> None:
    first, second, _ = pipes
    calls: list[Pipe] = []

    def take(own: Pipe, other: Pipe) -> None:
        calls.append(own)
        poller.remove_reader(other.reader)

    poller.add_reader(first.reader, lambda: take(first, second))
    poller.add_reader(second.reader, lambda: take(second, first))
    os.write(first.writer, b"x")
    os.write(second.writer, b"x")
    assert poller.poll(1) == 1
    assert len(calls) == 1


def test_a_number_that_is_used_anew_does_not_get_the_old_event(
    poller: Poller, pipes: list[Pipe]
) -> None:
    first, second, fresh = pipes

    def replace(other: Pipe) -> None:
        poller.remove_reader(other.reader)
        os.dup2(fresh.reader, other.reader)
        poller.add_reader(other.reader, lambda: pytest.fail("nothing is there to be read"))

    poller.add_reader(first.reader, lambda: replace(second))
    poller.add_reader(second.reader, lambda: replace(first))
    os.write(first.writer, b"x")
    os.write(second.writer, b"x")
    assert poller.poll(1) == 1


def test_an_error_of_a_callback_is_reported_and_ends_only_its_own_reading(
    poller: Poller, pipes: list[Pipe]
) -> None:
    bad, good, _ = pipes
    errors: list[tuple[int, str]] = []
    poller.on_error = lambda fd, error: errors.append((fd, str(error)))

    def fail() -> None:
        raise SystemExit("broken")

    poller.add_reader(bad.reader, fail)
    poller.add_writer(bad.reader, fail)
    poller.add_reader(good.reader, good.read)
    os.write(bad.writer, b"x")
    os.write(good.writer, b"x")
    assert poller.poll(1) == 2
    assert poller.poll(0) == 0
    assert errors == [(bad.reader, "broken")]
    assert good.calls == 1


def test_an_error_that_nobody_takes_is_printed(
    poller: Poller, pipes: list[Pipe], capsys: pytest.CaptureFixture[str]
) -> None:
    poller.add_reader(pipes[0].reader, lambda: pipes.remove(Pipe.__new__(Pipe)))
    os.write(pipes[0].writer, b"x")
    poller.poll(1)
    assert "ValueError" in capsys.readouterr().err


def test_ctrl_c_leaves_the_poll_and_removes_nothing(poller: Poller, pipes: list[Pipe]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    poller.add_reader(pipes[0].reader, interrupt)
    os.write(pipes[0].writer, b"x")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            poller.poll(1)


def test_removing_what_is_not_there_does_nothing(poller: Poller, pipes: list[Pipe]) -> None:
    poller.remove_reader(pipes[0].reader)
    poller.remove_writer(-1)
    poller.add_reader(pipes[0].reader, pipes[0].read)
    poller.remove_writer(pipes[0].reader)
    os.write(pipes[0].writer, b"x")
    assert poller.poll(1) == 1


def test_a_file_that_was_closed_without_a_word_can_be_removed_or_replaced(
    poller: Poller, pipes: list[Pipe]
) -> None:
    first, second, third = pipes
    for pipe in (first, second):
        poller.add_reader(pipe.reader, pipe.read)
        poller.add_writer(pipe.reader, pipe.read)
        os.close(pipe.reader)
    poller.remove_reader(first.reader)
    poller.remove_writer(first.reader)
    os.dup2(third.reader, second.reader)
    poller.remove_writer(second.reader)
    poller.add_reader(second.reader, second.read)
    os.write(third.writer, b"x")
    assert poller.poll(1) == 1
    assert second.calls == 1


def test_a_file_descriptor_that_is_not_open_cannot_be_added(
    poller: Poller, pipes: list[Pipe]
) -> None:
    os.close(pipes[0].reader)
    if poller._epoll is not None:
        with pytest.raises(OSError, match="Bad file descriptor"):
            poller.add_reader(pipes[0].reader, pipes[0].read)
        assert poller.poll(0) == 0


def test_closing_twice_is_fine_and_so_is_removing_afterwards(
    poller: Poller, pipes: list[Pipe]
) -> None:
    poller.add_reader(pipes[0].reader, pipes[0].read)
    poller.close()
    poller.close()
    poller.remove_reader(pipes[0].reader)
    os.write(pipes[0].writer, b"x")
    assert os.read(pipes[0].reader, 1) == b"x", "it stays open: it is not the poller's"
    assert pipes[0].calls == 0
