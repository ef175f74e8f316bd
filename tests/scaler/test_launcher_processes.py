"""The launcher of the executors is killed, and nobody loses a task, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from scaler import (
    CancelOutcome,
    Client,
    ClusterBrokenError,
    ClusterStartError,
    LocalCluster,
    WorkerDiedError,
)
from scaler.limits import BLAMELESS_LOSSES
from scaler.protocol.tasks import GetStatus
from tests.actors.runtime.nest import no_descriptor_free

pytestmark = [
    pytest.mark.usefixtures("by_value"),
    pytest.mark.skipif(sys.platform != "linux", reason="needs pidfds"),
]

BOUND_S = 20.0
LONG_S = 60.0


def launcher_of(cluster):
    system = cluster._roles.system
    return system.call(lambda: system.launcher)


def kill_launcher(cluster):
    """Kill the present launcher, and return its pid."""
    pid = launcher_of(cluster).pid
    os.kill(pid, signal.SIGKILL)
    return pid


def note(directory, number):
    """Note a start, then wait for the gate; return the number."""
    (Path(directory) / f"{number}-{os.getpid()}").touch()
    while not (Path(directory) / "gate").exists():
        time.sleep(0.005)
    return number


def starts(directory):
    """Numbers of the tasks that were begun, once for each start."""
    return sorted(int(path.name.split("-")[0]) for path in directory.glob("*-*"))


def test_all_tasks_are_run_again_and_nobody_is_blamed(tmp_path, until):
    with LocalCluster(workers=2) as cluster, Client(cluster) as client:
        # A worker that comes between two submits takes the later one; the earlier one comes back
        # from behind the task that runs, and then waits.
        until(lambda: len(cluster.scheduler.ask(GetStatus()).result(BOUND_S).workers) == 2)
        futures = [client.submit(note, str(tmp_path), number) for number in range(6)]
        until(lambda: starts(tmp_path) == [0, 1])
        kill_launcher(cluster)
        until(lambda: len(starts(tmp_path)) == 4)
        (tmp_path / "gate").touch()
        assert [future.result(BOUND_S) for future in futures] == [*range(6)]
        assert starts(tmp_path) == [0, 0, 1, 1, 2, 3, 4, 5]


def test_a_loss_with_the_launcher_does_not_count_as_an_attempt(tmp_path, until):
    with LocalCluster(workers=1) as cluster, Client(cluster) as client:
        future = client.options(max_attempts=2).submit(note, str(tmp_path), 0)
        for losses in range(1, 5):
            until(lambda count=losses: len(starts(tmp_path)) == count)
            kill_launcher(cluster)
        (tmp_path / "gate").touch()
        assert future.result(BOUND_S) == 0


def test_a_task_for_one_attempt_is_not_run_again(tmp_path, until):
    with LocalCluster(workers=1) as cluster, Client(cluster) as client:
        future = client.options(max_attempts=1).submit(note, str(tmp_path), 0)
        behind = client.submit(note, str(tmp_path), 1)
        until(lambda: starts(tmp_path) == [0])
        kill_launcher(cluster)
        with pytest.raises(WorkerDiedError, match="the launcher died"):
            future.result(BOUND_S)
        (tmp_path / "gate").touch()
        assert behind.result(BOUND_S) == 1
        assert starts(tmp_path) == [0, 1]


def test_launchers_that_die_while_executors_start_lose_nothing(until):
    with LocalCluster(workers=2) as cluster, Client(cluster) as client:
        futures = [client.submit(pow, 2, number) for number in range(200)]
        killed = {kill_launcher(cluster)}
        for _ in range(3):
            until(lambda: launcher_of(cluster).pid not in killed)
            killed.add(kill_launcher(cluster))
        assert [future.result(BOUND_S) for future in futures] == [2**n for n in range(200)]


def test_a_cancel_is_confirmed_when_the_launcher_takes_the_task_along(sign, alive):
    def resist(path):
        Path(path).write_text(str(os.getpid()))
        while True:
            try:
                time.sleep(LONG_S)
            except BaseException:
                Path(path).write_text("resists")

    with LocalCluster(workers=1) as cluster, Client(cluster) as client:
        future = client.submit(resist, sign.path)
        pid = sign.pid()
        outcomes = []
        canceller = threading.Thread(target=lambda: outcomes.append(future.cancel(grace=LONG_S)))
        canceller.start()
        while sign.text() != "resists":
            os.sched_yield()
        kill_launcher(cluster)
        canceller.join(BOUND_S)
        assert outcomes == [True]
        assert future.cancel_outcome is CancelOutcome.CANCELED
        assert not alive(pid)
        assert client.submit(pow, 2, 3).result(BOUND_S) == 8


def test_what_a_task_has_started_in_a_session_of_its_own_dies_too(sign, alive, until):
    def start(path):
        command = [sys.executable, "-c", "import time; time.sleep(60)"]
        child = subprocess.Popen(command, start_new_session=True)
        again = Path(path).exists()
        with Path(path).open("a") as file:
            file.write(f"{child.pid}\n")
        if not again:
            time.sleep(LONG_S)
        child.kill()
        child.wait()
        return again

    with LocalCluster(workers=1) as cluster, Client(cluster) as client:
        future = client.submit(start, sign.path)
        pid = sign.pid()
        assert alive(pid)
        kill_launcher(cluster)
        assert future.result(BOUND_S) is True
        assert not alive(pid)


def test_a_task_that_kills_the_launcher_fails_alone():
    def poison():
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(LONG_S)

    with LocalCluster(workers=2) as cluster, Client(cluster) as client:
        poisoned = client.submit(poison)
        innocent = [client.submit(pow, 2, number) for number in range(50)]
        with pytest.raises(WorkerDiedError, match="the launcher died") as raised:
            poisoned.result(BOUND_S)
        assert str(raised.value).count("the launcher died") == BLAMELESS_LOSSES
        assert [future.result(BOUND_S) for future in innocent] == [2**n for n in range(50)]


def test_launchers_that_die_again_and_again_break_the_cluster(until):
    with LocalCluster(workers=1) as cluster, Client(cluster) as client:
        futures = [client.submit(time.sleep, LONG_S) for _ in range(5)]
        system = cluster._roles.system
        dead = None
        while cluster.broken is None:
            launcher = system._thread._launcher
            if launcher is not None and launcher is not dead:
                os.kill(launcher.pid, signal.SIGKILL)
                dead = launcher
        for future in futures:
            error = future.exception(BOUND_S)
            assert isinstance(error, ClusterBrokenError | WorkerDiedError)
        assert isinstance(error, ClusterBrokenError)
        assert "launchers" in str(error)
        assert "killed by SIGKILL" in str(error)


def test_a_frozen_launcher_keeps_nobody_waiting(tmp_path, until, monkeypatch):
    monkeypatch.setattr("actors.runtime.launcher_watch.LAUNCHER_SILENT_S", 1.0)
    with LocalCluster(workers=1) as cluster, Client(cluster) as client:
        future = client.submit(note, str(tmp_path), 0)
        until(lambda: starts(tmp_path) == [0])
        frozen = launcher_of(cluster)
        os.kill(frozen.pid, signal.SIGSTOP)
        (path,) = tmp_path.glob("*-*")
        os.kill(int(path.name.split("-")[1]), signal.SIGKILL)
        (tmp_path / "gate").touch()
        assert future.result(BOUND_S) == 0
        assert frozen.end_cause == "the launcher died (silent for 1 s, it was killed)"


def test_without_descriptors_for_another_launcher_the_cluster_is_broken_soon():
    with LocalCluster(workers=2) as cluster, Client(cluster) as client:
        futures = [client.submit(time.sleep, LONG_S) for _ in range(4)]
        with no_descriptor_free():
            kill_launcher(cluster)
            errors = [future.exception(BOUND_S) for future in futures]
        for error in errors:
            assert isinstance(error, ClusterBrokenError)
            assert "Too many open files" in str(error)


def test_a_preload_that_crashes_the_launcher_is_said(tmp_path, monkeypatch):
    (tmp_path / "crashes_at_import.py").write_text("import os\nos.abort()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ClusterStartError, match=r"5 in a row died .*killed by SIGABRT"):
        Client(workers=2, preload=["crashes_at_import"])


@pytest.mark.parametrize("later_s", [0.0, 0.01, 0.05])
def test_a_cluster_can_be_closed_while_its_launcher_dies(sign, later_s, alive):
    cluster = LocalCluster(workers=2)
    client = Client(cluster)
    futures = [client.submit(note, str(Path(sign.path).parent), n) for n in range(4)]
    pid = kill_launcher(cluster)
    threading.Event().wait(later_s)
    begin_s = time.monotonic()
    client.close()
    cluster.close()
    assert time.monotonic() - begin_s < 5
    assert all(future.done() for future in futures)
    assert not alive(pid)
