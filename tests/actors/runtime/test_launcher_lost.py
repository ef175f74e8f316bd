"""The launcher's process dies before its owner wants it to, with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from actors import ExitStatus, LaunchError
from actors.limits import LAUNCHER_PRELOAD_S, LAUNCHER_SILENT_S
from actors.runtime.launcher_orphans import MARK, end_orphans, new_mark
from actors.runtime.launcher_watch import LauncherWatch
from tests.actors.runtime.nest import BOUND_S, Nest, is_gone, no_descriptor_free

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

KILLED = "the launcher died (killed by SIGKILL)"


@pytest.fixture
def doomed(importable: None) -> Iterator[Nest]:
    """A nest whose test kills the launcher."""
    nest = Nest()
    yield nest
    assert nest.launcher.is_lost
    nest.close()


def kill(nest: Nest, signum: int = signal.SIGKILL) -> None:
    os.kill(nest.launcher.pid, signum)


def test_with_the_launcher_all_children_end_and_each_end_says_so(doomed: Nest) -> None:
    _, pids = doomed.start("sleep")
    doomed.launch("sleep", fds=[1])
    kill(doomed)
    doomed.until(lambda: doomed.lost)
    assert doomed.lost == [KILLED]
    started, just_ordered = doomed.exits
    assert started == ExitStatus(pids[0], None, None, KILLED, launcher_lost=True)
    assert (just_ordered.cause, just_ordered.launcher_lost) == (KILLED, True)
    with pytest.raises(LaunchError, match="the launcher died"):
        doomed.launch("echo")


def test_what_left_the_session_of_a_child_is_dead_before_the_end_is_told(doomed: Nest) -> None:
    families = [doomed.start("family", b"sleep") for _ in range(2)]
    pids = [pid for _, family in families for pid in family]
    left: list[int] = []
    for child, _ in families:
        child.on_exit = lambda _: left.extend(pid for pid in pids if not is_gone(pid))
    kill(doomed)
    doomed.until(lambda: doomed.lost)
    assert (len(pids), left) == (10, [])


def test_a_launcher_told_to_end_by_someone_else_is_lost_too(doomed: Nest) -> None:
    _, pids = doomed.start("family", b"sleep")
    kill(doomed, signal.SIGTERM)
    doomed.until(lambda: doomed.lost)
    assert doomed.lost == ["the launcher died (it was told to end by SIGTERM)"]
    assert [(end.signal, end.launcher_lost) for end in doomed.exits] == [(signal.SIGKILL, True)]
    assert [pid for pid in pids if not is_gone(pid)] == []


def test_who_ended_before_the_launcher_did_is_told_so(doomed: Nest) -> None:
    doomed.launch("end", b"signal 9")
    assert doomed.exit().launcher_lost is False
    kill(doomed)
    doomed.until(lambda: doomed.lost)


def test_the_launcher_may_die_at_any_point_of_a_start(importable: None) -> None:
    for wait_s in (0, 0, 0.02, 0.04, 0.05, 0.06):
        nest = Nest()
        nest.launch("family", b"sleep", [1, 1])
        nest.poller.poll(wait_s)
        nest.poller.poll(wait_s)
        kill(nest)
        nest.until(lambda: nest.lost)
        (end,) = nest.exits
        assert (end.cause, end.launcher_lost) == (KILLED, True)
        nest.close()


def test_the_launcher_may_die_while_it_is_closed(importable: None) -> None:
    nest = Nest()
    _, pids = nest.start("family", b"sleep")
    kill(nest)
    nest.launcher.close()
    assert [end.cause for end in nest.exits] == ["the launcher was closed"]
    assert [pid for pid in pids if not is_gone(pid)] == []
    assert (nest.lost, nest.launcher.is_lost) == ([], False)
    nest.close()


def test_a_launcher_that_hangs_and_is_closed_leaves_nothing(importable: None) -> None:
    nest = Nest(preload=["hangs_at_the_end"])
    _, pids = nest.start("family", b"sleep")
    nest.launcher.close(timeout_s=0.1)
    assert [pid for pid in pids if not is_gone(pid)] == []
    nest.close()


def test_a_frozen_launcher_that_is_closed_ends_in_order(importable: None) -> None:
    nest = Nest()
    nest.start("sleep")
    kill(nest, signal.SIGSTOP)
    nest.launcher.close(timeout_s=BOUND_S)
    assert [end.cause for end in nest.exits] == ["killed by SIGKILL"]
    nest.close()


def test_an_owner_without_a_free_descriptor_still_ends_all(doomed: Nest) -> None:
    _, pids = doomed.start("family", b"sleep")
    with no_descriptor_free():
        kill(doomed)
        doomed.until(lambda: doomed.lost)
    assert [pid for pid in pids if not is_gone(pid)] == []


def test_a_launcher_that_could_not_be_set_up_is_not_one_that_was_lost(
    importable: None, capfd: pytest.CaptureFixture[str]
) -> None:
    nest = Nest(preload=["no_such_module"])
    nest.until(lambda: nest.lost)
    assert "no_such_module" in nest.launcher.end_cause
    assert not nest.launcher.is_lost
    nest.close()


def test_children_carry_the_mark_of_their_own_launcher(importable: None) -> None:
    marks = []
    for env in (None, {**os.environ, MARK: "someone else's"}):
        nest = Nest(env=env)
        marks.append(json.loads(nest.ask("facts"))["mark"])
        nest.close()
    assert sorted(len(mark) for mark in marks) == [32, 32]
    assert marks[0] != marks[1]


def test_processes_with_another_mark_are_left_alone() -> None:
    ours, others = new_mark(), new_mark()
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with (
        subprocess.Popen(command, env={MARK: ours}) as orphan,
        subprocess.Popen(command, env={MARK: others}) as stranger,
        subprocess.Popen(command, env={MARK: ours + "0", "X" + MARK: ours}) as namesake,
    ):
        end_orphans(ours, [])
        assert orphan.wait(BOUND_S) == -signal.SIGKILL
        assert (stranger.poll(), namesake.poll()) == (None, None)
        stranger.kill()
        namesake.kill()


class Overseen:
    """A nest whose launcher is watched, on a clock of the test's."""

    def __init__(self, nest: Nest) -> None:
        self.nest = nest
        self.now_s = 0.0
        self.watch = LauncherWatch()

    def seconds(self, count: float) -> None:
        """Let as many seconds pass, and read what came after each."""
        for _ in range(int(count)):
            self.now_s += 1.0
            self.watch.check(self.nest.launcher, self.now_s)
            self.nest.poller.poll(0)


def test_a_frozen_launcher_that_owes_an_answer_is_given_up(doomed: Nest) -> None:
    overseen = Overseen(doomed)
    child, pids = doomed.start("family", b"sleep")
    kill(doomed, signal.SIGSTOP)
    overseen.seconds(3 * LAUNCHER_SILENT_S)
    assert doomed.lost == []  # it owes nothing
    doomed.launcher.kill(child)
    overseen.seconds(LAUNCHER_SILENT_S)
    assert doomed.lost == []
    overseen.seconds(2)
    doomed.until(lambda: doomed.lost)
    assert doomed.lost == ["the launcher died (silent for 10 s, it was killed)"]
    assert [pid for pid in pids if not is_gone(pid)] == []


def test_a_launcher_that_answers_in_between_is_let_alone(nest: Nest) -> None:
    overseen = Overseen(nest)
    child, _ = nest.start("sleep")
    kill(nest, signal.SIGSTOP)
    nest.launcher.kill(child)
    overseen.seconds(LAUNCHER_SILENT_S)
    kill(nest, signal.SIGCONT)
    nest.exit()
    overseen.seconds(3 * LAUNCHER_SILENT_S)
    assert nest.ask("echo", b"next") == b"next"


def test_a_launcher_whose_child_cannot_die_answers_in_its_place(nest: Nest) -> None:
    overseen = Overseen(nest)
    child, _ = nest.start("sleep")
    child._killed = True  # as if the order had been given, and hung in the kernel
    heard = nest.launcher.words
    for seconds in range(1, 3 * int(LAUNCHER_SILENT_S)):
        overseen.seconds(1)
        while nest.launcher.words < heard + seconds:
            nest.poller.poll(1.0)
    assert nest.lost == []


def test_a_long_preload_is_no_silence(importable: None) -> None:
    nest = Nest(preload=["sleeps_at_import"])
    nest.launch("echo", fds=[1])
    Overseen(nest).seconds(3 * LAUNCHER_SILENT_S)
    assert (nest.lost, nest.launcher.end_cause) == ([], "")
    nest.close()


def test_a_launcher_that_is_frozen_before_its_first_child_is_given_up_too(doomed: Nest) -> None:
    kill(doomed, signal.SIGSTOP)
    doomed.launch("echo", fds=[1])
    Overseen(doomed).seconds(int(LAUNCHER_PRELOAD_S) + 2)
    doomed.until(lambda: doomed.lost)
    assert doomed.lost == ["the launcher died (silent for 300 s, it was killed)"]
