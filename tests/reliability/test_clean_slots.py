"""Row 33: whatever a task changed, the next one on its slot finds a process as it should be."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scaler import Client, LocalCluster

pytestmark = [
    pytest.mark.usefixtures("by_value"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

BOUND_S = 20.0


@pytest.fixture(scope="module")
def one_slot() -> Iterator[LocalCluster]:
    with LocalCluster(workers=1) as made:
        yield made


@pytest.fixture
def client(one_slot: LocalCluster) -> Iterator[Client]:
    with Client(one_slot) as made:
        yield made


def look() -> dict[str, Any]:
    """Return all that a task might find changed."""
    import multiprocessing
    import resource

    limits = (getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_"))
    umask = os.umask(0)
    os.umask(umask)
    return {
        "pid": os.getpid(),
        "directory": os.getcwd(),
        "environment": dict(os.environ),
        "umask": umask,
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "handlers": [str(signal.getsignal(number)).split(" at ")[0] for number in range(1, 32)],
        "timer": signal.getitimer(signal.ITIMER_REAL)[0],
        "limits": [resource.getrlimit(limit) for limit in limits],
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "cores": os.sched_getaffinity(0),
        "start method": multiprocessing.get_start_method(allow_none=True),
        "files": [os.readlink(f"/proc/self/fd/{fd}") for fd in (0, 1, 2)],
        "streams": [type(sys.stdout).__name__, type(sys.stderr).__name__],
    }


def change_directory() -> None:
    os.chdir("/")


def change_environment() -> None:
    os.environ["ANOTHER"] = "one"
    os.environ["HOME"] = "/nowhere"
    del os.environ["PATH"]


def replace_environment() -> None:
    os.environ = {"ANOTHER": "one"}  # type: ignore[assignment]  # noqa: B003


def change_umask() -> None:
    os.umask(0)


def change_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))


def change_timer() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.1)


def change_limits() -> None:
    import resource

    for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE):
        resource.setrlimit(limit, (100, resource.getrlimit(limit)[1]))


def change_limits_for_good() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))


def change_cores() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def change_priority() -> None:
    os.nice(5)


def change_start_method() -> None:
    import multiprocessing

    multiprocessing.set_start_method("spawn", force=True)


def close_standard_files() -> None:
    os.closerange(0, 3)


def replace_standard_files() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (1, 2):
        os.dup2(null, fd)
    os.close(null)


def change_streams() -> None:
    sys.stdout = sys.stderr = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    "change",
    [
        change_directory,
        change_environment,
        replace_environment,
        change_umask,
        change_signals,
        change_timer,
        change_limits,
        change_limits_for_good,
        change_cores,
        change_priority,
        change_start_method,
        close_standard_files,
        replace_standard_files,
        change_streams,
    ],
    ids=lambda change: change.__name__,
)
def test_what_a_task_changed_the_next_one_does_not_find(client, change: Callable[[], None]):
    before = client.submit(look).result(BOUND_S)
    changed, after = client.submit(change), client.submit(look)
    assert changed.result(BOUND_S) is None
    found = after.result(BOUND_S)
    if found["pid"] != before["pid"]:  # another process is clean too; its pipes are its own
        for each in (before, found):
            del each["pid"], each["files"]
    assert found == before


def test_what_one_of_many_short_tasks_changed_a_later_one_does_not_find(client):
    def change_at_last(is_last: bool) -> None:
        if is_last:
            os.umask(0)
            os.environ["ANOTHER"] = "one"

    before = client.submit(look).result(BOUND_S)
    for _ in range(5):
        short = [client.submit(change_at_last, number == 3) for number in range(4)]
        assert [future.result(BOUND_S) for future in short] == [None] * 4
        assert threading.Event().wait(0.01) is False  # longer than from look to look
        assert client.submit(look).result(BOUND_S) == before


def test_a_variable_that_an_import_has_set_stays_with_its_module(client, tmp_path):
    (tmp_path / "sets_a_variable.py").write_text("import os\nos.environ['SET_ONCE'] = 'yes'\n")

    def use(folder: str) -> str | None:
        sys.path.insert(0, folder)
        import sets_a_variable  # type: ignore[import-not-found]  # noqa: F401

        return os.environ.get("SET_ONCE")

    assert [client.submit(use, str(tmp_path)).result(BOUND_S) for _ in range(3)] == ["yes"] * 3
    client.submit(os.environ.clear).result(BOUND_S)
    assert client.submit(use, str(tmp_path)).result(BOUND_S) == "yes"


def test_what_cannot_be_put_back_costs_the_process_and_no_task(client, monkeypatch):
    def stay_low() -> int:
        from scaler.executor.grants import Grants

        Grants.put_back = lambda self: False  # type: ignore[method-assign]
        return os.getpid()

    first = client.submit(stay_low)
    behind = [client.submit(os.getpid) for _ in range(100)]
    pids = {future.result(BOUND_S) for future in behind}
    assert len(pids) == 1
    assert first.result(BOUND_S) not in pids


def test_a_task_that_closes_everything_costs_its_own_process(client):
    futures = [client.submit(pow, number, 2) for number in range(50)]
    culprit = client.options(max_attempts=1).submit(os.closerange, 3, 1_000)
    futures += [client.submit(pow, number, 2) for number in range(50, 100)]
    assert culprit.exception(BOUND_S) is not None
    assert [future.result(BOUND_S) for future in futures] == [number**2 for number in range(100)]


def test_files_that_a_task_left_open_do_not_disturb_the_next(client):
    def leave_open() -> int:
        return len([os.open(os.devnull, os.O_RDONLY) for _ in range(100)])

    assert client.map(lambda _: leave_open(), range(5)) == [100] * 5
    assert client.submit(pow, 2, 3).result(BOUND_S) == 8


def test_a_timer_that_goes_off_late_kills_nobody(client):
    pid = client.submit(os.getpid).result(BOUND_S)
    assert client.submit(signal.setitimer, signal.ITIMER_REAL, 0.05).result(BOUND_S)
    assert client.submit(time.sleep, 0.1).result(BOUND_S) is None
    assert client.submit(os.getpid).result(BOUND_S) == pid
