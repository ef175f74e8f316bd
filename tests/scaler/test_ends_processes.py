"""Ends that come in the middle of something, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from scaler import Client, ClusterBrokenError, ForkedClientError, LocalCluster
from scaler.at_exit import close_all
from tests.interruptions import interruptions

pytestmark = [
    pytest.mark.usefixtures("by_value"),
    pytest.mark.skipif(sys.platform != "linux", reason="needs pidfds"),
]

BOUND_S = 20.0
LONG_S = 60.0


def test_a_signal_handler_may_close_the_client_that_is_being_closed(sign):
    def resist(path: str, owner: int) -> None:
        with open(path, "w") as file:
            file.write("runs")
        while True:
            try:
                time.sleep(LONG_S)
            except BaseException:
                os.kill(owner, signal.SIGUSR1)

    closed_by_handler: list[bool] = []

    def handler(*_: object) -> None:
        client.close()
        closed_by_handler.append(client.closed)

    client = Client(workers=1)
    client.submit(resist, sign.path, os.getpid())
    sign.wait()
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        client.close()  # it interrupts the task, which sends the signal and has to be killed
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert closed_by_handler == [True]


def test_closing_a_client_of_a_broken_cluster_ends_its_threads():
    with LocalCluster(workers=1) as cluster, Client(cluster) as client:
        future = client.submit(time.sleep, LONG_S)
        told = threading.Event()
        future.add_done_callback(lambda _: told.set())
        cluster._roles.system.find("scheduler").stop()
        assert isinstance(future.exception(BOUND_S), ClusterBrokenError)
        assert told.wait(BOUND_S)


class Slow:
    """Signals arrive while it is closed: each time it is called, one of `signals`."""

    def __init__(self, *signals: int, fails: Exception | None = None) -> None:
        self.signals = [*signals]
        self.fails = fails
        self.closed = False

    def close(self) -> None:
        if self.signals:
            signal.raise_signal(self.signals.pop(0))
        if self.fails:
            raise self.fails
        self.closed = True


def test_at_exit_ctrl_c_does_nothing_until_all_is_closed():
    slow = [Slow(signal.SIGINT), Slow(), Slow(signal.SIGINT)]
    close_all(slow)
    assert [one.closed for one in slow] == [True] * 3
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_at_exit_what_a_signal_handler_raises_ends_no_close():
    def leave(*_: object) -> None:
        raise SystemExit(3)

    slow = [Slow(signal.SIGINT, signal.SIGUSR1), Slow(signal.SIGINT)]
    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGUSR1)}
    try:
        close_all(slow)
        assert signal.getsignal(signal.SIGINT) is leave
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert [(one.closed, one.signals) for one in slow] == [(True, [])] * 2


def test_at_exit_a_close_that_fails_is_logged_and_the_next_is_closed(caplog):
    slow = [Slow(fails=OSError("no luck")), Slow()]
    close_all(slow)
    assert [one.closed for one in slow] == [False, True]
    assert [record.message for record in caplog.records] == [
        "a close at the end of the program failed"
    ]
    assert "no luck" in caplog.text


def test_at_exit_all_is_closed_on_another_thread_too():
    slow = Slow()
    thread = threading.Thread(target=close_all, args=([slow],))
    thread.start()
    thread.join(BOUND_S)
    assert slow.closed


PROGRAM = """
    import os, time
    from scaler import Client, LocalCluster

    def task():
        try:
            time.sleep(60)
        finally:
            os.write(1, b"has cleaned up\\n")

    future = Client(workers=1).submit(task)
    future.add_done_callback(lambda future: print(future.cancel_outcome.value, flush=True))
    while not future.running():
        time.sleep(0.001)
"""


def test_at_the_end_of_the_program_tasks_clean_up_and_their_futures_are_cancelled():
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=BOUND_S, check=False)
    assert (run.stdout, run.stderr) == ("has cleaned up\ncanceled\n", "")


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_fork_that_reads_an_imap_on_is_told_whose_it_is():
    with Client(workers=1) as client:
        values = client.imap(abs, range(100_000))
        assert next(values) == 0
        child = os.fork()
        if not child:
            try:
                signal.alarm(int(BOUND_S))
                list(values)
            except ForkedClientError:
                os._exit(7)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        values.close()


def test_ctrl_c_in_a_start_leaves_nothing_behind():
    def start() -> None:
        Client(workers=1).close()

    points = len([*interruptions(start, within=("/cluster.py", "/roles.py"))])
    assert points > 20
