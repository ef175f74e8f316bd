"""What can be submitted, and what comes of it, with real processes."""

from __future__ import annotations

import functools
import io
import itertools
import math
import operator
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import CancelledError, wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scaler import (
    Client,
    ClientClosedError,
    ClientError,
    NestedClientError,
    SerializationError,
    TaskFailedError,
    WorkerDiedError,
)

pytestmark = [
    pytest.mark.usefixtures("by_value"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

BOUND_S = 20.0


def run(client: Client, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
    return client.submit(fn, *args, **kwargs).result(BOUND_S)


# --- functions and arguments ----------------------------------------------------------


class Counter:
    """Something with methods and a call."""

    made = 0

    def __init__(self, start: int = 0, *, step: int = 1) -> None:
        self.value = start
        self.step = step

    def __call__(self, times: int) -> int:
        return self.value + times * self.step

    def up(self, times: int = 1) -> int:
        self.value += times * self.step
        return self.value

    @classmethod
    def name(cls) -> str:
        return cls.__name__

    @staticmethod
    def double(number: int) -> int:
        return 2 * number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counter) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


def test_functions_of_all_kinds(client):
    offset = 10

    def closure(number: int) -> int:
        return number + offset

    assert run(client, math.sqrt, 9) == 3
    assert run(client, closure, 1) == 11
    assert run(client, lambda number: number * offset, 2) == 20
    assert run(client, "a-b".split, "-") == ["a", "b"]
    assert run(client, Counter(5).up, 2) == 7
    assert run(client, Counter.name) == "Counter"
    assert run(client, Counter.double, 4) == 8
    assert run(client, Counter(5, step=3), 2) == 11
    assert run(client, functools.partial(operator.sub, 10), 4) == 6
    assert run(client, operator.itemgetter("a"), {"a": 1}) == 1
    made = run(client, Counter, 7, step=2)
    assert (made.value, made.step) == (7, 2)
    assert run(client, int, "11", base=2) == 3


def test_arguments_arrive_as_given(client):
    def everything(a: Any, /, b: Any, *args: Any, c: Any, **kwargs: Any) -> Any:
        return a, b, args, c, kwargs

    def keywords_only(*, fn: str, name: str = "n", self: int = 0, block: bool = True) -> Any:
        return fn, name, self, block

    assert run(client, everything, 1, 2, 3, 4, c=5, d=6) == (1, 2, (3, 4), 5, {"d": 6})
    found = run(client, keywords_only, fn="f", self=3, block=False)
    assert found == ("f", "n", 3, False)
    assert run(client, dict, fn=1, timeout=2, cluster=3) == {"fn": 1, "timeout": 2, "cluster": 3}
    assert run(client, time.sleep, 0.001) is None, "a function without a signature"
    assert run(client, max, [3, 1, 2]) == 3
    assert run(client, len, b"x" * 3_000_000) == 3_000_000
    assert run(client, bytes, 3_000_000) == bytes(3_000_000)


def test_what_is_wrong_at_the_call_is_said_at_the_call(client):
    with pytest.raises(TypeError, match="callable"):
        client.submit(3)
    assert isinstance(client.submit(pow).exception(BOUND_S), TypeError)


def test_async_functions_are_run(client):
    async def add(a: int, b: int) -> int:
        import asyncio

        await asyncio.sleep(0)
        return a + b

    async def fail() -> None:
        raise KeyError("mine")

    assert run(client, add, 2, b=3) == 5
    assert client.map(add, range(5), range(5)) == [0, 2, 4, 6, 8]
    assert isinstance(client.submit(fail).exception(BOUND_S), KeyError)


def test_a_redefined_helper_takes_effect_at_the_next_submit(client):
    program = "def helper(): return {}\ndef task(): return helper()"
    notebook: dict[str, Any] = {"__name__": "__main__"}
    for number in (1, 2, 3):
        exec(program.format(number), notebook)
        assert run(client, notebook["task"]) == number
    task = notebook["task"]
    exec("def helper(): return 'new'", notebook)
    assert run(client, task) == "new"
    exec("limit = 1\ndef task(): return [limit]", notebook)
    task = notebook["task"]
    assert run(client, task) == [1]
    notebook["limit"] = 2
    assert run(client, task) == [2]


# --- exceptions -----------------------------------------------------------------------


class CustomError(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code


def deep(level: int) -> None:
    if level:
        deep(level - 1)
    raise CustomError(7, "from the depth")


def test_an_exception_comes_back_as_itself_with_its_traceback_and_a_note(client):
    import traceback

    error = client.submit(deep, 3).exception(BOUND_S)
    assert isinstance(error, CustomError)
    assert (error.code, error.args) == (7, (7, "from the depth"))
    text = "".join(traceback.format_exception(error))
    assert text.count("in deep") == 4
    assert "scaler/executor" not in text
    (note,) = error.__notes__
    assert "worker-" in note
    assert "pid" in note
    assert "attempt 1" in note
    with pytest.raises(CustomError):
        run(client, deep, 0)


def test_causes_and_groups_travel(client):
    def chained() -> None:
        try:
            raise ValueError("first")
        except ValueError as error:
            raise RuntimeError("second") from error

    def grouped() -> None:
        raise ExceptionGroup("both", [ValueError("a"), KeyError("b")])

    error = client.submit(chained).exception(BOUND_S)
    assert isinstance(error, RuntimeError)
    assert isinstance(error.__cause__, ValueError)
    group = client.submit(grouped).exception(BOUND_S)
    assert isinstance(group, ExceptionGroup)
    assert [type(inner) for inner in group.exceptions] == [ValueError, KeyError]


@pytest.mark.parametrize(
    "original",
    [SystemExit, KeyboardInterrupt, GeneratorExit, CancelledError],
    ids=lambda error: error.__name__,
)
def test_what_would_end_the_callers_program_arrives_wrapped(client, original):
    def give_up() -> None:
        raise original(3)

    before = client.submit(os.getpid).result(BOUND_S)
    future = client.submit(give_up)
    error = future.exception(BOUND_S)
    assert isinstance(error, TaskFailedError)
    assert isinstance(error.__cause__, original)
    assert not future.cancelled()
    pids = {run(client, os.getpid) for _ in range(4)}
    assert before in pids, "no process was lost"
    assert isinstance(client.submit(sys.exit).exception(BOUND_S), TaskFailedError)


class Unpicklable:
    def __reduce__(self) -> Any:
        raise RuntimeError("not me")


def raise_at_load(*_: Any) -> Any:
    raise RuntimeError("cannot be opened")


class Unloadable:
    def __reduce__(self) -> Any:
        return raise_at_load, ()


class UnloadableError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__("needs two")


class UnpicklableError(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


def test_what_does_not_pickle_is_an_error_of_its_future_and_the_executor_lives(client):
    futures = [client.submit(time.sleep, 0.01) for _ in range(2)]
    wait(futures, BOUND_S)
    pids = {future.profiling_info().pid for future in futures}

    with pytest.raises(SerializationError, match="argument"):
        client.submit(print, Unpicklable())
    with pytest.raises(SerializationError, match="argument"):
        client.submit(print, key=[threading.Lock()])
    with pytest.raises(SerializationError):
        client.submit(Unpicklable().__reduce__)

    opened_there = client.submit(print, Unloadable()).exception(BOUND_S)
    assert isinstance(opened_there, SerializationError)
    assert "argument" in str(opened_there)
    result = client.submit(threading.Lock).exception(BOUND_S)
    assert isinstance(result, SerializationError)
    assert "lock" in str(result)
    assert "result" in str(result)
    opened_here = client.submit(Unloadable).exception(BOUND_S)
    assert isinstance(opened_here, SerializationError)
    assert "cannot be opened" in str(opened_here)

    def fail(error: type[Exception], *args: Any) -> None:
        raise error(*args)

    for error, *args in ((UnloadableError, 1, 2), (UnpicklableError, "text")):
        arrived = client.submit(fail, error, *args).exception(BOUND_S)
        assert arrived is not None
        assert error.__name__ in repr(arrived)

    futures = [client.submit(time.sleep, 0.01) for _ in range(2)]
    wait(futures, BOUND_S)
    assert {future.profiling_info().pid for future in futures} == pids


# --- the death of an executor ---------------------------------------------------------


def read_address_zero() -> None:
    import ctypes
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)


def kill_me(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


@pytest.mark.parametrize(
    ("task", "args", "cause"),
    [
        (os._exit, (3,), "exit code 3"),
        (os._exit, (0,), "exit code 0"),
        (read_address_zero, (), "SIGSEGV"),
        (kill_me, (signal.SIGKILL,), "SIGKILL"),
        (kill_me, (signal.SIGTERM,), "SIGTERM"),
        (os.abort, (), "SIGABRT"),
    ],
    ids=["_exit(3)", "_exit(0)", "segfault", "kill", "term", "abort"],
)
@pytest.mark.filterwarnings("ignore")
def test_a_death_names_its_cause_and_the_slot_comes_back(
    client, all_slots_run, until, capfd, task, args, cause
):
    def quietly() -> None:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 2)
        task(*args)

    future = client.options(max_attempts=1).submit(quietly)
    with pytest.raises(WorkerDiedError, match=cause) as caught:
        future.result(BOUND_S)
    text = str(caught.value)
    assert "worker-" in text
    assert f"task {future.task_id}" in text
    assert "attempt 1" in text
    until(lambda: all_slots_run(client))


def test_only_the_task_that_ran_is_blamed(client):
    futures = [client.submit(pow, number, 2) for number in range(200)]
    futures.insert(100, client.submit(os._exit, 3))
    failed = [future for future in futures if future.exception(BOUND_S)]
    assert failed == [futures[100]]


def test_a_death_in_a_map_names_the_item(client):
    def exit_at(number: int) -> int:
        if number == 37:
            os._exit(3)
        return number

    with pytest.raises(WorkerDiedError) as caught:
        client.map(exit_at, range(60))
    assert str(caught.value).count("exit code 3") == 3
    assert client.map(operator.neg, range(3)) == [0, -1, -2]


def test_an_executor_that_dies_between_tasks_costs_none(client, until):
    future = client.submit(os.getpid)
    os.kill(future.result(BOUND_S), signal.SIGKILL)
    futures = [client.submit(pow, number, 2) for number in range(100)]
    assert [future.result(BOUND_S) for future in futures] == [number**2 for number in range(100)]


def test_a_killed_executor_costs_the_task_that_ran_and_no_other(client, sign):
    def wait_here(path: str) -> None:
        Path(path).write_text(str(os.getpid()))
        time.sleep(60)

    running = client.options(max_attempts=1).submit(wait_here, sign.path)
    behind = [client.submit(pow, number, 2) for number in range(100)]
    os.kill(sign.pid(), signal.SIGKILL)
    assert isinstance(running.exception(BOUND_S), WorkerDiedError)
    assert [future.result(BOUND_S) for future in behind] == [number**2 for number in range(100)]


def test_a_stopped_executor_can_be_cancelled(client, sign, alive):
    def wait_here(path: str) -> None:
        Path(path).write_text(str(os.getpid()))
        time.sleep(60)

    future = client.submit(wait_here, sign.path)
    pid = sign.pid()
    os.kill(pid, signal.SIGSTOP)
    assert future.cancel()
    assert not alive(pid)


def test_a_task_that_closes_all_files_ends_with_an_error_and_nothing_hangs(
    client, until, all_slots_run
):
    future = client.submit(os.closerange, 3, 256)
    assert isinstance(future.exception(BOUND_S), WorkerDiedError)
    until(lambda: all_slots_run(client))


def test_endless_recursion_and_a_lack_of_memory_are_the_tasks_own_errors(client):
    def recurse(level: int) -> int:
        return recurse(level + 1)

    def nest(level: int) -> list[Any]:
        outer: list[Any] = []
        for _ in range(level):
            outer = [outer]
        return outer

    assert isinstance(client.submit(recurse, 0).exception(BOUND_S), RecursionError)
    assert isinstance(client.submit(bytes, 1 << 62).exception(BOUND_S), MemoryError)
    assert isinstance(client.submit(nest, 100_000).exception(BOUND_S), SerializationError)
    assert run(client, pow, 2, 3) == 8


# --- what else a future tells ---------------------------------------------------------


def test_profiling_info_tells_what_the_task_cost(client):
    def burn() -> int:
        start_s = time.process_time()
        while time.process_time() - start_s < 0.02:
            pass
        return os.getpid()

    before_s = time.monotonic()
    future = client.submit(burn)
    pid = future.result(BOUND_S)
    info = future.profiling_info()
    assert info.pid == pid
    assert info.worker in {"worker-1", "worker-2"}
    assert before_s <= info.started_s < info.ended_s <= time.monotonic()
    assert 0.02 <= info.run_s < 5
    assert 0.015 <= info.cpu_s < 5
    assert 0 <= info.queued_s < 5
    assert info.rss_bytes > 1 << 20
    assert info.attempt == 1
    assert isinstance(future.task_id, int)
    open_future = client.submit(time.sleep, 60)
    with pytest.raises(ClientError, match="wait for its result"):
        open_future.profiling_info()


class Screen(io.StringIO):
    """Notes each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return len(text)


def test_what_a_task_prints_arrives_in_whole_lines_before_its_future_resolves(client, monkeypatch):
    def talk(number: int) -> int:
        print("line", number, "of", end=" ")
        print("the task")
        print("warned", number, file=sys.stderr)
        print("no newline", number, end="")
        return number

    screen, errors = Screen(), Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", errors)
    for number in range(20):
        assert run(client, talk, number) == number
        assert f"line {number} of the task\n" in "".join(screen.writes)
        assert f"no newline {number}\n" in "".join(screen.writes)
        assert f"warned {number}\n" in "".join(errors.writes)
    assert all(text.endswith("\n") for text in screen.writes + errors.writes)
    screen.writes.clear()
    assert client.map(print, range(50)) == [None] * 50
    assert sorted(map(int, "".join(screen.writes).split())) == list(range(50))


def test_a_failing_and_a_cancelled_task_have_printed_too(client, monkeypatch, until):
    def talk(path: str) -> None:
        print("before the error")
        if path:
            time.sleep(60)
        raise ValueError

    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    client.submit(talk, "").exception(BOUND_S)
    assert screen.writes == ["before the error\n"]
    sleeping = client.submit(talk, "sleep")
    until(lambda: len(screen.writes) == 2)
    assert sleeping.cancel()


def test_a_screen_that_fails_holds_no_future_up(client, monkeypatch, caplog):
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError("nobody reads")

    monkeypatch.setattr(sys, "stdout", Broken())
    for _ in range(3):
        assert run(client, print, "text") is None
    monkeypatch.setattr(sys, "stdout", None)
    assert run(client, print, "text") is None


def test_each_repr_is_one_readable_line(cluster, client):
    future = client.submit(pow, 2, 3)
    wait([future], BOUND_S)
    texts = [repr(thing) for thing in (client, cluster, future, cluster.scheduler)]
    texts.append(str(client.options(name="x")))
    failed, sleeping = client.submit(int, "x"), client.submit(time.sleep, 60)
    wait([failed], BOUND_S)
    texts += [repr(failed), repr(sleeping)]
    sleeping.cancel()
    texts.append(repr(sleeping))
    for text in texts:
        assert text.startswith("<")
        assert text.endswith(">")
        assert "\n" not in text
        assert " at 0x" not in text
        assert len(text) < 120


# --- map ------------------------------------------------------------------------------


def test_map_starmap_and_imap_are_the_builtins_in_parallel(client):
    assert client.map(operator.neg, range(5)) == [0, -1, -2, -3, -4]
    assert client.map(operator.add, [1, 2, 3], (10, 20)) == [11, 22]
    assert client.starmap(pow, [(2, 3), (3, 2)]) == [8, 9]
    assert client.starmap(pow, []) == []
    assert client.map(pow, []) == []
    assert list(client.imap(pow, [], [])) == []
    assert list(client.imap(operator.mul, range(50), itertools.count(1))) == [
        number * (number + 1) for number in range(50)
    ]
    assert client.map(str, (number for number in range(3))) == ["0", "1", "2"]
    with pytest.raises(TypeError):
        client.map(pow)


def test_big_maps(client):
    numbers = range(100_000)
    assert client.map(operator.neg, numbers) == [-number for number in numbers]
    assert sum(client.imap(operator.neg, range(20_000))) == -sum(range(20_000))


def test_an_endless_imap_is_read_as_far_as_needed(client, until):
    taken = 0

    def endless() -> Any:
        nonlocal taken
        while True:
            yield taken
            taken += 1

    values = client.imap(operator.neg, endless())
    assert taken == 0, "nothing runs before the first value is asked for"
    assert [next(values) for _ in range(1_000)] == [-number for number in range(1_000)]
    assert taken < 200_000
    values.close()
    until(lambda: "0 tasks" in repr(client))
    assert run(client, pow, 2, 3) == 8


def test_an_imap_that_is_dropped_cancels_the_rest(client, until):
    values = client.imap(time.sleep, itertools.repeat(0.001))
    next(values)
    del values
    until(lambda: "0 tasks" in repr(client))


def test_the_error_of_the_lowest_failed_item_is_raised_and_the_rest_is_cancelled(client):
    def fail_at(number: int) -> int:
        if number in {3, 500}:
            raise CustomError(number, "failed")
        if number > 500:
            time.sleep(60)
        return number

    start_s = time.monotonic()
    with pytest.raises(CustomError) as caught:
        client.map(fail_at, range(600))
    assert caught.value.code == 3
    assert any("item 3 " in note for note in caught.value.__notes__)
    assert "0 tasks" in repr(client)
    values: list[int] = []
    with pytest.raises(CustomError) as caught:
        for value in client.imap(fail_at, range(600)):
            values.append(value)  # noqa: PERF402 - what came before the error counts
    assert values == [0, 1, 2]
    with pytest.raises(CustomError):
        client.starmap(fail_at, ((number,) for number in range(10)))
    assert time.monotonic() - start_s < 10
    assert client.map(operator.neg, range(3)) == [0, -1, -2]


def test_an_error_of_the_callers_own_iterator_ends_the_map(client):
    def broken() -> Any:
        yield 1
        raise ZeroDivisionError("of the iterator")

    with pytest.raises(ZeroDivisionError):
        client.map(operator.neg, broken())
    assert "0 tasks" in repr(client)


def test_an_item_that_does_not_pickle_is_an_error_and_the_client_goes_on(client):
    with pytest.raises(SerializationError):
        client.map(id, [1, threading.Lock(), 3])
    with pytest.raises(SerializationError) as caught:
        client.map(lambda number: threading.Lock() if number == 5 else number, range(9))
    assert any("item 5 " in note for note in caught.value.__notes__)
    assert client.map(operator.neg, [1]) == [-1]


def test_ctrl_c_in_a_map_cancels_what_it_submitted(tmp_path):
    script = textwrap.dedent("""
        import os, sys, time
        from scaler import Client

        def work(number):
            open(sys.argv[1], "a").write("x")
            time.sleep(60)

        with Client(workers=2) as client:
            task = work
            path = sys.argv[1]
            def task(number):
                open(path, "a").write(f"{os.getpid()} ")
                time.sleep(60)
            try:
                client.map(task, range(10))
            except KeyboardInterrupt:
                print("interrupted", client, client.submit(pow, 2, 3).result())
    """)
    sign = tmp_path / "sign"
    program = subprocess.Popen(
        [sys.executable, "-c", script, str(sign)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline_s = time.monotonic() + BOUND_S
    while not (sign.exists() and len(sign.read_text().split()) == 2):
        assert time.monotonic() < deadline_s
        time.sleep(0.005)
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=BOUND_S)
    assert program.returncode == 0, err.decode()
    assert out.decode().startswith("interrupted <Client 1, connected, 0 tasks")
    assert out.decode().endswith(" 8\n")
    assert err == b""
    assert len(sign.read_text().split()) == 2, "no other item has started"


# --- what cannot be -------------------------------------------------------------------


def test_a_client_inside_a_task_says_so(client):
    def nest() -> None:
        from scaler import Client as Inner

        Inner(workers=1)

    def nest_a_cluster() -> None:
        from scaler import LocalCluster

        LocalCluster(workers=1)

    for task in (nest, nest_a_cluster):
        error = client.submit(task).exception(BOUND_S)
        assert isinstance(error, NestedClientError)
        assert "task" in str(error)


def test_a_future_or_a_client_as_an_argument_says_so(client, cluster):
    future = client.submit(pow, 2, 3)
    for argument in (client, [client], {"key": (client,)}, [client, future]):
        with pytest.raises(ClientError, match="argument"):
            client.submit(print, argument)
        with pytest.raises(ClientError, match="argument"):
            client.submit(print, key=argument)
        with pytest.raises(ClientError, match="argument"):
            client.map(print, [argument])

    def close_over() -> Any:
        return future.result()

    with pytest.raises(ClientError, match="argument"):
        client.submit(close_over)
    with pytest.raises((ClientError, SerializationError), match="LocalCluster"):
        client.submit(print, cluster)
    assert future.result(BOUND_S) == 8


def test_use_after_close_says_so(cluster):
    client = Client(cluster)
    future = client.submit(pow, 2, 3)
    assert future.result(BOUND_S) == 8
    client.close()
    assert client.closed
    for use in (
        lambda: client.submit(pow, 2, 3),
        lambda: client.map(pow, [2], [3]),
        lambda: client.starmap(pow, [(2, 3)]),
        lambda: next(client.imap(pow, [2], [3])),
        lambda: client.options(block=False).submit(pow, 2, 3),
    ):
        with pytest.raises(ClientClosedError, match="closed"):
            use()
    assert future.result() == 8
    assert future.cancel() is True
    assert "closed" in repr(client)


def test_options_name_tasks_and_never_collide_with_keywords(client):
    named = client.options(name="the name")
    assert "the name" in repr(named.submit(abs, 1))
    assert run(named, dict, name="mine", block="mine too") == {"name": "mine", "block": "mine too"}
    assert named.options(block=False).submit(pow, 2, 3).result(BOUND_S) == 8
    with pytest.raises(WorkerDiedError, match="the name"):
        named.submit(os._exit, 3).result(BOUND_S)


def test_modules_beside_a_script_can_be_imported_by_its_tasks(tmp_path):
    (tmp_path / "beside.py").write_text("def f(): return __name__\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import beside, os\nfrom scaler import Client\n"
        "class Point:\n    def __init__(self, x): self.x = x\n"
        "def move(point): return Point(point.x + 1)\n"
        "with Client(workers=1) as client:\n"
        "    print(client.submit(beside.f).result(), client.submit(move, Point(1)).result().x)\n"
        "    print(type(client.submit(move, Point(1)).result()) is Point)\n"
        "    print(client.submit(os.getcwd).result() == os.getcwd())\n"
    )
    command = [sys.executable, str(script)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=BOUND_S, cwd="/"
    )
    assert (done.stdout, done.stderr) == ("beside 2\nTrue\nTrue\n", "")


def read_stdin() -> str:
    return sys.stdin.read()


def test_executors_see_the_environment_that_was_asked_for(monkeypatch):
    monkeypatch.setenv("OF_THE_CALLER", "yes")
    with Client(workers=2, env={"FOR_TASKS": "1"}, preload=["colorsys"]) as client:
        seen = run(client, lambda: SimpleNamespace(**dict(os.environ)))
        assert (seen.OF_THE_CALLER, seen.FOR_TASKS) == ("yes", "1")
        assert int(seen.OMP_NUM_THREADS) >= 1
        assert run(client, lambda: "colorsys" in sys.modules)
        assert run(client, read_stdin) == ""
        assert Path(run(client, os.getcwd)) == Path.cwd()
