"""Large arguments and results in shared memory, with real executors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from scaler import Client, ClientClosedError, SerializationError, TaskTimeoutError, WorkerDiedError
from scaler.objects.arena import PAGE_BYTES
from scaler.protocol.tasks import Task, TaskSubmit
from tests.scaler.columns import Column, identity, is_filled
from tests.scaler.rest import at_rest

pytestmark = pytest.mark.usefixtures("by_value")
BOUND_S = 20.0
SMALL = 1 << 17
LARGE = 1 << 21
MB = 1 << 20


def column(size: int = LARGE, value: int = 1) -> Column:
    return Column(bytes([value]) * size)


def hangs(value: Any, path: str) -> None:
    with open(path, "w") as sign:
        sign.write(str(os.getpid()))
    time.sleep(60)


def dies(value: Any) -> None:
    os._exit(3)


@pytest.fixture
def homes(client: Client) -> Callable[[], list[int]]:
    """`homes()`: the objects that there are now."""
    return lambda: list(client.cluster.objects.objects)


@pytest.fixture
def held_bytes(client: Client) -> Callable[[], int]:
    """`held_bytes()`: memory that all objects take now, those that are kept warm, too."""
    return lambda: os.fstat(client.cluster.objects.file.fd).st_blocks * 512


@pytest.fixture(autouse=True)
def _no_object_is_left(client: Client, until: Any) -> Iterator[None]:
    yield
    until(at_rest(client.cluster.objects))


# --- values ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, SMALL, LARGE, LARGE + 77])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_bytes_of_all_sizes_go_there_and_back(client, kind, size):
    value = kind(os.urandom(size))
    back = client.submit(identity, value).result(BOUND_S)
    assert type(back) is kind
    assert back == value


@pytest.mark.parametrize("size", [1, SMALL, LARGE, LARGE + 77])
def test_buffers_go_there_and_back_and_are_read_only(client, size):
    value = Column(bytearray(os.urandom(size)))
    back = client.submit(identity, value).result(BOUND_S)
    assert back.data == value.data
    assert back.data.readonly == (size >= SMALL)


def test_arrays_go_there_and_back(client):
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(LARGE).reshape(2, -1)
    futures = [client.submit(identity, {"a": array, "b": [array[1]]}) for _ in range(3)]
    for future in futures:
        value = future.result(BOUND_S)
        assert (value["a"] == array).all()
        assert (value["b"][0] == array[1]).all()
        assert not value["a"].flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            value["a"][0, 0] = 1


def test_results_are_mapped_and_not_copied(client):
    future = client.submit(column)
    first = future.result(BOUND_S)
    views = client.cluster.objects.views
    assert len(views) == 1
    assert views.find(first.data) is not None
    assert future.result() is first


def test_an_object_is_told_by_its_place(client, homes, until):
    first = client.submit(column)
    first.result(BOUND_S)
    (home,) = homes()
    again = client.submit(identity, first).result(BOUND_S)
    twice = client.submit(identity, again).result(BOUND_S)
    assert homes() == [home]
    del first, again
    assert is_filled(twice, 1)
    assert homes() == [home]


def test_a_future_that_was_not_read_is_told_by_its_place(client, homes):
    first = client.submit(column)
    second = client.submit(identity, first)
    third = client.submit(identity, second)
    assert is_filled(third.result(BOUND_S), 1)
    del first, second
    assert len(homes()) == 1


def test_a_map_of_large_items_comes_out_in_order(client):
    items = [column(LARGE if number % 3 else SMALL, number) for number in range(40)]
    values = client.map(identity, items)
    assert [value.data for value in values] == [item.data for item in items]
    assert all(client.map(is_filled, values, range(40)))
    assert [value.data for value in client.imap(identity, values)] == [v.data for v in values]


def test_an_exception_with_a_large_argument_is_raised_and_lets_go_of_it(client, homes, until):
    def fail(value: Column) -> None:
        raise ValueError("large", len(value))

    future = client.submit(fail, column())
    with pytest.raises(ValueError, match="large"):
        future.result(BOUND_S)
    until(lambda: not homes())


def test_a_chunk_that_fails_after_large_values_lets_go_of_them(client):
    def pick(number: int) -> Column:
        if number == 7:
            raise ValueError(number)
        return column()

    with pytest.raises(ValueError, match="7"):
        client.map(pick, range(8))


# --- the life of objects --------------------------------------------------------------------


def test_dropped_futures_leave_nothing(client, homes, until):
    futures = [client.submit(identity, column()) for _ in range(20)]
    for future in futures[::2]:
        future.result(BOUND_S)
    del future, futures
    until(lambda: not homes())


def test_many_large_results_leave_no_memory_behind(client, held_bytes, until):
    for _ in range(200):
        assert len(client.submit(column, 8 * MB).result(BOUND_S)) == 8 * MB
    # What each executor keeps warm or was not yet told of, and one result.
    assert held_bytes() < 400 * MB


@pytest.mark.parametrize("force", [True, False])
def test_a_cancelled_task_lets_go_of_its_arguments(client, homes, sign, until, force):
    running = client.submit(hangs, column(), sign.path)
    waiting = [client.submit(hangs, column(), sign.path) for _ in range(8)]
    sign.wait()
    for future in waiting:
        future.cancel(force=force)
    assert running.cancel()
    client.cancel(waiting)  # one of them ran by then, on the other worker
    del waiting, future
    until(lambda: not homes())


def test_a_task_that_is_cancelled_while_it_packs_leaves_nothing(client, homes, held_bytes, until):
    def produce() -> Any:
        return [column(8 * MB) for _ in range(8)]

    for after_s in range(15):
        future = client.submit(produce)
        with suppress(TimeoutError):
            future.exception(after_s / 200)
        future.cancel()
    del future
    until(lambda: not homes())
    assert held_bytes() < 700 * MB


def test_a_timed_out_task_lets_go_of_its_arguments(client, homes, sign, until):
    future = client.options(timeout=0.2).submit(hangs, column(), sign.path)
    with pytest.raises(TaskTimeoutError):
        future.result(BOUND_S)
    until(lambda: not homes())


def test_a_task_that_kills_its_executor_lets_go_of_its_arguments(client, homes, until):
    future = client.submit(dies, column())
    with pytest.raises(WorkerDiedError):
        future.result(BOUND_S)
    until(lambda: not homes())


def test_a_task_whose_executor_was_killed_has_its_arguments_again(client, new_sign, until):
    sign, second = new_sign(), new_sign()

    def second_time(value: Column, path: str, second: str) -> bool:
        if not os.path.exists(path):
            hangs(value, path)
        hold = value.data == bytes([5]) * len(value)
        with open(second, "w") as file:
            file.write(str(hold))
        return hold

    future = client.submit(second_time, column(LARGE, 5), sign.path, second.path)
    os.kill(sign.pid(), signal.SIGKILL)
    assert future.result(BOUND_S)


def test_a_retried_task_has_its_arguments_again(client):
    def raises(value: Column) -> None:
        raise ValueError(value.data == bytes([5]) * len(value))

    future = client.options(retries=3).submit(raises, column(LARGE, 5))
    with pytest.raises(ValueError, match="True"):
        future.result(BOUND_S)
    assert future.profiling_info().attempt == 4


def test_results_outlive_the_executor_that_wrote_them(client, until):
    futures = [client.submit(column, LARGE, 9) for _ in range(6)]
    views = [future.result(BOUND_S) for future in futures[:3]]
    until(lambda: all(future.done() for future in futures))
    pids = {future.profiling_info().pid for future in futures}
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    until(lambda: client.submit(os.getpid).result(BOUND_S) not in pids)
    for _ in range(20):  # what would be written over them
        assert is_filled(client.submit(column, LARGE, 4).result(BOUND_S), 4)
    assert all(is_filled(future.result(), 9) for future in futures)
    assert all(is_filled(view, 9) for view in views)


def test_a_message_that_nobody_handles_keeps_no_object(client, homes, until):
    body = client.cluster.objects.pack(bytes(LARGE), [])
    assert homes()
    task = Task(1, b"", body.payload, objects=body.objects)
    client._session.manager.tell(TaskSubmit((), (task,)))  # which takes no tasks itself
    del body, task
    until(lambda: not homes())


# --- the end --------------------------------------------------------------------------------


def test_results_are_there_after_the_client_and_its_cluster_were_closed(until):
    with Client(workers=2) as client:
        read, unread = (client.submit(column, LARGE, number) for number in (1, 2))
        value = read.result(BOUND_S)
        until(unread.done)
    assert is_filled(value, 1)
    assert is_filled(unread.result(), 2)
    assert is_filled(read.result(), 1)


def test_what_is_dropped_after_the_end_gives_its_memory_back(until):
    with Client(workers=2) as client:
        objects = client.cluster.objects
        values = [client.submit(column, LARGE, number).result(BOUND_S) for number in range(4)]
    with open(os.dup(objects.file.fd), "rb") as file:
        assert os.fstat(file.fileno()).st_blocks * 512 == 4 * LARGE + PAGE_BYTES
        del values[1:]
        assert os.fstat(file.fileno()).st_blocks * 512 == LARGE + PAGE_BYTES
        assert is_filled(values[0], 0)
        values.clear()
        assert os.fstat(file.fileno()).st_blocks * 512 == PAGE_BYTES
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(objects.file.fd)


def test_a_client_that_is_closed_while_it_pickles_a_large_argument_says_so(until):
    class Late:
        def __reduce__(self) -> Any:
            until(lambda: client.cluster.objects.file.fd < 0)
            return bytes, ()

    def submit() -> None:
        try:
            client.submit(identity, [Late(), column()])
        except BaseException as error:
            raised.append(error)

    raised: list[BaseException] = []
    with Client(workers=1) as client:
        thread = threading.Thread(target=submit)
        thread.start()
    thread.join(BOUND_S)
    assert [type(error) for error in raised] == [ClientClosedError]


def test_a_fork_reads_what_was_mapped_and_is_told_that_there_is_no_more(client, until):
    value = client.submit(column, LARGE, 3).result(BOUND_S)
    unread = client.submit(column, LARGE, 4)
    until(unread.done)
    receiver, sender = os.pipe()
    pid = os.fork()
    if pid == 0:
        text = "no error"
        try:
            text = f"{is_filled(value, 3)} "
            unread.result(1.0)
        except SerializationError as error:
            text += str(error)
        except BaseException as error:
            text += repr(error)
        finally:
            os.write(sender, text.encode())
            os._exit(0)
    os.close(sender)
    with open(receiver) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    assert text.startswith(f"True {LARGE} bytes of shared memory cannot be opened in this process")
    assert "fork" in text
    assert is_filled(unread.result(), 4), "here all is as it was"


def test_a_script_with_large_values_says_nothing(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from scaler import Client\n"
        "def make(n): return bytes(n)\n"
        "client = Client(workers=2)\n"
        "futures = [client.submit(make, 4_000_000) for _ in range(10)]\n"
        "futures += [client.submit(len, bytes(4_000_000)) for _ in range(10)]\n"
        "print(sum(len(f.result()) for f in futures[:3]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", str(script)],
        check=False,
        capture_output=True,
        text=True,
        timeout=BOUND_S * 2,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "12000000\n", "")
