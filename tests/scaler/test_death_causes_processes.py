"""What a caller reads when the process that ran a task has died."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from scaler import Client, SerializationError, WorkerDiedError

pytestmark = pytest.mark.usefixtures("by_value")

BOUND_S = 20.0


@pytest.fixture
def once(client: Any) -> Any:
    """The client, whose tasks are not run again after a death."""
    return client.options(max_attempts=1)


def text_of(future: Any) -> str:
    with pytest.raises(WorkerDiedError) as caught:
        future.result(BOUND_S)
    return str(caught.value)


def leave() -> None:
    print("this is the end", file=sys.stderr)
    os._exit(3)


def crash(address: int) -> bytes:
    return ctypes.string_at(address)


def test_an_exit_code_comes_with_what_was_said_last(once):
    text = text_of(once.submit(leave))
    assert "exit code 3\nlast lines of its stderr:\n    this is the end" in text


def test_a_crash_comes_with_the_python_frames(once):
    text = text_of(once.submit(crash, 0))
    assert "killed by SIGSEGV\nlast lines of its stderr:\n" in text
    assert "Fatal Python error: Segmentation fault" in text
    frames = [line for line in text.splitlines() if line.startswith('      File "')]
    assert [frame.rpartition(" in ")[2] for frame in frames] == ["string_at", "crash"]


def test_an_abort_is_named(once):
    assert "killed by SIGABRT" in text_of(once.submit(os.abort))


def test_a_kill_from_outside_is_named_at_once(once, sign, until):
    def hold(path: str) -> None:
        Path(path).write_text(str(os.getpid()))
        threading.Event().wait(60)

    future = once.submit(hold, sign.path)
    os.kill(sign.pid(), signal.SIGKILL)
    until(future.done, 2.0)
    text = text_of(future)
    assert "killed by SIGKILL" in text
    assert "last lines" not in text


def test_every_attempt_of_a_poison_task_is_explained(client):
    text = text_of(client.submit(leave))
    assert text.count("exit code 3\nlast lines of its stderr:\n    this is the end") == 3


def test_what_c_code_writes_is_shown_to_the_caller(client, capsys):
    client.submit(os.write, 2, b"careful\n").result(BOUND_S)
    assert capsys.readouterr().err == "careful\n"


@pytest.fixture
def cramped(tmp_path, monkeypatch):
    """A client whose executors have 64 MB of address space left."""
    (tmp_path / "leaves_little_room.py").write_text(
        "import resource\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), -1))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with Client(workers=1, preload=["leaves_little_room"]) as client:
        yield client


def test_a_function_that_no_executor_has_room_for_is_the_death_of_some_and_then_of_its_task(
    cramped,
):
    data = bytes(56 << 20)
    too_large = cramped.submit(lambda: len(data))
    small = [cramped.submit(abs, -number) for number in range(20)]
    assert [future.result(BOUND_S) for future in small] == [*range(20)]
    error = too_large.exception(BOUND_S)
    assert isinstance(error, WorkerDiedError)
    assert str(error).count("before the task had begun: exit code 1") == 3
    assert "MemoryError" in str(error)


def test_an_argument_that_an_executor_has_no_room_for_fails_its_task_alone(cramped):
    pid = cramped.submit(os.getpid).result(BOUND_S)
    error = cramped.submit(len, bytes(80 << 20)).exception(BOUND_S)
    assert isinstance(error, SerializationError)
    assert "bytes of shared memory cannot be opened" in str(error)
    assert cramped.submit(os.getpid).result(BOUND_S) == pid
