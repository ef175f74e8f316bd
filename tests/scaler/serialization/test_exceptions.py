from __future__ import annotations

import asyncio
import concurrent.futures
import copyreg
import socket
import threading
import traceback
import types
from collections.abc import Callable
from typing import Any

import pytest

from scaler.errors import SerializationError, TaskFailedError
from scaler.serialization import exceptions
from scaler.serialization.exceptions import ERRORS, dump_exception, load_exception

NOTE = "on worker w1, pid 42, attempt 1"


def caught(function: Callable[[], Any]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("it did not raise")


def raising(error: BaseException) -> BaseException:
    def innermost() -> None:
        raise error

    return caught(innermost)


def sent(error: BaseException) -> BaseException:
    return load_exception(dump_exception(raising(error), note=NOTE))


def printed(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


class Hostile(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


@pytest.mark.parametrize(
    "error",
    [
        ValueError("text", 1),
        KeyError("key"),
        OSError(2, "No such file", "name"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        ImportError("no", name="module", path="/p"),
        StopIteration(3),
        AssertionError(),
        SyntaxError("bad", ("file.py", 1, 2, "text", 1, 3)),
        TimeoutError(),
        TaskFailedError("text"),
        Exception("\udcff lone surrogate"),
    ],
)
def test_an_exception_comes_back_as_itself(error: Exception) -> None:
    back = sent(error)
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert back.args == error.args
    state = {key: value for key, value in vars(error).items() if key != "__notes__"}
    assert {key: vars(back)[key] for key in state} == state


def test_the_remote_traceback_is_printed() -> None:
    text = printed(sent(ValueError("text")))
    assert ", in caught" in text
    assert ", in innermost" in text
    assert "raise error" in text
    assert "^" not in text
    assert f"ValueError: text\n{NOTE}" in text


def test_it_can_be_raised_here_and_shows_both_ends() -> None:
    def result() -> None:
        raise sent(ValueError("text"))

    text = printed(caught(result))
    assert text.index(", in result") < text.index(", in innermost")


def test_causes_contexts_and_notes_survive() -> None:
    def chain() -> None:
        try:
            try:
                raise KeyError("first")
            except KeyError as error:
                error.add_note("noted")
                raise ValueError("second") from error
        except ValueError:
            raise TypeError("third")  # noqa: B904

    back = load_exception(dump_exception(caught(chain), note=NOTE))
    assert back.__cause__ is None
    assert not back.__suppress_context__
    assert type(back.__context__) is ValueError
    assert back.__context__.__suppress_context__
    assert type(back.__context__.__cause__) is KeyError
    assert back.__context__.__cause__.__notes__ == ["noted"]
    assert back.__notes__ == [NOTE]
    text = printed(back)
    assert text.count(", in chain") == 3
    assert "direct cause" in text


def test_a_suppressed_context_stays_suppressed() -> None:
    error = ValueError("text")
    error.__context__, error.__suppress_context__ = KeyError("hidden"), True
    back = sent(error)
    assert back.__suppress_context__
    assert "hidden" not in printed(back)


def test_a_chain_that_bites_its_tail_survives() -> None:
    one, two = ValueError("one"), KeyError("two")
    one.__context__, two.__context__ = two, one
    back = sent(one)
    assert back.__context__ is not None
    assert back.__context__.__context__ is back


def test_an_endless_chain_is_cut() -> None:
    first = error = ValueError(0)
    for n in range(1, 10_000):
        error.__context__ = ValueError(n)
        error = error.__context__
    back: BaseException | None = sent(first)
    length = 0
    while back is not None:
        back, length = back.__context__, length + 1
    assert length == ERRORS


def test_groups_keep_members_their_tracebacks_and_causes() -> None:
    class Private(Exception):
        def __init__(self, *, key: int) -> None:
            super().__init__()
            self.key = key

    member: Any = raising(Private(key=3))
    member.__cause__ = OSError(5, "why")
    locked = ValueError(threading.Lock())
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [member]), locked])
    back = sent(group)
    assert isinstance(back, ExceptionGroup)
    inner, described = back.exceptions
    assert isinstance(inner, ExceptionGroup)
    assert type(inner.exceptions[0]).__qualname__ == Private.__qualname__
    assert inner.exceptions[0].key == 3  # type: ignore[union-attr]
    assert isinstance(inner.exceptions[0].__cause__, OSError)
    assert isinstance(described, SerializationError)
    assert ", in innermost" in printed(back)


def test_a_wide_group_loses_members_and_says_so() -> None:
    back = sent(ExceptionGroup("wide", [ValueError(n) for n in range(1_000)]))
    assert isinstance(back, ExceptionGroup)
    assert len(back.exceptions) == ERRORS - 1
    assert back.__notes__ == ["901 more of this group were left out", NOTE]


def test_a_deep_group_is_cut() -> None:
    group: Exception = ValueError("innermost")
    for _ in range(200):
        group = ExceptionGroup("deep", [group])
    back: BaseException = sent(group)
    depth = 0
    while isinstance(back, ExceptionGroup):
        (back,), depth = back.exceptions, depth + 1
    assert depth == ERRORS - 1
    assert "cannot be opened" in str(back)


def test_a_group_that_is_its_own_context_survives() -> None:
    member = ValueError("member")
    group = ExceptionGroup("group", [member])
    member.__context__ = group
    back = sent(member)
    assert isinstance(back.__context__, ExceptionGroup)
    assert back.__context__.exceptions == (back,)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SystemExit(3), "the task called sys.exit(3)"),
        (KeyboardInterrupt(), "the task raised KeyboardInterrupt"),
        (GeneratorExit(), "the task raised GeneratorExit"),
        (asyncio.CancelledError(), "was cancelled: asyncio.exceptions.CancelledError"),
        (concurrent.futures.CancelledError("x"), "CancelledError: x"),
        (BaseExceptionGroup("g", [KeyboardInterrupt()]), "BaseExceptionGroup: g"),
        (type("Private", (BaseException,), {})("text"), "Private: text"),
    ],
)
def test_what_would_mislead_the_caller_is_the_cause_of_a_failed_task(
    error: BaseException, text: str
) -> None:
    back = sent(error)
    assert type(back) is TaskFailedError
    assert text in str(back)
    assert type(back.__cause__).__qualname__ == type(error).__qualname__
    assert back.__notes__ == [NOTE]
    assert ", in innermost" in printed(back)


def test_what_does_not_pickle_is_described_with_its_traceback() -> None:
    with socket.socket() as connection:
        error = ConnectionError("lost")
        error.connection = connection  # type: ignore[attr-defined]
        error.add_note("a note of its own")
        back = sent(error)
    assert type(back) is SerializationError
    assert "the task raised ConnectionError: lost" in str(back)
    assert "its attribute 'connection' is of type socket.socket: " in str(back)
    assert back.__notes__ == ["a note of its own", NOTE]
    assert ", in innermost" in printed(back)


def test_an_exception_whose_text_raises_arrives() -> None:
    back = sent(Hostile(1))
    assert type(back) is Hostile
    assert back.args == (1,)
    hopeless = Hostile(threading.Lock())
    assert "Hostile: (its __str__ raised RuntimeError)" in str(sent(hopeless))


def test_an_endless_recursion_arrives_short() -> None:
    def down() -> None:
        down()

    payload = dump_exception(caught(down), note=NOTE)
    assert len(payload) < 50_000
    back = load_exception(payload)
    assert type(back) is RecursionError
    assert ", in down" in printed(back)


def test_an_exception_nested_too_deep_is_described() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    error = ValueError(deep, "x")
    back = sent(error)
    assert type(back) is SerializationError
    while deep:
        deep = deep.pop()


def test_what_cannot_be_written_at_all_is_still_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exceptions, "rows_of", lambda _: (_ for _ in ()).throw(MemoryError))
    back = sent(ValueError("text"))
    assert type(back) is SerializationError
    assert str(back) == "the task raised ValueError, which cannot be written down: MemoryError"
    assert back.__notes__ == [NOTE]


@pytest.mark.parametrize("payload", [b"", b"nonsense", b"\x80\x05N.", b"\x80\x05]."])
def test_what_is_no_exception_opens_as_one_that_says_so(payload: bytes) -> None:
    back = load_exception(payload)
    assert type(back) is SerializationError
    assert "cannot be opened" in str(back)


def test_a_class_the_caller_does_not_have_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = dump_exception(raising(Hostile("lost")), note=NOTE)
    monkeypatch.delitem(globals(), "Hostile")
    back = load_exception(payload)
    assert type(back) is SerializationError
    assert "Hostile" in str(back)
    assert "cannot be opened in this process: AttributeError" in str(back)
    assert back.__notes__ == [NOTE]
    assert ", in innermost" in printed(back)


def test_a_frozen_exception_gets_its_traceback() -> None:
    class Frozen(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError("frozen")

    error = Frozen("x")
    BaseException.__setattr__(error, "__cause__", KeyError("why"))
    back = load_exception(dump_exception(error, note=NOTE))
    assert back.__notes__ == [NOTE]
    assert type(back.__cause__) is KeyError


def test_notes_that_are_no_notes_are_left_out() -> None:
    error = ValueError("x")
    error.__notes__ = "not a list"  # type: ignore[assignment]
    assert sent(error).__notes__ == [NOTE]
    error = ValueError("x")
    error.__notes__ = [1, "text"]  # type: ignore[list-item]
    assert sent(error).__notes__ == ["text", NOTE]


def test_tracebacks_stay_unpicklable_for_everyone_else() -> None:
    sent(ValueError("x"))
    assert types.TracebackType not in copyreg.dispatch_table
    assert ValueError not in copyreg.dispatch_table


TASK = """
import subprocess, sys
from scaler.serialization.functions import FunctionPickler
from scaler.serialization.exceptions import load_exception
import traceback

class Failed(Exception):
    def __init__(self, code, *, hint):
        super().__init__(f"code {code}")
        self.code, self.hint = code, hint

def task(): raise Failed(3, hint="try again")

blob = FunctionPickler().pickle(task).blob
command = [sys.executable, "-c", sys.argv[1], blob.hex()]
answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
try:
    raise load_exception(bytes.fromhex(answer))
except Failed as error:
    print(type(error).__name__, error, error.code, error.hint, error.__notes__)
    traceback.print_exc(file=sys.stdout)
"""

EXECUTOR = """
import sys, pickle
from scaler.serialization.exceptions import dump_exception
try:
    pickle.loads(bytes.fromhex(sys.argv[1]))()
except Exception as error:
    print(dump_exception(error, note="over there").hex())
"""


def test_an_exception_of_main_comes_back_from_another_main(program: Callable[..., str]) -> None:
    text = program(TASK, EXECUTOR)
    assert text.startswith("Failed code 3 3 try again ['over there']")
    assert "in task" in text
