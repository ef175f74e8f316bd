"""Rows 20 to 24: pickles that raise, exit, recurse, hang or kill, at each of the six points.

Each cell resolves its own future, and nobody else notices: tasks before, beside and after it run,
and where no process had to die for it, none did.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from scaler import (
    SerializationError,
    TaskFailedError,
    TaskTimeoutError,
    WorkerDiedError,
)
from tests.reliability.executors import executors

pytestmark = pytest.mark.usefixtures("by_value")

BOUND_S = 20.0
HERE = os.getpid()


def misbehave(how: str) -> Any:
    if how == "raise":
        raise ValueError("on purpose")
    if how == "exit":
        sys.exit(3)
    if how == "recursion":
        return misbehave(how)
    if how == "hang":
        time.sleep(600)
    os._exit(3)


class BadDump:
    def __init__(self, how: str) -> None:
        self.how = how

    def __reduce__(self) -> Any:
        return misbehave(self.how)


class BadLoad:
    def __init__(self, how: str) -> None:
        self.how = how

    def __reduce__(self) -> Any:
        return misbehave, (self.how,)


class BadDumpError(Exception):
    def __reduce__(self) -> Any:
        return misbehave(self.args[0])


class BadLoadError(Exception):
    def __reduce__(self) -> Any:
        return misbehave, (self.args[0],)


class BadStateError(Exception):
    def __setstate__(self, state: Any) -> Any:
        misbehave(self.args[0])


def fail(error: type[Exception], how: str) -> None:
    trouble = error(how)
    trouble.note = "so that there is a state"  # type: ignore[attr-defined]
    raise trouble


def use(_: Any) -> None:
    pass


CELLS: dict[str, Callable[[str], tuple[Any, ...]]] = {
    "an argument's load": lambda how: (use, BadLoad(how)),
    "a result's dump": lambda how: (BadDump, how),
    "an exception's dump": lambda how: (fail, BadDumpError, how),
    "an exception's load": lambda how: (fail, BadLoadError, how),
    "an exception's state": lambda how: (fail, BadStateError, how),
}

KINDS = ["raise", "exit", "recursion", "hang", "die"]

EXPECTED = {
    "raise": (SerializationError,),
    "exit": (SerializationError, TaskFailedError),
    "recursion": (SerializationError, RecursionError),
    "hang": (TaskTimeoutError,),
    "die": (WorkerDiedError,),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("point", CELLS)
def test_at_the_executor_it_ends_its_own_future_alone(client, point, kind):
    before = executors(client)
    bystanders = [client.submit(pow, number, 2) for number in range(20)]
    limits = {"timeout": 0.2} if kind == "hang" else {}
    future = client.options(max_attempts=1, **limits).submit(*CELLS[point](kind))
    bystanders += [client.submit(pow, number, 2) for number in range(20, 40)]
    error = future.exception(BOUND_S)
    assert isinstance(error, EXPECTED[kind]), error
    if kind == "raise":
        assert "on purpose" in str(error)
    assert [one.result(BOUND_S) for one in bystanders] == [number**2 for number in range(40)]
    kept = before & executors(client)
    if kind in {"raise", "exit", "recursion"}:
        assert kept == before
    else:
        assert len(kept) >= 1


@pytest.mark.parametrize(
    ("kind", "error"),
    [("raise", SerializationError), ("exit", SystemExit), ("recursion", SerializationError)],
)
def test_an_argument_that_does_not_dump_is_told_to_its_caller(client, kind, error):
    with pytest.raises(error):
        client.submit(use, BadDump(kind))
    assert client.submit(pow, 2, 3).result(BOUND_S) == 8
    assert "0 tasks and 0 bytes" in repr(client)


@pytest.mark.parametrize("kind", ["raise", "exit", "recursion"])
def test_a_result_that_does_not_load_is_told_to_its_caller(client, kind):
    future = client.submit(BadLoad, kind)
    assert isinstance(future.exception(BOUND_S), SerializationError)
    assert client.submit(pow, 2, 3).result(BOUND_S) == 8


class BadHereError(Exception):
    """Opens at the executor, and nowhere else."""

    def __reduce__(self) -> Any:
        return make_or_misbehave, (self.args[0],)


def make_or_misbehave(how: str) -> Any:
    return misbehave(how) if os.getpid() == HERE else BadHereError(how)


@pytest.mark.parametrize("kind", ["raise", "exit", "recursion"])
def test_an_exception_that_does_not_load_here_is_told_to_its_caller(client, kind):
    error = client.submit(fail, BadHereError, kind).exception(BOUND_S)
    assert isinstance(error, SerializationError)
    assert "BadHereError" in str(error)
    assert client.submit(pow, 2, 3).result(BOUND_S) == 8


def wait_for(path: str) -> str:
    """Wait for the file at the caller; elsewhere return at once."""
    deadline_s = time.monotonic() + BOUND_S
    while os.getpid() == HERE and not os.path.exists(path):
        assert time.monotonic() < deadline_s
        time.sleep(0.001)
    return "late" if os.getpid() == HERE else "early"


class SlowDump:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return str, (wait_for(self.path),)


class SlowLoad(SlowDump):
    def __reduce__(self) -> Any:
        return wait_for, (self.path,)


@pytest.mark.parametrize(("function", "argument"), [(str, SlowDump), (SlowLoad, str)])
def test_a_pickle_that_hangs_at_the_caller_holds_nobody_else(client, sign, function, argument):
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(lambda: client.submit(function, argument(sign.path)).result(BOUND_S))
        assert client.map(abs, range(100)) == list(range(100))
        assert not hanging.done()
        open(sign.path, "w").close()
        assert hanging.result(BOUND_S) == "late"


def test_a_class_that_is_not_there_at_the_executor_is_named(client, tmp_path, monkeypatch):
    (tmp_path / "only_at_the_caller.py").write_text("class Thing: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_at_the_caller  # type: ignore[import-not-found]

    error = client.submit(use, only_at_the_caller.Thing()).exception(BOUND_S)
    assert isinstance(error, SerializationError)
    assert "only_at_the_caller" in str(error)
    assert client.submit(pow, 2, 3).result(BOUND_S) == 8
