"""How clients and clusters begin and end, with real processes."""

from __future__ import annotations

import asyncio
import ctypes
import os
import pty
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from actors import Actor, ActorSystem, WouldDeadlockError, handles
from scaler import (
    CancelOutcome,
    Client,
    ClientBusyError,
    ClientClosedError,
    ClusterBrokenError,
    ClusterStartError,
    LocalCluster,
)

pytestmark = [
    pytest.mark.usefixtures("by_value"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

BOUND_S = 20.0
LONG_S = 60.0


def swallow(path: str) -> None:
    with open(path, "a") as file:
        file.write(f"{os.getpid()} ")
    while True:
        try:
            time.sleep(LONG_S)
        except BaseException:
            pass


def sleep(path: str) -> None:
    with open(path, "a") as file:
        file.write(f"{os.getpid()} ")
    time.sleep(LONG_S)


def spin(payload: bytes) -> int:
    end_ns = time.monotonic_ns() + 50_000
    while time.monotonic_ns() < end_ns:
        pass
    return len(payload)


# --- close ------------------------------------------------------------------------------


def test_close_twice_and_from_many_threads():
    client = Client(workers=2)
    client.submit(pow, 2, 3).result(BOUND_S)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: client.close(), range(4)))
    client.close()
    client.disconnect()
    client.cluster.close()
    with client as entered:
        assert entered.closed


@pytest.mark.parametrize("task", [sleep, swallow], ids=lambda task: task.__name__)
def test_closing_with_twenty_outstanding_tasks_takes_less_than_a_second(
    new_sign, until, alive, task
):
    sign = new_sign()
    client = Client(workers=4)
    futures = [client.submit(task, sign.path) for _ in range(20)]
    until(lambda: len(sign.text().split()) == 4)
    start_s = time.monotonic()
    client.close()
    assert time.monotonic() - start_s < 1.0
    assert {future.cancel_outcome for future in futures} == {CancelOutcome.CANCELED}
    with pytest.raises(CancelledError):
        futures[-1].result()
    assert not any(alive(int(pid)) for pid in sign.text().split())
    assert len(sign.text().split()) == 4, "no queued task has started"


def test_a_thousand_queued_tasks_do_not_make_it_longer(sign, until):
    client = Client(workers=2)
    futures = [client.submit(swallow, sign.path) for _ in range(1_000)]
    until(lambda: len(sign.text().split()) == 2)
    start_s = time.monotonic()
    client.close()
    assert time.monotonic() - start_s < 1.0
    assert all(future.cancelled() for future in futures)
    assert len(sign.text().split()) == 2


def test_a_cancel_that_waits_does_not_delay_the_close(sign, alive):
    client = Client(workers=2)
    future = client.submit(swallow, sign.path)
    pid = sign.pid()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(future.cancel, grace=LONG_S)
        while not future.cancel_outcome and not waiting.running():
            pass
        start_s = time.monotonic()
        client.close()
        assert time.monotonic() - start_s < 1.0
        assert waiting.result(BOUND_S) is True
    assert not alive(pid)


def test_who_waits_in_another_thread_is_woken_by_the_close(sign):
    client = Client(workers=1)
    future = client.submit(sleep, sign.path)
    sign.wait()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(future.result)
        client.close()
        with pytest.raises(CancelledError):
            waiting.result(BOUND_S)


def test_closing_a_cluster_closes_its_clients(sign):
    with LocalCluster(workers=2) as cluster:
        client = Client(cluster)
        future = client.submit(sleep, sign.path)
        sign.wait()
    assert future.cancelled()
    assert client.closed
    with pytest.raises(ClientClosedError):
        client.submit(pow, 2, 3)
    with pytest.raises(ClientClosedError):
        Client(cluster)
    client.close()


def test_clients_of_one_cluster_do_not_disturb_each_other(cluster, new_sign):
    signs = [new_sign(), new_sign()]
    with Client(cluster) as other:
        theirs = other.submit(sleep, signs[0].path)
        client = Client(cluster)
        mine = client.submit(sleep, signs[1].path)
        for sign in signs:
            sign.wait()
        client.disconnect()
        assert mine.cancelled()
        assert not theirs.done()
        assert other.submit(pow, 2, 3).result(BOUND_S) == 8
        assert not cluster.closed


def test_a_client_takes_what_belongs_to_its_cluster_from_there(cluster):
    for wrong in (
        {"workers": 3},
        {"env": {"A": "B"}},
        {"preload": ["colorsys"]},
        {"max_tasks_per_executor": 5},
        {"max_memory_per_executor": 1 << 30},
    ):
        with pytest.raises(ValueError, match="cluster"):
            Client(cluster, **wrong)


def open_resources() -> tuple[int, int, int]:
    process = psutil.Process()
    return process.num_fds(), threading.active_count(), len(process.children(recursive=True))


def test_twenty_starts_and_ends_leave_all_counts_flat():
    counts = []
    for _ in range(20):
        with Client(workers=2) as client:
            assert client.submit(pow, 2, 3).result(BOUND_S) == 8
            client.submit(time.sleep, LONG_S)
            client.submit(print, end="")
        counts.append(open_resources())
    assert len(set(counts)) == 1, counts


# --- starts that fail ------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, -1, 1.5, "2"])
def test_a_wrong_number_of_workers_is_said(workers):
    with pytest.raises((TypeError, ValueError), match="workers"):
        LocalCluster(workers)
    with pytest.raises((TypeError, ValueError), match="workers"):
        Client(workers=workers)


def test_a_preload_that_fails_is_said(tmp_path, monkeypatch):
    (tmp_path / "breaks_at_import.py").write_text("raise RuntimeError('broken on purpose')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for module, text in (
        ("breaks_at_import", "broken on purpose"),
        ("there_is_no_such_module", "there_is_no_such_module"),
    ):
        start_s = time.monotonic()
        with pytest.raises(ClusterStartError, match=text):
            Client(workers=2, preload=[module])
        assert time.monotonic() - start_s < 5


def test_a_start_that_takes_too_long_is_given_up_in_time(tmp_path, monkeypatch):
    (tmp_path / "sleeps_long.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    start_s = time.monotonic()
    with pytest.raises(ClusterStartError):
        LocalCluster(workers=1, preload=["sleeps_long"], start_timeout=0.3)
    assert time.monotonic() - start_s < 3


@pytest.mark.parametrize("path", ["/no/such/python", "/dev/null", ""])
def test_a_missing_interpreter_is_said(monkeypatch, path):
    monkeypatch.setattr(sys, "executable", path)
    start_s = time.monotonic()
    with pytest.raises(ClusterStartError):
        LocalCluster(workers=1)
    assert time.monotonic() - start_s < 5


def test_the_end_of_the_clusters_thread_ends_every_future_with_its_cause(sign, until, alive):
    before = threading.enumerate()
    client = Client(workers=2)
    try:
        futures = [client.submit(swallow, sign.path) for _ in range(5)]
        pid = sign.pid()
        new = [thread for thread in threading.enumerate() if thread not in before]
        (thread,) = (thread for thread in new if thread.name.startswith("node-"))
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident or 0), ctypes.py_object(KeyboardInterrupt)
        )
        for future in futures:
            assert isinstance(future.exception(BOUND_S), ClusterBrokenError)
        assert futures[0].cancel() is True
        with pytest.raises(ClusterBrokenError):
            client.submit(pow, 2, 3)
        until(lambda: not alive(pid))
    finally:
        client.close()


@pytest.mark.parametrize("name", ["scheduler", "worker-1", "future-manager-1"])
def test_the_end_of_one_of_its_actors_ends_every_future_with_its_cause(sign, name):
    cluster = LocalCluster(workers=2)
    client = Client(cluster)
    try:
        futures = [client.submit(sleep, sign.path) for _ in range(5)]
        sign.wait()
        cluster._roles.system.find(name).stop()
        for future in futures:
            assert isinstance(future.exception(BOUND_S), ClusterBrokenError)
        with pytest.raises(ClusterBrokenError):
            client.submit(pow, 2, 3)
    finally:
        start_s = time.monotonic()
        client.close()
        cluster.close()
        assert time.monotonic() - start_s < 2


def test_the_clusters_own_thread_refuses_to_wait_for_itself(cluster, client):
    future = client.submit(time.sleep, LONG_S)
    for wait_here in (future.result, future.cancel, future.exception):
        with pytest.raises(WouldDeadlockError):
            cluster._roles.system.call(wait_here)
    assert future.cancel()


def test_a_callback_may_close_its_client(cluster):
    client = Client(cluster)
    closed = threading.Event()

    def close(_: Any) -> None:
        client.close()
        closed.set()

    client.submit(pow, 2, 3).add_done_callback(close)
    assert closed.wait(BOUND_S)
    assert client.closed


# --- programs that end ------------------------------------------------------------------

PROGRAM = """
import time
from scaler import Client
client = Client(workers=2)
def task(number):
    return number + 1
print(client.submit(task, 1).result(), client.map(task, range(3)))
left = [client.submit(time.sleep, 60) for _ in range(5)]
"""

IN_A_THREAD = """
import concurrent.futures, threading, time
from scaler import Client
clients = []
thread = threading.Thread(target=lambda: clients.append(Client(workers=2)))
thread.start()
thread.join()
client = clients[0]
print(client.submit(lambda: 2).result(), client.map(abs, [-1, 2, -3]))
left = client.submit(time.sleep, 60)
threading.Thread(target=concurrent.futures.wait, args=([left],), daemon=True).start()
"""

IN_A_LOOP = """
import asyncio, time
from scaler import Client
async def main():
    global client
    client = Client(workers=2)
    first = await client.submit(lambda: 2)
    print(first, await asyncio.to_thread(client.map, abs, [-1, 2, -3]))
    client.submit(time.sleep, 60)
asyncio.run(main())
"""


def python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        **options,
    )


@pytest.mark.parametrize("program", [PROGRAM, IN_A_THREAD, IN_A_LOOP], ids=["", "thread", "loop"])
@pytest.mark.parametrize("way", ["script", "-c", "stdin"])
def test_a_program_that_never_closes_its_client_ends_clean(tmp_path, program, way):
    if way == "script":
        script = tmp_path / "script.py"
        script.write_text(program)
        done = python(str(script))
    elif way == "-c":
        done = python("-c", program)
    else:
        done = python("-", input=program)
    assert (done.stdout, done.stderr, done.returncode) == ("2 [1, 2, 3]\n", "", 0)


@pytest.mark.parametrize(
    ("end", "code", "error"),
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("raise ValueError('mine')", 1, "ValueError: mine"),
        ("import os; os._exit(4)", 4, ""),
        ("client.close(); client.cluster.close()", 0, ""),
        ("del client", 0, ""),
        ("import atexit; atexit.register(lambda: left[0].cancel())", 0, ""),
        ("import atexit; atexit.register(client.close)", 0, ""),
    ],
)
def test_a_program_ends_as_it_wants_to(end, code, error):
    done = python("-c", PROGRAM + end)
    assert done.returncode == code
    lines = done.stderr.splitlines()
    assert lines[-1:] == [error] * bool(error)
    assert all("scaler" not in line and "actors" not in line for line in lines)


CTRL_C = "Ctrl-C"

AT_A_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_session_at_the_prompt_ends_clean(sign, until, tmp_path):
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-c", AT_A_TERMINAL, sys.executable, "-q", "-W", "error"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "dumb", "PYTHON_BASIC_REPL": "1"},
    )
    os.close(theirs)
    try:
        text = ""
        for line, answer in (
            ("from scaler import Client; from os import mkdir; from time import sleep", ">>> "),
            ("client = Client(workers=2)", ">>> "),
            ("f = lambda x: g(x) + 1", ">>> "),
            ("def g(x): return 10 * x\n", ">>> "),
            ("client.map(f, range(4))", "[1, 11, 21, 31]"),
            ("future = client.submit(sleep, 60)", ">>> "),
            ("future.cancel(), future.cancel_outcome.name", "(True, 'CANCELED')"),
            ("def g(x): return 100 * x\n", ">>> "),
            ("client.submit(f, 2).result()", "201"),
            ("client.submit(print, 'prin' + 'ted').result()", "printed"),
            (f"def nap(x): mkdir({sign.path!r} + str(x)), sleep(60)\n", ">>> "),
            ("client.map(nap, range(5))", "\n"),
            (CTRL_C, "KeyboardInterrupt"),
            ("client.submit(f, 3).result()", "301"),
            ("future = client.submit(sleep, 60)", ">>> "),
        ):
            if line == CTRL_C:
                # The terminal sends it to all processes in the foreground.
                until(lambda: len(list(tmp_path.glob("sign*"))) == 2)
                os.write(ours, b"\x03")
            else:
                os.write(ours, f"{line}\n".encode())
            text += read_until(ours, answer)
        os.write(ours, b"\x04")
        text += read_until(ours, None)
        assert program.wait(BOUND_S) == 0
        assert text.count("Traceback") == 1, "that of Ctrl-C"
        assert "Error" not in text
    finally:
        os.close(ours)
        program.kill()
        program.wait()


def read_until(fd: int, text: str | None) -> str:
    """Read what comes until `text` has (`None`: until the end)."""
    found = ""
    deadline_s = time.monotonic() + BOUND_S
    while text is None or text not in found:
        assert time.monotonic() < deadline_s, found
        if not select.select([fd], [], [], 0.05)[0]:
            continue
        try:
            data = os.read(fd, 4096)
        except OSError:  # the other side has closed
            data = b""
        if not data:
            assert text is None, found
            return found
        found += data.decode()
    return found


# --- programs that are ended -------------------------------------------------------------

DRIVER = """
import os, sys, time
from scaler import Client
path = sys.argv[1]
def task():
    open(path, "a").write(f"{os.getpid()} ")
    time.sleep(60)
client = Client(workers=2)
futures = [client.submit(task) for _ in range(5)]
"""

WITH_A_FORK = """
child = os.fork()
if not child:
    while True:
        time.sleep(1)
print(child, flush=True)
"""

WITH_A_POOL = """
import multiprocessing
pool = multiprocessing.get_context("fork").Pool(1)
print(pool.apply(os.getpid), flush=True)
"""

WAIT = "futures[0].result()\n"


@contextmanager
def driven(code: str, path: str) -> Iterator[subprocess.Popen[str]]:
    """A program that is on its way, and ended at the latest with the block."""
    program = subprocess.Popen(
        [sys.executable, "-c", code, path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield program
    finally:
        program.kill()
        program.communicate()


@pytest.mark.parametrize("extra", ["", WITH_A_FORK, WITH_A_POOL], ids=["", "fork", "pool"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_program_that_is_ended_leaves_nothing(sign, until, number, extra):
    with driven(DRIVER + extra + WAIT, sign.path) as program:
        until(lambda: len(sign.text().split()) == 2)
        own = int(program.stdout.readline()) if extra else 0  # type: ignore[union-attr]
        processes = psutil.Process(program.pid).children(recursive=True)
        ours = [process for process in processes if process.pid != own]
        assert len(ours) >= 3
        try:
            program.send_signal(number)
            program.wait(BOUND_S)
            until(lambda: not any(running(process) for process in ours), 2.0)
        finally:
            for process in processes:
                if running(process):
                    process.kill()
        assert len(sign.text().split()) == 2, "no other task has started"


def running(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_ctrl_c_shows_the_users_own_line_only(sign, until):
    with driven(DRIVER + WAIT, sign.path) as program:
        until(lambda: len(sign.text().split()) == 2)
        program.send_signal(signal.SIGINT)
        _, err = program.communicate(timeout=BOUND_S)
    assert err.splitlines()[-1] == "KeyboardInterrupt"
    assert err.count("Traceback") == 1


def test_in_a_fork_the_client_says_whose_it_is_and_a_new_one_works(tmp_path):
    script = textwrap.dedent("""
        import os, sys
        from scaler import Client, ForkedClientError
        with Client(workers=1) as client:
            future = client.submit(pow, 2, 3)
            slow = client.submit(__import__("time").sleep, 60)
            assert future.result() == 8
            child = os.fork()
            if not child:
                told = 0
                for use in (
                    lambda: client.submit(pow, 2, 3),
                    lambda: client.map(abs, [1]),
                    lambda: slow.result(),
                    lambda: slow.cancel(),
                    lambda: Client(client.cluster),
                ):
                    try:
                        use()
                    except ForkedClientError as error:
                        told += str(os.getpid()) in str(error)
                client.close()
                client.cluster.close()
                assert future.result() == 8
                repr(client), repr(client.cluster)
                with Client(workers=1) as own:
                    print(told, own.submit(pow, 2, 4).result(), flush=True)
                sys.exit(5)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            print(client.submit(pow, 2, 5).result() if slow.cancel() else None)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=BOUND_S
    )
    assert done.stderr == ""
    assert done.stdout == "5 16\n5\n32\n"


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_fork_keeps_no_descriptor_of_the_cluster():
    script = textwrap.dedent("""
        import os
        from scaler import Client
        def kinds():
            names = []
            for fd in os.listdir("/proc/self/fd"):
                try:
                    names.append(os.readlink(f"/proc/self/fd/{fd}").partition(":[")[0])
                except FileNotFoundError:  # the directory that was just listed
                    pass
            return sorted(names)
        before = kinds()
        with Client(workers=2) as client:
            client.submit(pow, 2, 3).result()
            child = os.fork()
            if not child:
                print(kinds() == before or kinds(), flush=True)
                os._exit(0)
            os.waitpid(child, 0)
            print(client.submit(pow, 2, 4).result())
    """)
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=BOUND_S
    )
    assert done.stderr == ""
    assert done.stdout == "True\n16\n"


# --- a stalled main thread ------------------------------------------------------------------


class Later(Actor):
    """Answers a second after it was asked."""

    @handles(str)
    def on_text(self, message: str) -> None:
        self.replies = [*getattr(self, "replies", []), self.context.defer_reply()]
        self.context.start_timer("later", 1.0, 0)

    @handles(int)
    def on_due(self, message: int) -> None:
        for reply in self.replies:
            reply.send("answer")


def test_five_seconds_in_c_code_cause_no_false_timeout_and_no_death(cluster, client, sign, until):
    with ActorSystem("patient") as system, ThreadPoolExecutor(2) as pool:
        later = system.spawn(Later)
        swallowing = client.submit(swallow, sign.path)
        tasks = [client.submit(time.sleep, 0.01 * number) for number in range(20)]
        sign.wait()
        answer = later.ask("question", timeout=2.0)
        cancel = pool.submit(swallowing.cancel, timeout=2.0, grace=1.0)
        waiting = pool.submit(lambda: tasks[-1].result(4.0))
        until(lambda: cancel.running() and waiting.running())
        ctypes.PyDLL(None).usleep(5_000_000)  # holds the GIL
        assert cancel.result(BOUND_S) is True
        assert swallowing.cancel_outcome is CancelOutcome.CANCELED
        assert answer.result() == "answer"
        waiting.exception(BOUND_S)
        assert [task.result(BOUND_S) for task in tasks] == [None] * 20
        assert client.submit(pow, 2, 3).result(BOUND_S) == 8


# --- credit -----------------------------------------------------------------------------------


@pytest.fixture
def narrow(cluster):
    """A client that may have two tasks in flight."""
    with Client(cluster, credit_tasks=2) as client:
        yield client


def test_without_credit_a_client_that_must_not_wait_says_so(narrow):
    futures = [narrow.submit(time.sleep, LONG_S) for _ in range(2)]
    with pytest.raises(ClientBusyError, match="2 tasks"):
        narrow.options(block=False).submit(pow, 2, 3)

    async def in_a_coroutine() -> None:
        narrow.submit(pow, 2, 3)

    async def in_a_callback() -> None:
        seen: list[BaseException] = []

        def callback() -> None:
            try:
                narrow.submit(pow, 2, 3)
            except ClientBusyError as error:
                seen.append(error)

        asyncio.get_running_loop().call_soon(callback)
        await asyncio.sleep(0.01)
        raise seen[0]

    for refused in (in_a_coroutine, in_a_callback):
        with pytest.raises(ClientBusyError):
            asyncio.run(refused())
    assert futures[0].cancel()
    for _ in range(50):
        assert narrow.options(block=False).submit(pow, 2, 3).result(BOUND_S) == 8


def test_asubmit_waits_for_credit_and_the_loop_goes_on(narrow):
    futures = [narrow.submit(time.sleep, LONG_S) for _ in range(2)]

    async def main() -> int:
        waiting = asyncio.create_task(narrow.asubmit(pow, 2, 3))
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert not waiting.done()
        assert await futures[0].acancel()
        return await (await asyncio.wait_for(waiting, BOUND_S))

    assert asyncio.run(main()) == 8


def test_a_submit_that_waits_goes_on_with_credit_or_ends_with_the_close(narrow, until):
    futures = [narrow.submit(time.sleep, LONG_S) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(narrow.submit, pow, 2, 3)
        with pytest.raises(TimeoutError):
            waiting.result(0.05)
        assert futures[0].cancel()
        assert waiting.result(BOUND_S).result(BOUND_S) == 8
        futures.append(narrow.submit(time.sleep, LONG_S))
        waiting = pool.submit(narrow.submit, pow, 2, 3)
        with pytest.raises(TimeoutError):
            waiting.result(0.05)
        narrow.close()
        with pytest.raises(ClientClosedError):
            waiting.result(BOUND_S)


def test_ctrl_c_interrupts_a_submit_that_waits_and_loses_nothing(narrow):
    futures = [narrow.submit(time.sleep, LONG_S) for _ in range(2)]
    interrupt = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        narrow.submit(pow, 2, 3)
    interrupt.join()
    assert "2 tasks" in repr(narrow)
    assert not any(future.done() for future in futures)
    assert narrow.cancel(futures) == [True, True]
    assert [narrow.submit(pow, 2, 3).result(BOUND_S) for _ in range(5)] == [8] * 5


@pytest.mark.parametrize(
    ("credit", "tasks", "size"),
    [({"credit_tasks": 500}, 30_000, 1_000), ({"credit_bytes": 500_000}, 400, 100_000)],
    ids=["tasks", "bytes"],
)
def test_any_number_of_submits_against_a_slow_worker_keeps_memory_bounded(credit, tasks, size):
    with Client(workers=1, **credit) as client:
        assert client.submit(spin, b"").result(BOUND_S) == 0
        process = psutil.Process()
        before = process.memory_info().rss
        most_tasks = most_bytes = 0
        for number in range(tasks):
            last = client.submit(spin, bytes(size))
            if number % 20 == 0:
                in_flight = client._session.credit.in_flight()
                most_tasks = max(most_tasks, in_flight[0])
                most_bytes = max(most_bytes, in_flight[1])
        assert last.result(BOUND_S) == size
        assert most_tasks <= credit.get("credit_tasks", tasks)
        assert most_bytes <= credit.get("credit_bytes", 2 * size * tasks)
        assert process.memory_info().rss - before < 15_000_000


def test_a_task_larger_than_the_whole_credit_runs_alone(cluster):
    with Client(cluster, credit_bytes=1_000) as client:
        futures = [client.submit(len, bytes(5_000)) for _ in range(5)]
        assert [future.result(BOUND_S) for future in futures] == [5_000] * 5


# --- places -----------------------------------------------------------------------------------


def test_a_client_works_in_a_thread_and_in_a_loop(cluster):
    def use() -> int:
        with Client(workers=1) as client:
            return client.submit(pow, 2, 3).result(BOUND_S)

    async def use_in_a_loop() -> list[int]:
        with Client(cluster) as client:
            futures = [client.submit(pow, 2, number) for number in range(5)]
            return list(await asyncio.gather(*futures))

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(use).result(BOUND_S) == 8
    assert asyncio.run(use_in_a_loop()) == [1, 2, 4, 8, 16]


def test_executors_start_where_the_client_was_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Client(workers=1) as client:
        monkeypatch.chdir("/")
        assert Path(client.submit(os.getcwd).result(BOUND_S)) == tmp_path
        assert client.submit(os.chdir, "/usr").result(BOUND_S) is None
        assert Path(client.submit(os.getcwd).result(BOUND_S)) == tmp_path
        ended = client.submit(os._exit, 3)
        wait([ended], BOUND_S)
        assert Path(client.submit(os.getcwd).result(BOUND_S)) == tmp_path


def test_many_threads_submit_and_cancel(client):
    def work(number: int) -> int:
        futures = [client.submit(pow, number, 2) for _ in range(50)]
        sleeping = client.submit(time.sleep, LONG_S)
        total = sum(future.result(BOUND_S) for future in futures)
        assert sleeping.cancel()
        return total

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [50 * number**2 for number in range(8)]
    assert "0 tasks and 0 bytes" in repr(client)


def test_callbacks_may_use_the_client(client):
    answered = threading.Semaphore(0)
    answers: list[Any] = []

    def resubmit(future: Any) -> None:
        answers.append(client.submit(pow, future.result(), 2).result(BOUND_S))
        answered.release()

    def slow(_: Any) -> Callable[[], None]:
        raise ValueError("logged, and nothing else")

    future = client.submit(pow, 3, 1)
    future.add_done_callback(resubmit)
    assert answered.acquire(timeout=BOUND_S)
    assert answers == [9]
