"""What is known of an executor that died, and where its stderr goes while it lives."""

from __future__ import annotations

import ctypes
import faulthandler
import fcntl
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scaler.limits import STDERR_LINES
from scaler.protocol.tasks import RowStatus
from scaler.serialization.values import load_value
from scaler.worker.memory import OomKills
from scaler.worker.objects import PortObjects
from scaler.worker.port import ExecutorExited, ExecutorPrinted, ExecutorRows
from scaler.worker.process import ExecutorProcess

SAID = "\nlast lines of its stderr:"


def stderr_of(executor: Any) -> str:
    return "".join(text for stream, text in executor.printed if stream == "stderr")


def hold() -> None:
    print("holds")
    time.sleep(60)


def held(executor: Any) -> int:
    ordinal: int = executor.submit(hold)
    executor.bench.until(lambda: executor.printed)
    return ordinal


# --- the last lines -------------------------------------------------------------------------


def test_what_was_written_below_python_is_told_and_ends_the_report(executor):
    def die() -> None:
        ctypes.CDLL(None).dprintf(2, b"the library: no memory\n")
        os.write(2, b"no end")
        os._exit(3)

    ordinal = executor.submit(die)
    exited = executor.exit()
    assert exited.cause == f"exit code 3{SAID}\n    the library: no memory\n    no end"
    assert stderr_of(executor) == "the library: no memory\nno end\n"
    assert executor.port.running() == ordinal


def test_what_python_printed_is_among_the_last_lines_in_its_order(executor):
    def die() -> None:
        print("first", file=sys.stderr)
        print("elsewhere")
        print("second", file=sys.stderr)
        os.write(2, b"third\n")
        os._exit(3)

    executor.submit(die)
    assert executor.exit().cause == f"exit code 3{SAID}\n    first\n    second\n    third"


def test_bytes_that_are_no_text_are_escaped(executor):
    def die() -> None:
        os.write(2, b"\xff\xfe \xc3")
        os._exit(3)

    executor.submit(die)
    assert executor.exit().cause == f"exit code 3{SAID}\n    \\xff\\xfe \\xc3"
    assert stderr_of(executor) == "\\xff\\xfe \\xc3\n"


def test_ten_megabytes_are_all_told_and_the_last_lines_kept(executor):
    def die() -> None:
        with open(2, "wb", closefd=False) as file:
            file.writelines(b"%099d\n" % number for number in range(100_000))
        os._exit(3)

    executor.submit(die)
    cause = executor.exit().cause
    assert [int(line) for line in cause.splitlines()[2:]] == [*range(100_000)][-STDERR_LINES:]
    assert [int(line) for line in stderr_of(executor).splitlines()] == [*range(100_000)]


def test_of_an_executor_that_was_to_die_no_lines_are_shown(executor):
    executor.run(os.write, 2, b"careful\n")
    held(executor)
    executor.port.kill()
    assert executor.exit().cause == "killed by SIGKILL"


def test_what_a_task_wrote_that_has_ended_explains_no_later_death(executor):
    executor.run(os.write, 2, b"careful\n")
    held(executor)
    os.kill(executor.pid, signal.SIGKILL)
    exited = executor.exit()
    assert (exited.cause, exited.signal) == ("killed by SIGKILL", 9)


def test_who_holds_the_other_end_keeps_no_one_waiting(executor):
    held(executor)
    kept = os.open(f"/proc/{executor.pid}/fd/2", os.O_WRONLY)
    try:
        os.write(kept, b"from outside\n")
        os.kill(executor.pid, signal.SIGKILL)
        assert executor.exit().cause == f"killed by SIGKILL{SAID}\n    from outside"
    finally:
        os.close(kept)


def test_a_launcher_that_dies_leaves_its_executors_without_blame_or_lines(executor):
    executor.run(os.write, 2, b"careful\n")
    held(executor)
    os.kill(executor.bench.launcher.pid, signal.SIGKILL)
    exited = executor.exit()
    assert exited.blameless
    assert "launcher" in exited.cause
    assert SAID not in exited.cause


def test_other_deaths_are_not_without_blame(executor):
    executor.submit(os._exit, 3)
    assert not executor.exit().blameless


def test_how_long_the_last_task_ran_can_be_asked_after_the_death(executor):
    held(executor)
    os.kill(executor.pid, signal.SIGKILL)
    executor.exit()
    assert executor.port.running_for() > 0


# --- crashes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SIGSEGV", "Segmentation fault"),
        ("SIGABRT", "Aborted"),
        ("SIGFPE", "Floating point exception"),
        ("SIGBUS", "Bus error"),
        ("SIGILL", "Illegal instruction"),
    ],
)
def test_a_crash_shows_where_python_was(executor, name, words):
    def crash() -> None:
        os.kill(os.getpid(), getattr(signal, name))

    executor.submit(crash)
    exited = executor.exit()
    how, _, first, _, *frames = exited.cause.splitlines()
    assert (how, exited.signal) == (f"killed by {name}", getattr(signal, name))
    assert first.startswith(f"    Fatal Python error: {words}")
    assert [frame.rpartition(" in ")[2] for frame in frames] == ["crash"]


def test_a_crash_in_a_library_names_the_call(executor):
    executor.submit(ctypes.string_at, 0)
    cause = executor.exit().cause
    assert cause.startswith(f"killed by SIGSEGV{SAID}\n    Fatal Python error: Segmentation fault")
    assert cause.endswith("in string_at")


def test_a_crash_deep_in_the_stack_shows_the_innermost_frames(executor):
    def crash(depth: int) -> None:
        if not depth:
            os.abort()
        crash(depth - 1)

    executor.submit(crash, 90)
    lines = executor.exit().cause.splitlines()
    assert len(lines) == 2 + STDERR_LINES
    assert lines[2].startswith("    Fatal Python error: Aborted")
    assert lines[-1].endswith("in crash")


def test_a_task_may_have_faults_reported_itself_and_is_still_interrupted(executor):
    def report() -> None:
        faulthandler.disable()
        faulthandler.enable()
        faulthandler.dump_traceback()
        hold()

    row = executor.interrupted(report)
    assert row.status is RowStatus.INTERRUPTED
    assert "in report" in stderr_of(executor)
    executor.submit(os.abort)
    assert "Fatal Python error: Aborted" in executor.exit().cause


# --- while it lives -------------------------------------------------------------------------


def test_what_a_task_wrote_comes_before_its_row(executor):
    def write() -> None:
        os.write(2, b"one\ntw")
        os.write(2, b"o")

    ordinal = executor.submit(write)
    executor.row(ordinal)
    _, *printed, rows = executor.events
    assert isinstance(rows, ExecutorRows)
    assert all(isinstance(event, ExecutorPrinted) for event in printed)
    outputs = [output for event in printed for output in event.outputs]
    assert {output.task_id for output in outputs} == {1000 + ordinal}
    assert stderr_of(executor) == "one\ntwo\n"


def test_whole_lines_come_while_the_task_runs(executor):
    def write() -> None:
        os.write(2, "ä".encode()[:1])
        os.write(2, "ä\nrest".encode()[1:])
        time.sleep(60)

    ordinal = executor.submit(write)
    executor.bench.until(lambda: executor.printed)
    assert executor.printed == [("stderr", "ä\n")]
    executor.port.interrupt(ordinal)
    executor.row(ordinal)
    assert executor.printed == [("stderr", "ä\n"), ("stderr", "rest\n")]


def test_what_a_subprocess_complains_of_is_told(executor):
    executor.run(subprocess.run, ["sh", "-c", "echo careful >&2"], check=False)
    assert executor.printed == [("stderr", "careful\n")]


def write_late(after: str) -> None:
    def write() -> None:
        Path(after).read_bytes()  # a pipe: until someone opens it
        os.write(2, b"late\n" * 50_000)

    threading.Thread(target=write, daemon=True).start()


def late_writer(executor: Any, directory: Path) -> Callable[[], None]:
    """Have the executor write while no task runs, once the returned function is called."""
    fifo = directory / "now"
    os.mkfifo(fifo)
    executor.run(write_late, str(fifo))
    executor.bench.until(lambda: executor.port.running() == 0)
    return lambda: os.close(os.open(fifo, os.O_WRONLY))


def test_what_comes_after_a_row_is_shown_although_the_task_is_still_in_the_page(executor, capfd):
    def spoil() -> None:
        from scaler.executor.grants import Grants

        def fail(self: Grants) -> bool:
            threading.Event().wait(0.1)  # as a rule, the row has been read by then
            raise RuntimeError("it cannot be put in order")

        Grants.put_back = fail  # type: ignore[method-assign]

    ordinal = executor.submit(spoil)
    assert executor.exit().code == 1
    assert executor.row(ordinal).status is RowStatus.SUCCEEDED
    kinds = [type(event) for event in executor.events]
    assert ExecutorPrinted not in kinds[kinds.index(ExecutorRows) :], "nobody shows it any more"
    shown = stderr_of(executor) + capfd.readouterr().err  # it may be here before the row was read
    assert "RuntimeError: it cannot be put in order" in shown


def test_what_comes_while_no_task_runs_goes_to_this_process_s_stderr(executor, tmp_path, capfd):
    write = late_writer(executor, tmp_path)
    write()
    seen: list[str] = []

    def is_all_here() -> bool:
        seen.append(capfd.readouterr().err)
        return "".join(seen).count("late\n") == 50_000

    executor.bench.until(is_all_here)
    assert executor.printed == []


def test_nobody_waits_for_a_stderr_that_nobody_reads(executor, tmp_path):
    write = late_writer(executor, tmp_path)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    own = os.dup(2)
    os.dup2(writer, 2)
    try:
        write()
        executor.bench.until(lambda: select.select([reader], (), (), 0)[0])
        assert load_value(executor.run(os.getpid).payload) == executor.pid
        os.kill(executor.pid, signal.SIGKILL)
        assert executor.exit().cause.startswith("killed by SIGKILL")
    finally:
        os.dup2(own, 2)
        for fd in (reader, writer, own):
            os.close(fd)


# --- memory ---------------------------------------------------------------------------------


def test_the_kernel_takes_executors_and_their_children_first(executor):
    def scores() -> tuple[int, int]:
        asked = subprocess.run(["cat", "/proc/self/oom_score_adj"], capture_output=True, check=True)
        return int(Path("/proc/self/oom_score_adj").read_text()), int(asked.stdout)

    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert load_value(executor.run(scores).payload) == (min(own + 500, 1000),) * 2


def test_the_memory_of_an_executor_is_seen_as_long_as_it_lives(executor):
    assert executor.port.rss_bytes() == 0
    executor.bench.until(lambda: executor.pid)
    before = executor.port.rss_bytes()
    assert before > 1 << 20

    def grow() -> None:
        ballast = b"x" * (64 << 20)
        hold()
        del ballast

    executor.submit(grow)
    executor.bench.until(lambda: executor.printed)
    assert executor.port.rss_bytes() - before > 60 << 20
    executor.port.kill()
    executor.exit()
    assert executor.port.rss_bytes() == 0


class Struck:
    """An executor under a kernel whose counter of OOM kills the test writes."""

    def __init__(self, bench: Any, root: Path) -> None:
        self.bench = bench
        self.vmstat = root / "proc" / "vmstat"
        self.vmstat.parent.mkdir()
        self.count(0)
        self.events: list[Any] = []
        self.port = ExecutorProcess(
            1,
            "worker-1",
            bench.poller,
            bench.launcher,
            self.events.append,
            PortObjects(bench.objects, 0),
            OomKills(f"{root}/"),
        )
        bench.until(lambda: self.events)

    def count(self, kills: int) -> None:
        self.vmstat.write_text(f"oom_kill {kills}\n")

    def exit(self) -> ExecutorExited:
        exited = self.bench.until(
            lambda: next((e for e in self.events if isinstance(e, ExecutorExited)), None)
        )
        self.port.close()
        assert isinstance(exited, ExecutorExited)
        return exited


@pytest.fixture
def struck(bench: Any, tmp_path: Path) -> Struck:
    return Struck(bench, tmp_path)


def test_a_kill_for_memory_is_named(struck):
    struck.count(1)
    os.kill(struck.events[0].pid, signal.SIGKILL)
    assert struck.exit().cause == (
        "killed by SIGKILL: probably out of memory (the kernel's OOM killer struck on this machine)"
    )


def test_our_own_kill_is_not_taken_for_one_for_memory(struck):
    struck.count(1)
    struck.port.kill()
    assert struck.exit().cause == "killed by SIGKILL"


def test_another_signal_is_not_taken_for_one_for_memory(struck):
    struck.count(1)
    os.kill(struck.events[0].pid, signal.SIGTERM)
    assert struck.exit().cause == "killed by SIGTERM"


# --- starts that fail -----------------------------------------------------------------------


def test_a_start_without_descriptors_left_leaves_none_open(bench):
    def open_fds() -> int:
        return len(os.listdir("/proc/self/fd"))

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = open_fds()
    top = os.dup(0)
    os.close(top)
    errors: list[str] = []
    for more in range(40):
        resource.setrlimit(resource.RLIMIT_NOFILE, (top + more, limits[1]))
        try:
            bench.start()
        except OSError as error:
            errors.append(str(error))
        else:
            break
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert open_fds() == before
    assert len(errors) >= 8, "each of its descriptors was the one too many once"
    assert all("Too many open files" in error for error in errors)
    bench.until(lambda: bench.executors[0].pid)
