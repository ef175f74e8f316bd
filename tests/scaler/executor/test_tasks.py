"""What comes of a task that runs to its end, however badly."""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from scaler.errors import SerializationError, TaskFailedError
from scaler.protocol.executor import INTERRUPT_SIGNAL
from scaler.protocol.tasks import Function, RowStatus, Task, TaskRow
from scaler.serialization.exceptions import load_exception
from scaler.serialization.values import ChunkResult, dump_arguments, load_value


def value_of(row: TaskRow) -> Any:
    assert row.status is RowStatus.SUCCEEDED, load_exception(row.payload)
    assert not row.unclean
    return load_value(row.payload)


def error_of(row: TaskRow) -> BaseException:
    assert row.status is RowStatus.FAILED
    return load_exception(row.payload)


def test_a_task_runs_and_its_row_tells_how(executor):
    before_s = time.monotonic()
    row = executor.run(divmod, 17, 5)
    assert value_of(row) == (3, 2)
    assert (row.worker, row.pid, row.task_id) == ("worker-1", executor.pid, 1001)
    assert before_s <= row.started_s <= row.ended_s <= time.monotonic()
    assert row.rss_bytes > 1 << 20
    executor.bench.until(lambda: executor.port.running() == 0)


def test_cpu_seconds_are_those_of_the_attempt(executor):
    def burn() -> float:
        start_s = time.process_time()
        while time.process_time() - start_s < 0.05:
            pass
        return time.process_time() - start_s

    row = executor.run(burn)
    assert 0.04 < row.cpu_s < 0.5
    assert executor.run(time.sleep, 0.05).cpu_s < 0.04


def test_tasks_run_in_the_order_in_which_they_were_sent(executor):
    def stamp() -> int:
        return time.monotonic_ns()

    ordinals = executor.send(stamp, [dump_arguments((), {})] * 50)
    stamps = [value_of(executor.row(ordinal)) for ordinal in ordinals]
    assert stamps == sorted(stamps)


def test_keyword_arguments_arrive_as_given(executor):
    def collect(*args: Any, function: str, **kwargs: Any) -> Any:
        return args, function, kwargs

    row = executor.run(collect, 1, function="f", ordinal=3, self=4)
    assert value_of(row) == ((1,), "f", {"ordinal": 3, "self": 4})


def test_a_function_without_a_signature_runs(executor):
    assert value_of(executor.run(time.sleep, 0)) is None


def test_a_callable_that_is_false_runs(executor):
    class Empty(list[int]):
        def __call__(self) -> str:
            return "called"

    assert value_of(executor.run(Empty())) == "called"


def test_an_exception_comes_back_with_its_traceback_and_where_it_was(executor):
    def fail() -> None:
        raise ZeroDivisionError("on purpose")

    error = error_of(executor.run(fail))
    assert type(error) is ZeroDivisionError
    assert error.args == ("on purpose",)
    assert f"worker-1, pid {executor.pid}, attempt 1" in "".join(error.__notes__)
    names = []
    step = error.__traceback__
    while step is not None:
        names.append(step.tb_frame.f_code.co_name)
        step = step.tb_next
    assert names == ["fail"]


@pytest.mark.parametrize(
    "kind",
    [
        SystemExit,
        KeyboardInterrupt,
        GeneratorExit,
        asyncio.CancelledError,
        concurrent.futures.CancelledError,
    ],
)
def test_what_would_end_the_caller_comes_as_a_task_failed_error(executor, kind):
    def fail() -> None:
        raise kind("stop")

    error = error_of(executor.run(fail))
    assert isinstance(error, TaskFailedError)
    assert isinstance(error.__cause__, kind)


def test_sys_exit_ends_the_task_and_not_the_executor(executor):
    error = error_of(executor.run(sys.exit, 3))
    assert isinstance(error.__cause__, SystemExit)
    assert value_of(executor.run(os.getpid)) == executor.pid


def test_endless_recursion_is_an_error_of_the_task(executor):
    def recurse() -> None:
        recurse()

    assert isinstance(error_of(executor.run(recurse)), RecursionError)
    assert value_of(executor.run(os.getpid)) == executor.pid


def test_a_result_that_does_not_pickle_is_an_error_that_says_so(executor):
    error = error_of(executor.run(threading.Lock))
    assert isinstance(error, SerializationError)
    assert "result" in str(error)
    assert value_of(executor.run(os.getpid)) == executor.pid


def test_arguments_that_do_not_open_are_an_error_that_says_so(executor):
    def take(_: Any) -> None: ...

    ordinal = executor.send(take, [b"\x80\x05cno_such_module\nname\n."])[0]
    error = error_of(executor.row(ordinal))
    assert isinstance(error, SerializationError)
    assert "no_such_module" in str(error)
    assert value_of(executor.run(os.getpid)) == executor.pid


def test_a_function_that_does_not_open_is_an_error_that_says_so(executor):
    function = Function(b"0" * 16, b"\x80\x05cno_such_module\nname\n.", "no_such_module.name")
    executor.port.send(
        [99], [Task(99, function.function_id, dump_arguments((), {}))], functions=[function]
    )
    assert "no_such_module" in str(error_of(executor.row(99)))


def test_an_exception_that_does_not_pickle_still_says_what_happened(executor):
    def fail() -> None:
        error = ValueError("broken")
        error.lock = threading.Lock()  # type: ignore[attr-defined]
        raise error

    assert "broken" in str(error_of(executor.run(fail)))
    assert value_of(executor.run(os.getpid)) == executor.pid


def test_a_coroutine_function_is_run_to_its_end(executor):
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    assert value_of(executor.run(double, 21)) == 42
    chunk = executor.row(executor.submit_chunk(double, [(1,), (2,)]))
    assert value_of(chunk).values == [2, 4]


def test_a_chunk_gives_the_values_of_all_items(executor):
    row = executor.row(executor.submit_chunk(pow, [(2, 3), (3, 2), (5, 1)]))
    assert value_of(row) == ChunkResult([8, 9, 5])


def test_a_chunk_ends_at_its_first_failing_item(executor):
    def invert(number: int) -> float:
        return 1 / number

    result = value_of(executor.row(executor.submit_chunk(invert, [(1,), (2,), (0,), (4,)])))
    assert result.values == [1.0, 0.5]
    assert result.index == 2
    assert isinstance(load_exception(result.error), ZeroDivisionError)


def test_an_item_whose_value_does_not_pickle_is_named(executor):
    def locked(number: int) -> Any:
        return threading.Lock() if number == 2 else number

    result = value_of(executor.row(executor.submit_chunk(locked, [(1,), (2,), (3,)])))
    assert (result.values, result.index) == ([1], 1)
    assert isinstance(load_exception(result.error), SerializationError)


def test_the_page_shows_the_item_that_runs(executor):
    def hold(number: int) -> None:
        if number == 2:
            print("up")
            time.sleep(60)

    ordinal = executor.submit_chunk(hold, [(0,), (1,), (2,), (3,)])
    executor.bench.until(lambda: executor.printed)
    assert executor.port.running() == ordinal
    assert executor.port.item() == 2
    assert 0 < executor.port.running_for() < 20
    executor.port.interrupt(ordinal)
    assert executor.row(ordinal).status is RowStatus.INTERRUPTED


def test_large_arguments_and_results_travel(executor):
    data = os.urandom(1 << 20) * 8
    objects = executor.bench.objects
    row = executor.run(bytes.upper, data)
    assert load_value(*objects.unpack(row.payload, row.objects)) == data.upper()


def test_a_function_is_sent_once_and_forgotten_when_told(executor):
    def one() -> int:
        return 1

    assert value_of(executor.run(one)) == 1
    assert value_of(executor.run(one)) == 1
    (function_id,) = executor._sent
    executor.port.send([], [], forgotten=[function_id])
    error = error_of(executor.run(one))
    assert "was not sent" in str(error)
    executor._sent.clear()
    assert value_of(executor.run(one)) == 1


@pytest.mark.parametrize("how", ["handler", "mask", "directory", "streams"])
def test_what_a_task_changed_is_put_back(executor, how, tmp_path):
    def change() -> None:
        if how == "handler":
            signal.signal(INTERRUPT_SIGNAL, signal.SIG_IGN)
        elif how == "mask":
            signal.pthread_sigmask(signal.SIG_BLOCK, {INTERRUPT_SIGNAL, signal.SIGUSR1})
        elif how == "directory":
            os.chdir(tmp_path)
        else:
            sys.stdout = sys.stderr = None  # type: ignore[assignment]

    def look() -> Any:
        print("up")
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        return callable(signal.getsignal(INTERRUPT_SIGNAL)), mask, os.getcwd()

    before = value_of(executor.run(look))
    value_of(executor.run(change))
    assert value_of(executor.run(look)) == before
    assert executor.printed == [("stdout", "up\n")] * 2


def test_threads_of_a_task_that_ended_go_on(executor):
    def start() -> None:
        threading.Thread(target=time.sleep, args=(30,), daemon=True, name="left").start()

    def names() -> list[str]:
        return [thread.name for thread in threading.enumerate()]

    assert not executor.run(start).unclean
    assert "left" in value_of(executor.run(names))


def test_a_fork_that_comes_out_of_its_task_ends_there(executor):
    def fork() -> int:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        print("from", "parent" if child else "child")
        return child

    assert value_of(executor.run(fork)) > 0
    assert executor.printed == [("stdout", "from parent\n")]
    assert value_of(executor.run(os.getpid)) == executor.pid


def test_a_fork_within_a_chunk_ends_there(executor):
    def fork(number: int) -> int:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        return number

    row = executor.row(executor.submit_chunk(fork, [(1,), (2,)]))
    assert value_of(row).values == [1, 2]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_task_may_use_processes_of_its_own(executor, method):
    def use(method: str) -> list[int]:
        with multiprocessing.get_context(method).Pool(1) as pool:
            result: list[int] = pool.map(abs, [-1, -2])
            pool.close()
            pool.join()
        return result

    assert value_of(executor.run(use, method)) == [1, 2]


def test_a_task_may_pass_its_streams_to_a_subprocess(executor):
    def call() -> int:
        return subprocess.run(["true"], stdout=sys.stdout, check=True).returncode

    assert value_of(executor.run(call)) == 0
