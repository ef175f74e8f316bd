"""What an executor makes of an exception whose task may be tried again."""

from __future__ import annotations

import pickle
import time
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from scaler.errors import SerializationError
from scaler.executor.predicates import OPENED_MAX, Predicates
from scaler.protocol.tasks import RowStatus, TaskPolicy, TaskRow
from scaler.serialization.exceptions import load_exception
from scaler.serialization.values import dump_arguments


def policy_of(when: Any = None, retries: int = 2) -> TaskPolicy:
    return TaskPolicy(retries=retries, retry_when=b"" if when is None else cloudpickle.dumps(when))


def fail(kind: type[BaseException] = OSError, text: str = "disk") -> None:
    raise kind(text)


def attempt(executor: Any, policy: TaskPolicy | None, *args: Any) -> tuple[TaskRow, list[str]]:
    """Run `fail`; return its row and the notes of what it raised."""
    payload = dump_arguments(args, {})
    row = executor.row(executor.send(fail, [payload], policy=policy)[0])
    assert row.status is RowStatus.FAILED
    return row, "\n".join(load_exception(row.payload).__notes__).split("\n")


@pytest.mark.usefixtures("by_value")
class TestRows:
    @pytest.mark.parametrize(
        ("when", "final"),
        [
            (None, False),
            (OSError, False),
            (FileNotFoundError, True),
            ((KeyError, OSError), False),
            ((KeyError, ValueError), True),
            (lambda error: "disk" in str(error), False),
            (lambda error: "net" in str(error), True),
            (lambda error: [], True),
        ],
        ids=["any", "type", "other", "types", "others", "yes", "no", "empty"],
    )
    def test_the_row_says_whether_the_exception_is_final(self, executor, when, final):
        row, notes = attempt(executor, policy_of(when))
        assert row.final is final
        assert notes[0].endswith("attempt 1 (retries: 2)")
        assert notes[1:] == (["not retried: its Retry says so"] if final else [])

    def test_without_retries_nobody_is_asked(self, executor):
        def explode(error: BaseException) -> bool:
            raise AssertionError

        for policy in (None, policy_of(explode, retries=0)):
            row, notes = attempt(executor, policy)
            assert not row.final
            assert len(notes) == 1

    def test_a_predicate_that_raises_ends_it_and_the_notes_say_how(self, executor):
        def explode(error: BaseException) -> bool:
            raise LookupError("no such table")

        row, notes = attempt(executor, policy_of(explode))
        assert row.final
        assert notes[1:] == ["not retried: its Retry's predicate raised LookupError: no such table"]

    def test_a_predicate_that_raises_the_exception_again_leaves_no_trace_in_it(self, executor):
        def again(error: BaseException) -> bool:
            raise error

        row, notes = attempt(executor, policy_of(again))
        assert row.final
        assert notes[1:] == ["not retried: its Retry's predicate raised it again"]
        error = load_exception(row.payload)
        assert error.__traceback__ is not None
        assert error.__traceback__.tb_frame.f_code.co_name == "fail"
        assert error.__traceback__.tb_next is None

    def test_a_predicate_that_exits_ends_the_task_and_not_the_executor(self, executor):
        def leave(error: BaseException) -> bool:
            raise SystemExit(3)

        row, notes = attempt(executor, policy_of(leave))
        assert row.final
        assert "SystemExit: 3" in notes[1]
        assert attempt(executor, None)[0].pid == row.pid

    def test_a_predicate_that_cannot_be_opened_ends_it(self, executor):
        policy = TaskPolicy(retries=1, retry_when=b"cno_such_module\nf\n.")
        row, notes = attempt(executor, policy)
        assert row.final
        assert "ModuleNotFoundError" in notes[1]

    @pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
    def test_what_is_no_exception_may_be_retried_too(self, executor, kind):
        assert not attempt(executor, policy_of(), kind)[0].final
        assert not attempt(executor, policy_of(BaseException), kind)[0].final
        assert attempt(executor, policy_of(Exception), kind)[0].final

    def test_what_is_not_the_tasks_own_error_is_final(self, executor):
        payload = dump_arguments((), {})
        row = executor.row(executor.send(open, [b"no pickle"], policy=policy_of())[0])
        assert row.final
        error = load_exception(row.payload)
        assert isinstance(error, SerializationError)
        assert "not retried: it is not the task's own error" in error.__notes__[0]
        unpicklable = executor.send(lambda: (each for each in ()), [payload], policy=policy_of())[0]
        assert executor.row(unpicklable).final


@pytest.mark.usefixtures("by_value")
@pytest.mark.parametrize("swallow", [False, True], ids=["lets it pass", "swallows it"])
def test_a_predicate_that_hangs_can_be_interrupted(executor, swallow):
    def hang(error: BaseException) -> bool:
        print("up")
        try:
            time.sleep(60)
        except BaseException:
            if not swallow:
                raise
        return True

    payload = dump_arguments((), {})
    ordinal = executor.send(fail, [payload], policy=policy_of(hang))[0]
    executor.bench.until(lambda: executor.printed)
    assert executor.port.running() == ordinal
    executor.port.interrupt(ordinal)
    row = executor.row(ordinal)
    assert (row.status, row.payload, row.final) == (RowStatus.INTERRUPTED, b"", False)


def test_a_predicate_is_opened_once_and_few_are_kept(tmp_path):
    opened = tmp_path / "opened"
    predicates = Predicates()

    def blob(number: int) -> bytes:
        return cloudpickle.dumps(Noted(str(opened), number))

    blobs = [blob(number) for number in range(OPENED_MAX + 1)]
    for each in (*blobs[:3], *blobs[:3]):
        policy = TaskPolicy(retries=1, retry_when=each)
        assert predicates.why_final(policy, OSError()) == ""
    assert opened.read_text() == "012"
    for each in blobs:  # 0 is the oldest when the last one comes
        predicates.why_final(TaskPolicy(retries=1, retry_when=each), OSError())
    predicates.why_final(TaskPolicy(retries=1, retry_when=blobs[0]), OSError())
    assert opened.read_text().endswith(f"{OPENED_MAX}0")


class Noted:
    """A predicate that writes down each time it is opened."""

    def __init__(self, path: str, number: int) -> None:
        self.path, self.number = path, number

    def __call__(self, error: BaseException) -> bool:
        return True

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        with Path(self.path).open("a") as file:
            file.write(str(self.number))


def test_types_that_travelled_are_the_executors_own():
    policy = TaskPolicy(retries=1, retry_when=pickle.dumps((OSError, KeyError)))
    predicates = Predicates()
    assert predicates.why_final(policy, FileNotFoundError()) == ""
    assert predicates.why_final(policy, ValueError()) == "not retried: its Retry says so"
