from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors import ActorSystem
from actors.testkit import LeakError, check_leaks


@contextmanager
def leak(match: str) -> Iterator[None]:
    """Expect that the block leaves something behind."""
    with pytest.raises(LeakError, match=match), check_leaks(timeout=0.0):
        yield


linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells it")


def test_a_clean_block_passes() -> None:
    with check_leaks():
        pass


def test_a_clean_block_costs_little() -> None:
    costs_s = []
    for _ in range(20):
        begun_s = time.perf_counter()
        with check_leaks():
            pass
        costs_s.append(time.perf_counter() - begun_s)
    assert min(costs_s) < 0.003


def test_an_open_system_is_found() -> None:
    with leak("<ActorSystem forgotten, 0 actors here"):
        system = ActorSystem("forgotten")
    system.close()


def test_a_closed_system_leaves_nothing() -> None:
    with check_leaks(), ActorSystem("tidy") as system:
        system.start_node("child")


def test_a_child_process_is_found() -> None:
    with leak(r"process \d+: sleep 60"):
        child = subprocess.Popen(["sleep", "60"])
        Path(f"/proc/{child.pid}/cmdline").read_text()
    child.kill()
    child.wait()


@linux
def test_a_child_that_nobody_reaped_is_found() -> None:
    with leak("a zombie, nobody has reaped it"):
        child = subprocess.Popen(["true"])
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    child.wait()


@linux
def test_a_grandchild_whose_parent_has_died_is_found() -> None:
    with leak(r"process \d+: sleep 60"):
        run = subprocess.run(
            ["sh", "-c", "sleep 60 >/dev/null & echo $!"], stdout=subprocess.PIPE, check=True
        )
        grandchild = int(run.stdout)
        wait_for_command(grandchild, "sleep")
    os.kill(grandchild, signal.SIGKILL)


def wait_for_command(pid: int, name: str) -> None:
    """Wait until a process has begun to run a program."""
    deadline_s = time.monotonic() + 5.0
    while name not in Path(f"/proc/{pid}/comm").read_text():
        assert time.monotonic() < deadline_s


@linux
def test_a_process_that_ours_started_before_may_start_others() -> None:
    keeper = subprocess.Popen(
        ["sh", "-c", "read line; sleep 60 & echo $!; wait"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    try:
        with check_leaks(timeout=0.0):
            keeper.stdin.write(b"go\n")
            keeper.stdin.flush()
            grandchild = int(keeper.stdout.readline())
    finally:
        keeper.kill()
        keeper.wait()
        keeper.stdin.close()
        keeper.stdout.close()
    os.kill(grandchild, signal.SIGKILL)


@pytest.mark.parametrize("daemon", [False, True])
def test_a_thread_is_found(daemon: bool) -> None:
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="lingering", daemon=daemon)
    with leak("thread lingering"):
        thread.start()
    release.set()
    thread.join()


def test_a_thread_can_be_ignored_by_its_name() -> None:
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="lingering-1")
    with check_leaks(timeout=0.0, ignore_threads=["lingering"]):
        thread.start()
    release.set()
    thread.join()


def test_a_thread_on_its_way_out_is_waited_for() -> None:
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    timer = threading.Timer(0.05, release.set)
    timer.start()
    with check_leaks():
        thread.start()
    timer.join()


def test_a_file_descriptor_is_found() -> None:
    with leak(r"file descriptor \d+: .*null"):
        descriptor = os.open("/dev/null", os.O_RDONLY)
    os.close(descriptor)


@linux
def test_shared_memory_is_found_open_or_mapped() -> None:
    with leak(r"file descriptor \d+: /memfd:open"):
        descriptor = os.memfd_create("open")
    os.ftruncate(descriptor, 4096)
    with leak(r"mapping of \d+ /memfd:open"):
        mapping = mmap.mmap(descriptor, 4096)
        os.close(descriptor)
    mapping.close()


@linux
def test_a_file_in_shared_memory_is_found() -> None:
    file = Path("/dev/shm") / f"leak-{uuid.uuid4()}"
    with leak(file.name):
        file.touch()
    file.unlink()


@linux
@pytest.mark.parametrize("renamed", [False, True])
def test_shared_memory_that_another_program_uses_is_none_of_ours(renamed: bool) -> None:
    file = Path("/dev/shm") / f"foreign-{uuid.uuid4()}"
    mapped = file.with_name(f"new-{file.name}") if renamed else file
    code = (
        "import mmap, os, sys\n"
        "input()\n"
        f"with open({str(mapped)!r}, 'wb+') as file:\n"
        "    file.truncate(4096)\n"
        "    mapping = mmap.mmap(file.fileno(), 4096)\n"
        f"os.link({str(mapped)!r}, {str(file)!r}) if {renamed} else None\n"
        f"os.unlink({str(mapped)!r}) if {renamed} else None\n"
        "print('mapped', flush=True)\n"
        "input()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with other:
        assert other.stdin is not None
        assert other.stdout is not None
        with check_leaks(timeout=0.0):
            other.stdin.write(b"\n")
            other.stdin.flush()
            other.stdout.readline()
        other.stdin.write(b"\n")
    file.unlink()


def test_garbage_in_a_cycle_is_no_leak() -> None:
    class Holder:
        def __init__(self) -> None:
            self.me = self
            self.descriptor = os.open("/dev/null", os.O_RDONLY)

        def __del__(self) -> None:
            os.close(self.descriptor)

    with check_leaks(timeout=0.0):
        Holder()


def test_an_exception_of_the_block_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), check_leaks(timeout=0.0):
        descriptor = os.open("/dev/null", os.O_RDONLY)
        raise ZeroDivisionError
    os.close(descriptor)


def test_the_environment_is_as_before() -> None:
    before = dict(os.environ)
    with check_leaks(), check_leaks():
        pass
    assert dict(os.environ) == before


def test_the_fixture_fails_a_test_that_leaves_something_behind(tmp_path: Path) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(
        "import os\n"
        "from actors.testkit import no_leaks\n"
        "def test_clean(no_leaks): pass\n"
        "def test_leaky(no_leaks): os.memfd_create('forgotten')\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(file)]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, cwd=tmp_path
    )
    assert run.returncode == 1
    assert "2 passed, 1 error" in run.stdout
    assert "/memfd:forgotten" in run.stdout
