"""The launcher, with real processes."""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest

from actors import ExitStatus, Launcher, LaunchError
from tests.actors.runtime.nest import BOUND_S, HERE, Nest, fd_count, is_gone, wait_gone

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


EDITABLE_FINDER = """\
import importlib.util, pathlib, sys
from importlib.machinery import SourceFileLoader
class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "only_by_hook":
            file = str(pathlib.Path(__file__).parent / "hidden.source")
            return importlib.util.spec_from_loader(name, SourceFileLoader(name, file))
def install():
    sys.meta_path.append(Finder)
"""


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def test_a_child_gets_its_payload_and_its_file_descriptors(nest: Nest) -> None:
    assert nest.ask("echo", b"hello") == b"hello"
    status = nest.exit()
    assert (status.code, status.signal, status.cause) == (0, None, "exit code 0")
    assert status.pid > 0


def test_a_child_is_a_session_of_its_own_with_a_plain_interpreter(
    importable: None, tmp_path: Path
) -> None:
    nest = Nest(preload=["colorsys", "random"], env={"NEST": "here"}, cwd=str(tmp_path))
    try:
        first, second = (json.loads(nest.ask("facts")) for _ in range(2))
    finally:
        nest.close()
    assert first.pop("random") != second.pop("random")
    assert first.pop("mark")
    assert first.pop("open") == first.pop("fds")
    assert first == {
        "argv": ["actors-child"],
        "stdin": "/dev/null",
        "leads": True,
        "env": "here",
        "cwd": str(tmp_path),
        "path": [path or os.getcwd() for path in sys.path],
        "prefix": [sys.prefix, sys.exec_prefix],
        "main": [],
        "exit": True,
        "blocked": 0,
        "sigint": True,
        "sigterm": True,
        "sigchld": True,
        "preloaded": True,
    }


@pytest.mark.parametrize(
    ("how", "code", "signum", "cause"),
    [
        ("os._exit 7", 7, None, "exit code 7"),
        ("None", 0, None, "exit code 0"),
        ("True", 1, None, "exit code 1"),
        ("300", 44, None, "exit code 44"),
        ("'a text'", 1, None, "exit code 1"),
        ("raise", 1, None, "exit code 1"),
        ("signal 9", None, 9, "killed by SIGKILL"),
        ("signal 11", None, 11, "killed by SIGSEGV"),
    ],
)
def test_each_way_to_end_is_reported(
    nest: Nest, how: str, code: int | None, signum: int | None, cause: str
) -> None:
    child = nest.launch("end", how.encode())
    status = nest.exit()
    assert status == ExitStatus(child.pid, code, signum, cause)


def test_what_a_child_printed_is_flushed_and_its_errors_are_shown(
    importable: None, capfd: pytest.CaptureFixture[str]
) -> None:
    nest = Nest()
    for how in (b"print", b"raise", b"'last words'"):
        nest.launch("end", how)
        nest.exit()
    nest.close()
    out, err = capfd.readouterr()
    assert out == "flushed at the end\n"
    assert "RuntimeError: it went wrong" in err
    assert "last words\n" in err


def test_a_start_is_told_with_pid_and_pidfd_and_nothing_of_it_stays(nest: Nest) -> None:
    started: list[tuple[int, int]] = []
    child = nest.launcher.launch(
        "launched:echo",
        b"",
        [1],
        on_start=lambda child: started.append((child.pid, child.pidfd)),
        on_exit=nest.exits.append,
    )
    assert (child.pid, child.pidfd) == (0, -1)
    assert "not started" in repr(child)
    status = nest.exit()
    assert started == [(status.pid, started[0][1])]
    assert started[0][1] >= 0
    assert child.pidfd == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(started[0][1])


def test_kill_takes_all_that_the_child_started(nest: Nest) -> None:
    child, pids = nest.start("family", b"sleep")
    assert len(pids) == 5
    nest.launcher.kill(child)
    nest.launcher.kill(child)
    status = nest.exit()
    assert (status.signal, status.cause) == (signal.SIGKILL, "killed by SIGKILL")
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    nest.launcher.kill(child)
    nest.launcher.signal(child, signal.SIGTERM)
    assert children_of(nest.launcher.pid) == []


def test_a_child_that_leaves_takes_all_that_it_started(nest: Nest) -> None:
    reader, writer = os.pipe()
    gate, opener = os.pipe()
    nest.launch("family", b"leave", [writer, gate])
    os.close(writer)
    os.close(gate)
    said = nest.read(reader, lambda said: said.count(b"\n") == 4)
    assert nest.exits == []
    os.close(opener)
    assert nest.exit().cause == "exit code 3"
    assert [pid for pid in said.split() if Path(f"/proc/{int(pid)}").exists()] == []
    os.close(reader)


def test_the_orphans_of_a_living_child_are_left_alone(nest: Nest) -> None:
    child, pids = nest.start("family", b"sleep")
    for _ in range(3):  # deaths that make the launcher look for orphans
        nest.launch("end", b"os._exit 0")
        nest.exit()
    assert [pid for pid in pids if is_gone(pid)] == []
    nest.launcher.kill(child)
    nest.exit()


def test_a_kill_before_the_start_is_known_ends_the_child(nest: Nest) -> None:
    for _ in range(20):
        child = nest.launch("sleep", fds=[1])
        nest.launcher.kill(child)
        assert child.pid == 0
        assert nest.exit().signal == signal.SIGKILL


def test_a_signal_reaches_the_child_before_and_after_its_start(nest: Nest) -> None:
    child, _ = nest.start("die_on_sigterm")
    assert child.pidfd >= 0
    nest.launcher.signal(child, signal.SIGTERM)
    assert nest.exit().signal == signal.SIGTERM
    child = nest.launch("die_on_sigterm", fds=[1])
    nest.launcher.signal(child, signal.SIGTERM)
    assert nest.exit().signal == signal.SIGTERM


def test_a_real_time_signal_that_comes_too_early_does_not_kill(nest: Nest) -> None:
    child = nest.launch("end", b"os._exit 5")
    nest.launcher.signal(child, signal.SIGRTMIN + 7)
    assert nest.exit().code == 5


def test_a_number_that_is_no_signal_is_refused(nest: Nest) -> None:
    child = nest.launch("end", b"os._exit 5")
    for signum in (-1, 65):
        with pytest.raises(ValueError, match="is not a signal"):
            nest.launcher.signal(child, signum)
    nest.exit()


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("no_such_module:main", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("launched:no_such_function", "AttributeError"),
    ],
)
def test_an_unknown_entry_could_not_start_and_the_launcher_goes_on(
    nest: Nest, entry: str, reason: str
) -> None:
    nest.launch(entry)
    status = nest.exit()
    assert (status.code, status.signal) == (None, None)
    assert status.cause.startswith(f"could not start: '{entry}' cannot be loaded")
    assert reason in status.cause
    assert nest.ask("echo", b"next") == b"next"


def test_a_fork_that_fails_is_told_and_the_launcher_goes_on(importable: None) -> None:
    nest = Nest(preload=["fork_fails_once"])
    nest.launch("echo", fds=[1])
    status = nest.exit()
    assert status.pid == 0
    assert status.cause.startswith("could not start: fork failed")
    assert nest.ask("echo", b"next") == b"next"
    nest.close()


def test_a_launcher_with_too_many_open_files_says_so_and_goes_on(nest: Nest) -> None:
    assert nest.ask("echo", b"up") == b"up"
    nest.exit()
    _, hard = resource.prlimit(nest.launcher.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(nest.launcher.pid, resource.RLIMIT_NOFILE, (12, hard))
    nest.launch("echo", fds=[1] * 20)
    assert nest.exit().cause == "could not start: the launcher has too many open files"
    resource.prlimit(nest.launcher.pid, resource.RLIMIT_NOFILE, (1024, hard))
    assert nest.ask("echo", b"next") == b"next"


def test_an_owner_without_a_number_for_a_pidfd_still_controls_its_child(nest: Nest) -> None:
    reader, writer = os.pipe()
    child = nest.launch("sleep", fds=[writer])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (writer, hard))
    try:
        nest.until(lambda: child.pid)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    os.close(writer)
    assert child.pidfd == -1
    nest.read(reader, lambda said: b"\n" in said)
    os.close(reader)
    nest.launcher.signal(child, signal.SIGUSR1)
    assert nest.exit().signal == signal.SIGUSR1
    assert nest.ask("echo", b"next") == b"next"


def test_a_payload_of_megabytes_arrives(nest: Nest) -> None:
    payload = os.urandom(5_000_000)
    assert nest.ask("measure", payload) == b"5000000 %d" % zlib.crc32(payload)


def test_many_children_at_once_each_get_their_own(nest: Nest) -> None:
    reader, writer = os.pipe()
    for number in range(100):
        own = os.dup(writer)
        nest.launch("echo", b"%3d " % number, [own])
        os.close(own)
    os.close(writer)
    said = nest.read(reader, lambda said: False)
    os.close(reader)
    assert sorted(int(number) for number in said.split()) == list(range(100))
    nest.until(lambda: len(nest.exits) == 100)
    assert len({status.pid for status in nest.exits}) == 100


def test_orders_that_the_socket_does_not_take_keep_their_file_descriptors(nest: Nest) -> None:
    reader, writer = os.pipe()
    before = fd_count()
    for number in range(8):  # 800 kB, while the launcher still starts
        own = os.dup(writer)
        nest.launch("measure", bytes(100_000 + number), [own])
        os.close(own)
    assert fd_count() > before
    os.close(writer)
    said = nest.read(reader, lambda said: False)
    assert said.count(b"10000") == 8
    nest.until(lambda: len(nest.exits) == 8)
    os.close(reader)
    assert fd_count() == before - 2


def test_two_hundred_children_leave_no_file_descriptor_and_no_zombie(nest: Nest) -> None:
    nest.launch("end", b"os._exit 0")
    nest.exit()
    ours, theirs = fd_count(), len(os.listdir(f"/proc/{nest.launcher.pid}/fd"))
    for _ in range(20):
        for _ in range(10):
            nest.launch("end", b"os._exit 0")
        nest.until(lambda: len(nest.exits) == 10)
        nest.exits.clear()
    assert fd_count() == ours
    assert len(os.listdir(f"/proc/{nest.launcher.pid}/fd")) == theirs
    assert children_of(nest.launcher.pid) == []


def test_a_preload_that_fails_is_told_to_each_child_and_then_to_the_owner(
    importable: None, capfd: pytest.CaptureFixture[str]
) -> None:
    nest = Nest(preload=["json", "no_such_module"])
    nest.launch("echo", fds=[1])
    nest.launch("echo", fds=[1])
    nest.until(lambda: nest.lost)
    (cause,) = nest.lost
    assert cause.startswith("the launcher could not be set up")
    assert "No module named 'no_such_module'" in cause
    assert [status.cause for status in nest.exits] == [cause, cause]
    with pytest.raises(LaunchError, match="no_such_module"):
        nest.launch("echo")
    assert "no_such_module" in repr(nest.launcher)
    nest.close()
    assert "Traceback" in capfd.readouterr().err


def test_a_directory_that_is_not_there_is_named(
    importable: None, capfd: pytest.CaptureFixture[str]
) -> None:
    nest = Nest(cwd="/no/such/directory")
    nest.until(lambda: nest.lost)
    assert "/no/such/directory" in nest.lost[0]
    nest.close()


def test_without_an_interpreter_nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    for executable in ("", "/no/such/python"):
        monkeypatch.setattr(sys, "executable", executable)
        with pytest.raises(LaunchError, match="the launcher could not be started"):
            Launcher()


def test_an_error_of_a_callback_is_reported_and_stops_nothing(nest: Nest) -> None:
    errors: list[BaseException] = []
    nest.poller.on_error = lambda fd, error: errors.append(error)
    for _ in range(2):
        nest.launcher.launch(
            "launched:end",
            b"os._exit 0",
            [],
            on_start=lambda child: nest.lost.remove("not there"),
            on_exit=lambda status: nest.lost.remove("not there"),
        )
    nest.until(lambda: len(errors) == 4)
    assert nest.ask("echo", b"next") == b"next"


def test_orders_out_of_bounds_are_refused(nest: Nest) -> None:
    with pytest.raises(ValueError, match=r"package\.module:function"):
        nest.launcher.launch("launched", b"", [], on_exit=nest.exits.append)
    with pytest.raises(ValueError, match="is too much"):
        nest.launch("echo", fds=[1] * 251)
    with pytest.raises(OSError, match="Bad file descriptor"):
        nest.launch("echo", fds=[-1])
    assert nest.ask("echo", b"next") == b"next"


def test_close_ends_children_that_ignore_sigterm_and_answers_each(nest: Nest) -> None:
    pids = [pid for _ in range(3) for pid in nest.start("sleep")[1]]
    pids += nest.start("family", b"sleep")[1]
    late = nest.launch("sleep", fds=[1])
    launcher = nest.launcher.pid
    nest.launcher.close()
    assert len(nest.exits) == 5
    assert {status.signal for status in nest.exits if status.pid} == {signal.SIGKILL}
    assert [pid for pid in (*pids, launcher) if Path(f"/proc/{pid}").exists()] == []
    assert late.pidfd == -1
    assert nest.lost == []
    nest.launcher.close()
    with pytest.raises(LaunchError, match="the launcher was closed"):
        nest.launch("echo")


def test_a_launcher_can_be_closed_at_once_and_without_a_poller() -> None:
    before = fd_count()
    launcher = Launcher()
    exits: list[ExitStatus] = []
    launcher.launch("launched:echo", b"", [], on_exit=exits.append)
    launcher.close()
    assert len(exits) == 1
    assert fd_count() == before
    assert not Path(f"/proc/{launcher.pid}").exists()


def test_a_launcher_that_started_nothing_is_closed_at_once(importable: None) -> None:
    launcher = Launcher(preload=["sleeps_at_import"])
    before_s = time.monotonic()
    launcher.close(timeout_s=BOUND_S)
    assert time.monotonic() - before_s < 1
    assert not Path(f"/proc/{launcher.pid}").exists()


def test_a_launcher_that_hangs_is_killed_at_the_end_of_the_timeout(importable: None) -> None:
    nest = Nest(preload=["hangs_at_the_end"])
    _, pids = nest.start("sleep")
    nest.launcher.close(timeout_s=0.1)
    assert nest.exit().cause == "the launcher was closed"
    assert not Path(f"/proc/{nest.launcher.pid}").exists()
    assert is_gone(pids[0])
    nest.close()


def test_a_callback_may_close_the_launcher(nest: Nest) -> None:
    for _ in range(3):
        nest.launcher.launch(
            "launched:end", b"os._exit 0", [], on_exit=lambda _: nest.launcher.close()
        )
    nest.until(lambda: not nest.launcher._children)
    assert nest.lost == []


def test_a_callback_may_start_the_next_child(nest: Nest) -> None:
    def again(status: ExitStatus) -> None:
        nest.exits.append(status)
        if len(nest.exits) < 5:
            nest.launcher.launch("launched:end", b"os._exit 0", [], on_exit=again)

    nest.launcher.launch("launched:end", b"os._exit 0", [], on_exit=again)
    nest.until(lambda: len(nest.exits) == 5)
    assert [status.code for status in nest.exits] == [0] * 5


def test_a_fork_of_the_owner_cannot_use_the_launcher_and_does_not_end_it(nest: Nest) -> None:
    child, _ = nest.start("sleep")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            nest.launcher.kill(child)
            nest.launcher.signal(child, signal.SIGKILL)
            try:
                nest.launch("echo")
            except LaunchError as error:
                code = 0 if "fork" in str(error) else 2
            pidfd = child.pidfd
            nest.launcher.close()
            nest.launcher.abandon()
            nest.poller.abandon()
            code = code or (3 if os.path.exists(f"/proc/self/fd/{pidfd}") else 0)
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert nest.ask("echo", b"next") == b"next"
    assert nest.exit().code == 0
    nest.launcher.kill(child)
    assert nest.exit().signal == signal.SIGKILL


def test_a_program_that_ignores_the_end_of_its_children_gets_all_reports(
    importable: None,
) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        nest = Nest()
        nest.launch("end", b"os._exit 3")
        assert nest.exit().code == 3
        nest.close()
        assert is_gone(nest.launcher.pid)
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_the_end_of_the_thread_that_made_it_ends_the_launcher(importable: None) -> None:
    nests: list[Nest] = []
    pids: list[int] = []

    def own() -> None:
        nests.append(Nest())
        pids.extend(nests[0].start("family", b"sleep")[1])

    thread = threading.Thread(target=own)
    thread.start()
    thread.join()
    (nest,) = nests
    nest.until(lambda: nest.lost)
    assert nest.lost == ["the launcher died (it was told to end by SIGTERM)"]
    assert (nest.exits[0].signal, nest.exits[0].launcher_lost) == (signal.SIGKILL, True)
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    nest.close()


@pytest.mark.parametrize("how", ["alone", "fork"])
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_program_leaves_nothing(how: str, signum: int) -> None:
    with subprocess.Popen(
        [sys.executable, str(HERE / "driver.py"), how], stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout is not None
        copy, *pids = (int(pid) for pid in driver.stdout.readline().split())
        assert len(pids) == 6
        driver.send_signal(signum)
        driver.wait(BOUND_S)
        try:
            wait_gone(pids)
        finally:
            if copy:
                os.kill(copy, signal.SIGKILL)
                wait_gone([copy])


def test_the_command_line_and_a_light_import_are_all_the_owner_pays() -> None:
    code = (
        "import sys; before = set(sys.modules); import actors.runtime.launcher; "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=BOUND_S
    )
    heavy = {"msgspec", "subprocess", "selectors", "socket", "json", "asyncio", "threading"}
    assert heavy.isdisjoint(done.stdout.split())


def test_the_command_line_holds_no_path_and_no_setting(nest: Nest) -> None:
    nest.ask("echo")  # before it answered, it may still be this process's memory
    line = Path(f"/proc/{nest.launcher.pid}/cmdline").read_bytes()
    assert b"actors-launcher" in line
    assert str(HERE).encode() not in line


def test_a_module_that_only_an_editable_install_finds_can_be_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = "__editable___of_this_test_finder"
    (tmp_path / f"{name}.py").write_text(EDITABLE_FINDER)
    (tmp_path / "hidden.source").write_text("def run(payload, fds): raise SystemExit(21)")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    importlib.import_module(name).install()
    monkeypatch.delitem(sys.modules, name)
    nest = Nest()
    nest.launch("only_by_hook:run")
    assert nest.exit().code == 21
    nest.close()


def test_options_of_the_interpreter_reach_the_children() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from actors import Launcher, Poller; "
        "p = Poller(); l = Launcher(); l.attach(p); e = []; "
        "l.launch('launched:end', b'(sys.flags.optimize, sys.flags.utf8_mode) == (2, 1) and 9', "
        "[], on_exit=e.append)\n"
        "while not e: p.poll(9)\n"
        "l.close(); p.close(); print(e[0].cause)"
    )
    done = subprocess.run(
        [sys.executable, "-OO", "-X", "utf8", "-W", "ignore", "-c", code, str(HERE)],
        capture_output=True,
        text=True,
        check=True,
        timeout=BOUND_S,
    )
    assert done.stdout == "exit code 9\n"
