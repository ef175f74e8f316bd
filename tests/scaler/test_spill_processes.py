"""Clients whose objects need more memory than they may take, with real executors."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from scaler import Client, ObjectStoreFullError
from tests.scaler.columns import Column, is_filled
from tests.scaler.rest import at_rest

pytestmark = pytest.mark.usefixtures("by_value")
BOUND_S = 20.0
MB = 1 << 20
LIMIT = 16 * MB


def column(value: int, size: int = 2 * MB) -> Column:
    return Column(bytes([value]) * size)


def twice(value: Column) -> Column:
    return Column(bytes([2 * value.data[0]]) * len(value))


def wait_briefly(wait_s: float) -> int:
    """Have this executor wait less for room."""
    import scaler.objects.room

    vars(scaler.objects.room)["ROOM_WAIT_S"] = wait_s
    time.sleep(0.05)
    return os.getpid()


@pytest.fixture
def small(tmp_path, until) -> Iterator[Client]:
    """A client of a cluster with little room; nothing is left in it, nor on disk."""
    folder = tmp_path / "spill"
    folder.mkdir()
    with Client(workers=2, object_store_bytes=LIMIT, spill_directory=folder) as made:
        yield made
        until(at_rest(made.cluster.objects))
        assert made.cluster.objects.room.used_bytes() == 0
    assert list(folder.iterdir()) == []


@pytest.fixture
def pressed(small, monkeypatch) -> threading.Event:
    """Set when one of this process waits for room."""
    event = threading.Event()
    press = small.cluster.objects.press
    monkeypatch.setattr(small.cluster.objects, "press", lambda size=0: (press(size), event.set()))
    return event


def on_disk(client: Client) -> int:
    return sum(info.spilled for info in client.objects())


def full(client: Client) -> list[Column]:
    """Values that pin all of the store."""
    return [client.get(client.put(column(number))) for number in range(LIMIT // (2 * MB))]


# --- values -----------------------------------------------------------------------------------


def test_many_unread_results_beyond_the_limit_come_out_right(small, until):
    futures = [small.submit(column, number) for number in range(40)]
    until(lambda: all(future.done() for future in futures))
    assert on_disk(small) >= 30
    assert all(is_filled(future.result(), n) for n, future in enumerate(futures[:5]))
    for number, future in enumerate(futures):
        value = future.result(BOUND_S)
        assert is_filled(value, number)
        del value
        future.release()


@pytest.mark.parametrize("size", [1 << 17, MB, 2 * MB + 77])
def test_references_are_arguments_after_they_were_spilled(small, size):
    count = 3 * LIMIT // size
    made = [small.put(column(number % 200, size)) for number in range(count)]
    assert on_disk(small) > count // 3
    assert all(small.map(is_filled, made, [number % 200 for number in range(count)]))
    last = [small.submit(is_filled, made[0], 0) for _ in range(10)]
    assert all(future.result(BOUND_S) for future in last)


def test_results_are_arguments_after_they_were_spilled(small, until):
    futures = [small.submit(column, number) for number in range(24)]
    until(lambda: all(future.done() for future in futures))
    assert on_disk(small) >= 12
    again = [small.submit(twice, future) for future in futures]
    checked = [small.submit(is_filled, f, 2 * n) for n, f in enumerate(again)]
    assert all(future.result(BOUND_S) for future in checked)


def test_a_spilled_argument_can_be_a_result(small, until):
    made = [small.put(column(number)) for number in range(20)]
    until(lambda: small.objects()[0].spilled)
    futures = [small.submit(lambda value: value, one) for one in made]
    made.clear()
    for number, future in enumerate(futures):
        value = future.result(BOUND_S)
        assert is_filled(value, number)
        futures[number] = value = None


def test_a_map_of_more_than_there_is_room_for_comes_to_its_end(small):
    items = [column(number) for number in range(40)]
    single = small.options(retries=1)
    for number, value in enumerate(single.imap(twice, items)):
        assert is_filled(value, 2 * number)


# --- no room ----------------------------------------------------------------------------------


def test_who_is_full_says_so_in_submit_put_and_result(small, monkeypatch, until):
    monkeypatch.setattr("scaler.objects.room.ROOM_WAIT_S", 0.2)
    until(lambda: len({*small.map(wait_briefly, [0.2] * 2)}) == 2)
    values = full(small)
    text = (
        "there is no room for an object of 2,097,152 bytes: 16,777,216 of 16,777,216 bytes are in "
        "use, and within 0.2 s nothing could be spilled or freed"
    )
    with pytest.raises(ObjectStoreFullError, match=text):
        small.put(column(1))
    with pytest.raises(ObjectStoreFullError, match=text):
        small.submit(len, column(1))
    future = small.submit(column, 1)
    with pytest.raises(ObjectStoreFullError, match=text):
        future.result(BOUND_S)
    values.pop()
    assert is_filled(small.submit(column, 1).result(BOUND_S), 1)


def test_what_is_larger_than_the_store_says_so_in_submit_put_and_result(small):
    text = "an object of 16,777,217 bytes is larger than the object store, which has 16,777,216"
    for call in (small.put, lambda value: small.submit(len, value)):
        with pytest.raises(ObjectStoreFullError, match=text):
            call(column(1, LIMIT + 1))
    future = small.submit(column, 1, LIMIT + 1)
    with pytest.raises(ObjectStoreFullError, match=text):
        future.result(BOUND_S)


def test_a_result_whose_parts_are_together_larger_than_the_store_says_so(small):
    future = small.submit(lambda: [column(1, 10 * MB), column(2, 10 * MB)])
    text = "the objects of one task, 20,971,520 bytes up to now, are larger than the object store"
    with pytest.raises(ObjectStoreFullError, match=text):
        future.result(BOUND_S)
    assert is_filled(small.submit(column, 3, 10 * MB).result(BOUND_S), 3)


def test_executors_that_wait_for_room_get_it_when_values_are_dropped(small, sign, until):
    def make(number: int, path: str) -> Column:
        with open(path, "w") as file:
            file.write("made")
        return column(number)

    values = full(small)
    future = small.submit(make, 5, sign.path)
    sign.wait()
    assert not future.done()
    values.pop()
    assert is_filled(future.result(BOUND_S), 5)


def test_a_task_that_waits_for_room_is_cancelled_at_once(small, sign):
    def make(path: str) -> Column:
        with open(path, "w") as file:
            file.write("made")
        return column(1)

    values = full(small)
    future = small.submit(make, sign.path)
    sign.wait()
    began_s = time.monotonic()
    assert future.cancel()
    assert time.monotonic() - began_s < 5.0
    assert len(values) == LIMIT // (2 * MB)


def test_an_executor_that_dies_lets_go_of_what_it_pinned(small, sign, until):
    def hangs(value: Column, path: str) -> None:
        with open(path, "w") as file:
            file.write(str(os.getpid()))
        time.sleep(60)

    made = [small.put(column(3))]
    future = small.options(max_attempts=1).submit(hangs, made[0], sign.path)
    os.kill(sign.pid(), signal.SIGKILL)
    assert future.exception(BOUND_S) is not None
    until(lambda: not small.objects()[0].pinned)
    made += [small.put(column(number)) for number in range(20)]
    until(lambda: on_disk(small) >= 13)


def test_a_put_that_waits_for_room_ends_when_another_thread_lets_go(small):
    values = full(small)
    made: list[Any] = []
    thread = threading.Thread(target=lambda: made.append(small.put(column(9))))
    thread.start()
    values.clear()
    thread.join(BOUND_S)
    assert is_filled(small.get(made[0]), 9)


def test_asubmit_waits_for_room_and_the_loop_goes_on(small, pressed):
    async def work() -> bool:
        values = full(small)
        waiting = asyncio.create_task(small.asubmit(is_filled, column(9), 9))
        assert await asyncio.to_thread(pressed.wait, BOUND_S)
        values.pop()
        return await (await waiting)

    assert asyncio.run(work())


def test_an_asubmit_that_finds_no_room_says_so_and_one_that_is_cancelled_leaves_nothing(
    small, pressed, monkeypatch
):
    monkeypatch.setattr("scaler.objects.room.ROOM_WAIT_S", 0.2)
    argument, data = column(9), bytearray(2 * MB)

    async def work() -> None:
        with pytest.raises(ObjectStoreFullError, match="there is no room for an object"):
            await small.asubmit(len, argument)
        pressed.clear()
        waiting = asyncio.create_task(small.asubmit(len, Column(data)))
        assert await asyncio.to_thread(pressed.wait, BOUND_S)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    values = full(small)
    asyncio.run(work())
    data.clear()  # nobody looks at it any more
    assert len(small.objects()) == len(values)
    assert "0 tasks and 0 bytes in flight" in repr(small)


# --- the disk ---------------------------------------------------------------------------------


def files_below(pid: int, folder: Any) -> list[str]:
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        if target.startswith(f"{folder}/"):
            found.append(target)
    return found


def test_the_spill_directory_is_used_by_all_and_nothing_is_seen_there(small, tmp_path):
    folder = tmp_path / "spill"
    pids = {small.submit(os.getpid).result(BOUND_S), os.getpid()}
    for pid in pids:
        (name,) = files_below(pid, folder)
        assert name.endswith("(deleted)")
    assert list(folder.iterdir()) == []


def test_where_files_may_not_be_large_a_cluster_says_so_at_its_start():
    script = (
        "import resource\n"
        "from scaler import Client, ClusterStartError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "try:\n"
        "    Client(workers=1)\n"
        "except ClusterStartError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "the cluster did not start: the shared memory of a cluster is one large file, of which "
        "little is used, and the files of this process may have 1,048,576 bytes at most "
        "(ulimit -f, RLIMIT_FSIZE); lift that limit: ulimit -f unlimited\n"
    )


def test_a_place_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match="spill_directory must be a directory to write in"):
        Client(workers=1, spill_directory=tmp_path / "none")


def test_nothing_is_left_on_disk_after_the_program_was_killed(tmp_path, alive, until):
    script = tmp_path / "script.py"
    folder = tmp_path / "spill"
    folder.mkdir()
    script.write_text(
        "import os, sys, time\n"
        "from scaler import Client\n"
        f"client = Client(workers=2, object_store_bytes={LIMIT}, spill_directory=sys.argv[1])\n"
        "held = [client.put(os.urandom(2_000_000)) for _ in range(40)]\n"
        "print(sum(info.spilled for info in client.objects()), client.submit(os.getpid).result(),"
        " flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as program:
        assert program.stdout is not None
        spilled, executor = map(int, program.stdout.readline().split())
        assert spilled >= 30
        assert files_below(program.pid, folder)
        assert files_below(executor, folder)
        program.kill()
    until(lambda: not alive(executor))
    assert list(folder.iterdir()) == []
