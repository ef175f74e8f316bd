"""What goes wrong: kills, freezes, starved processors. All of it is noted before it is done."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.chaos.facts import Facts, Target
from tests.chaos.plan import Options
from tests.chaos.stamps import Stamps

_STEP_S = 0.005
_DEATH_S = 5.0
SETTLED_S = 0.1
"""Younger processes are left alone, as a rule."""
LAUNCHERS_PER_MINUTE = 15
"""Fewer than end a cluster."""
_HOG = """
import sys, time
end_s = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end_s: pass
"""


class Prey:
    """Tasks that are to lose their executor, so and so often. Thread-safe."""

    def __init__(self, stamps: Stamps) -> None:
        """Look for them in these stamps."""
        self._stamps = stamps
        self._left: dict[int, tuple[int, int]] = {}
        """Index to the begins that were seen, and the kills that are left."""

    def add(self, index: int, kills: int) -> None:
        """Hunt this task."""
        self._left[index] = (0, kills)

    def in_sight(self) -> Iterator[int]:
        """Yield the processes in which such a task has just begun."""
        for index, (seen, kills) in list(self._left.items()):
            begins, pid = self._stamps.begins_of(index)
            if begins > seen:
                if kills > 1:
                    self._left[index] = (begins, kills - 1)
                else:
                    del self._left[index]
                yield pid


class Nemesis(threading.Thread):
    """Strikes at random moments until it is stopped; then all that it froze goes on."""

    def __init__(self, seed: str, options: Options, facts: Facts, prey: Prey) -> None:
        """Make it; `start` sets it loose."""
        super().__init__(name="nemesis", daemon=True)
        self._rng = Random(seed)
        self._facts = facts
        self._prey = prey
        self._deeds = {
            self._kill_executor: options.kill_executor,
            self._kill_launcher: options.kill_launcher,
            self._freeze_executor: options.freeze_executor,
            self._freeze_launcher: options.freeze_launcher,
            self._starve: options.starve,
        }
        self._ended = threading.Event()
        self._hogs: list[subprocess.Popen[bytes]] = []
        self._launchers_s: list[float] = []
        """When launchers were killed, of late."""
        self._frozen: list[tuple[float, int]] = []
        """Until when, and the descriptor of the process."""

    def stop(self) -> None:
        """End it, and wait until nothing is frozen or starved any more."""
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Strike."""
        rate = sum(self._deeds.values())
        due_s = time.monotonic() + self._pause_s(rate)
        try:
            while not self._ended.wait(_STEP_S):
                self._thaw(time.monotonic())
                for pid in self._prey.in_sight():
                    if self._kill(pid, Target.EXECUTOR, self._launcher()):
                        self._facts.count("kills of executors, hunted")
                if time.monotonic() >= due_s:
                    (deed,) = self._rng.choices([*self._deeds], [*self._deeds.values()])
                    deed()
                    due_s = time.monotonic() + self._pause_s(rate)
        except Exception as error:
            self._facts.complain(f"the nemesis met {error!r}")
            raise
        finally:
            self._thaw(float("inf"))
            for hog in self._hogs:
                hog.kill()
                hog.wait()

    def _pause_s(self, rate: float) -> float:
        return self._rng.expovariate(rate) if rate else float("inf")

    # --- deeds ------------------------------------------------------------------------------

    def _kill_executor(self) -> None:
        launcher = self._launcher()
        for _ in range(self._rng.choice((1, 1, 1, 2))):
            pid = self._an_executor(launcher)
            if pid and self._kill(pid, Target.EXECUTOR, launcher):
                self._facts.count("kills of executors")

    def _kill_launcher(self) -> None:
        """Kill it, unless it is just starting, or too many have died: that ends the cluster."""
        pid, now_s = self._launcher(), time.monotonic()
        self._launchers_s = [at_s for at_s in self._launchers_s if now_s - at_s < 60.0]
        if len(self._launchers_s) >= LAUNCHERS_PER_MINUTE or not self._an_executor(pid):
            return
        if self._kill(pid, Target.LAUNCHER, os.getpid()):
            self._launchers_s.append(now_s)
            self._facts.count("kills of launchers")

    def _freeze_executor(self) -> None:
        launcher = self._launcher()
        pid = self._an_executor(launcher)
        if pid and self._freeze(pid, launcher, self._rng.choice((0.02, 0.2, 1.0))):
            self._facts.count("freezes of executors")

    def _freeze_launcher(self) -> None:
        pid = self._launcher()
        if pid and self._freeze(pid, os.getpid(), self._rng.choice((0.02, 0.2, 1.0))):
            self._facts.count("freezes of launchers")

    def _starve(self) -> None:
        """Keep all processors busy for a while."""
        self._hogs = [hog for hog in self._hogs if hog.poll() is None]
        if self._hogs:
            return
        seconds = self._rng.uniform(0.5, 3.0)
        for _ in range(2 * (os.cpu_count() or 1)):
            command = [sys.executable, "-S", "-E", "-c", _HOG, str(seconds)]
            self._hogs.append(subprocess.Popen(command))
        self._facts.count("times of starved processors")

    # --- processes --------------------------------------------------------------------------

    def _launcher(self) -> int:
        """Return the pid of the cluster's launcher; 0: there is none now."""
        return next((pid for pid in children(os.getpid()) if _is_launcher(pid)), 0)

    def _an_executor(self, launcher: int) -> int:
        """Choose one, settled as a rule: five that die before they are up end the cluster."""
        least_s = 0.0 if self._rng.random() < 0.1 else SETTLED_S
        settled = [pid for pid, age_s in children(launcher).items() if age_s >= least_s]
        return self._rng.choice(settled) if settled else 0

    def _kill(self, pid: int, target: Target, parent: int) -> bool:
        process = _hold(pid, parent)
        if process < 0:
            return False
        blow = self._facts.begin_blow(target, pid)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGKILL)
        # A process that waits for a processor dies later, and its children die after it.
        select.select([process], [], [], _DEATH_S)
        blow.after_ns = time.monotonic_ns()
        os.close(process)
        return True

    def _freeze(self, pid: int, parent: int, seconds: float) -> bool:
        process = _hold(pid, parent)
        if process < 0:
            return False
        self._frozen.append((time.monotonic() + seconds, process))
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGSTOP)
        return True

    def _thaw(self, now_s: float) -> None:
        for until_s, process in list(self._frozen):
            if until_s <= now_s:
                self._frozen.remove((until_s, process))
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(process, signal.SIGCONT)
                os.close(process)


def children(parent: int) -> dict[int, float]:
    """Return the living children of a process, with their ages in seconds."""
    found = {}
    now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    for name in os.listdir("/proc") if parent else ():
        if name.isdecimal():
            try:
                stat = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(stat[1]) == parent and stat[0] not in b"ZX":
                found[int(name)] = now_s - int(stat[19]) / os.sysconf("SC_CLK_TCK")
    return found


def _is_launcher(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"actors-launcher\0")
    except OSError:
        return False


def _hold(pid: int, parent: int) -> int:
    """Open a child of `parent`, so that no other process can take its number; -1: it is gone."""
    try:
        process = os.pidfd_open(pid)
    except (OSError, ValueError):
        return -1
    if pid not in children(parent):  # looked at after it was opened: this one is meant
        os.close(process)
        return -1
    return process
