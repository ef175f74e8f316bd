"""Whole programs that are killed in the middle of their work: nothing of them may be left."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from random import Random

from tests.chaos.facts import Facts

GONE_S = 10.0
"""Nothing of a killed program lives longer; with starved processors."""
_LONGEST_S = 0.8
_POLL_S = 0.005
_MARK = "CHAOS_PROGRAM"

_PROGRAM = """
import subprocess, time
from scaler import Client
client = Client(workers=2)
def leave_a_daemon():
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    time.sleep(600)
work = [client.submit(leave_a_daemon), client.submit(sum, range(10**12))]
work += [client.submit(time.sleep, 600) for _ in range(100)]
time.sleep(600)
"""


class Programs(threading.Thread):
    """Starts programs with a cluster of their own, one after the other, and kills each."""

    def __init__(self, seed: str, rate: float, facts: Facts) -> None:
        """Make it; `rate` is in programs per second, 0: none."""
        super().__init__(name="programs", daemon=True)
        self._rng = Random(seed)
        self._rate = rate
        self._facts = facts
        self._ended = threading.Event()
        self.slowest_s = 0.0
        """The longest that something of a killed program has lived."""

    def stop(self) -> None:
        """End it, and wait until the last program is gone."""
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Start and kill."""
        while self._rate and not self._ended.wait(self._rng.expovariate(self._rate)):
            mark = uuid.uuid4().hex
            environment = {**os.environ, _MARK: mark}
            program = subprocess.Popen([sys.executable, "-c", _PROGRAM], env=environment)
            time.sleep(self._rng.uniform(0.0, _LONGEST_S))
            program.kill()
            program.wait()
            self._await_end(mark)
            self._facts.count("kills of programs")

    def _await_end(self, mark: str) -> None:
        killed_s = time.monotonic()
        while left := _marked(mark):
            if time.monotonic() > killed_s + GONE_S:
                self._facts.complain(f"{GONE_S:g} s after a program was killed there is {left}")
                break
            time.sleep(_POLL_S)
        self.slowest_s = max(self.slowest_s, time.monotonic() - killed_s)


def _marked(mark: str) -> list[str]:
    """Return the command lines of the processes that carry the mark."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                folder = Path("/proc", name)
                if f"{_MARK}={mark}".encode() in (folder / "environ").read_bytes():
                    found.append((folder / "cmdline").read_bytes()[-60:].decode(errors="replace"))
            except OSError:
                continue  # it has ended, or is somebody else's
    return found
