"""What the kernel's files say of memory and of kills for it."""

from __future__ import annotations

import gc
import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scaler.cgroups import groups
from scaler.worker.memory import Kills, OomKills, counted, rss_bytes

PID = 77
EVENTS = "low 0\nhigh 12\nmax 3\noom 1\noom_kill {}\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
VMSTAT = "nr_free_pages 5\noom_kill {}\nunevictable_pgs_culled 0\n"

VERSION_2 = "0::/user.slice/job\n"
VERSION_1 = "5:devices:/\n4:cpu,memory:/jobs/one\n0::/\n"
NO_LIMIT_1 = "9223372036854771712\n"


class Kernel:
    """The files of a kernel, in a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kills = OomKills(f"{root}/")

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def look(self) -> Kills:
        return self.kills.look(PID)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


@pytest.fixture
def version_2(kernel: Kernel) -> Kernel:
    kernel.write(f"proc/{PID}/cgroup", VERSION_2)
    kernel.write("sys/fs/cgroup/user.slice/job/memory.events", EVENTS.format(4))
    return kernel


def test_the_count_is_found_in_every_kind_of_file():
    assert [counted(text.format(9)) for text in (EVENTS, CONTROL, VMSTAT)] == [9, 9, 9]
    assert [counted(text) for text in ("", "oom_kill", "oom_kill x", "oom_kill_disable 0")] == [
        None
    ] * 4


def test_no_kill_is_no_cause(version_2):
    assert version_2.kills.cause(version_2.look(), version_2.look()) == ""


def test_a_kill_names_the_group_and_the_lowest_limit_above_it(version_2):
    before = version_2.look()
    version_2.write("sys/fs/cgroup/user.slice/job/memory.events", EVENTS.format(5))
    version_2.write("sys/fs/cgroup/user.slice/job/memory.max", "max\n")
    version_2.write("sys/fs/cgroup/user.slice/memory.max", f"{2 << 30}\n")
    assert version_2.kills.cause(before, version_2.look()) == (
        "out of memory (the kernel's OOM killer; "
        "limit 2,048 MiB of its control group /user.slice/job)"
    )


def test_a_kill_without_a_limit_says_so(version_2):
    before = version_2.look()
    version_2.write("sys/fs/cgroup/user.slice/job/memory.events", EVENTS.format(5))
    assert version_2.kills.cause(before, version_2.look()) == (
        "out of memory (the kernel's OOM killer; no limit in its control group /user.slice/job)"
    )


def test_the_first_version_of_control_groups_is_read_too(kernel):
    kernel.write(f"proc/{PID}/cgroup", VERSION_1)
    kernel.write("sys/fs/cgroup/memory/jobs/one/memory.oom_control", CONTROL.format(0))
    kernel.write("sys/fs/cgroup/memory/jobs/one/memory.limit_in_bytes", f"{64 << 20}\n")
    kernel.write("sys/fs/cgroup/memory/memory.limit_in_bytes", NO_LIMIT_1)
    before = kernel.look()
    kernel.write("sys/fs/cgroup/memory/jobs/one/memory.oom_control", CONTROL.format(1))
    assert "limit 64 MiB of its control group /jobs/one" in kernel.kills.cause(
        before, kernel.look()
    )


def test_where_groups_cannot_be_seen_the_machine_is_asked_and_the_answer_is_a_guess(kernel):
    kernel.write(f"proc/{PID}/cgroup", "0::/../elsewhere\n")
    kernel.write("proc/vmstat", VMSTAT.format(1))
    before = kernel.look()
    kernel.write("proc/vmstat", VMSTAT.format(2))
    assert kernel.kills.cause(before, kernel.look()) == (
        "probably out of memory (the kernel's OOM killer struck on this machine)"
    )


def test_where_there_are_no_such_files_nothing_is_said(kernel):
    assert kernel.kills.cause(kernel.look(), kernel.look()) == ""


def test_each_kill_explains_one_death(version_2):
    executors = [version_2.look() for _ in range(3)]
    version_2.write("sys/fs/cgroup/user.slice/job/memory.events", EVENTS.format(6))
    causes = [version_2.kills.cause(before, version_2.look()) for before in executors]
    assert [bool(cause) for cause in causes] == [True, True, False]


def test_kills_from_before_its_start_do_not_explain_a_death(version_2):
    version_2.write("sys/fs/cgroup/user.slice/job/memory.events", EVENTS.format(6))
    assert version_2.kills.cause(version_2.look(), version_2.look()) == ""


def test_a_process_that_changed_its_group_is_not_judged(version_2):
    before = version_2.look()
    version_2.write(f"proc/{PID}/cgroup", "0::/other\n")
    version_2.write("proc/vmstat", VMSTAT.format(100))
    assert version_2.kills.cause(before, version_2.look()) == ""


def test_a_name_of_a_group_may_have_colons():
    (group,) = groups("0::/pod:a/b:c\n")
    assert group.name == "/pod:a/b:c"
    assert group.events == "sys/fs/cgroup/pod:a/b:c/memory.events"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_files_of_this_kernel_can_be_read():
    kills = OomKills()
    before = kills.look(os.getpid())
    assert before.total >= 0
    assert kills.look(os.getpid()).group == before.group


def test_the_resident_memory_of_a_process_is_seen_to_grow():
    gc.collect()  # what goes meanwhile would count
    before = rss_bytes(os.getpid())
    ballast = b"x" * (64 << 20)
    grown = rss_bytes(os.getpid()) - before
    assert len(ballast) * 0.8 < grown < len(ballast) * 1.5


def test_a_process_that_is_not_there_has_no_memory():
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert rss_bytes(gone.pid) == 0


def test_what_a_process_has_mapped_of_shared_memory_is_not_its_own():
    before = rss_bytes(os.getpid())
    with mmap.mmap(-1, 64 << 20) as shared:  # of a kind that a fork would share
        shared.write(bytes(64 << 20))
        assert rss_bytes(os.getpid()) - before < 32 << 20
