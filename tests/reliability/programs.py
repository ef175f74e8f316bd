"""Programs that are started to be ended, and all that came of them.

A program runs in a process group of its own, with a directory for its temporary files. Its
processes are found by a mark in their environment: descendants without a living parent too, and
those that made themselves sessions of their own.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from actors.testkit.processes import running_processes, used_elsewhere

BOUND_S = 20.0
_MARK = "RELIABILITY_PROGRAM"
_POLL_S = 0.002
_EXEC_POLLS = 20
_SHARED_MEMORY = "/dev/shm"


def joined(*pieces: str) -> str:
    """Make one program of pieces that may be indented differently."""
    return "\n".join(textwrap.dedent(piece).strip("\n") for piece in pieces)


class Program:
    """One run of a Python program. A context manager, at whose end nothing of it lives."""

    def __init__(self, code: str, *arguments: str) -> None:
        """Start it. `sys.path` is that of the tests, so it may import them."""
        self.directory = Path(tempfile.mkdtemp(prefix="program-"))
        self._mark = secrets.token_hex(8)
        self._segments = shared_memory()
        environment = {
            **os.environ,
            _MARK: self._mark,
            "TMPDIR": str(self.directory),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", joined(code), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            process_group=0,
        )

    @property
    def pid(self) -> int:
        """The program's own pid."""
        return self.process.pid

    def says(self, text: str) -> None:
        """Wait until the program has printed this line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == f"{text}\n", (line, self.process.communicate(timeout=BOUND_S))

    def kill(self) -> float:
        """Kill the program alone; return after how many seconds nothing of it was left."""
        os.kill(self.pid, signal.SIGKILL)
        start_s = time.monotonic()
        self.process.wait(BOUND_S)
        self.wait_gone()
        return time.monotonic() - start_s

    def ctrl_c(self) -> None:
        """Do what a terminal does at Ctrl-C: the whole process group is told."""
        os.killpg(self.pid, signal.SIGINT)

    def ends(self, bound_s: float = BOUND_S) -> tuple[int, str, str]:
        """Wait for its end; return exit code and what it wrote."""
        out, err = self.process.communicate(timeout=bound_s)
        return self.process.returncode, out, err

    def pids(self) -> list[int]:
        """Return who lives of the program and of all that it started."""
        mark = f"{_MARK}={self._mark}".encode()
        names = [name for name in os.listdir("/proc") if name.isdecimal()]
        return [int(name) for name in names if mark in _environment(name)]

    def wait_gone(self, bound_s: float = BOUND_S) -> None:
        """Wait until nothing is left: no process, no segment, no file (a socket is one)."""
        deadline_s = time.monotonic() + bound_s
        while left := self.left():
            assert time.monotonic() < deadline_s, left
            time.sleep(_POLL_S)

    def left(self) -> list[str]:
        """Describe what is left."""
        left = [f"process {pid}: {_command(pid)}" for pid in self.pids()]
        # All of the program is gone by then: what another process has mapped is none of its.
        left += [
            f"segment {name}"
            for name in shared_memory() - self._segments
            if left or not used_elsewhere(f"{_SHARED_MEMORY}/{name}", running_processes())
        ]
        return left + [f"file {path}" for path in self.directory.rglob("*")]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.communicate()
        shutil.rmtree(self.directory, ignore_errors=True)


def shared_memory() -> set[str]:
    """Return the names of all segments of this machine; those of semaphores are none."""
    names = os.listdir(_SHARED_MEMORY) if os.path.isdir(_SHARED_MEMORY) else ()
    return {name for name in names if not name.startswith("sem.")}


def _environment(pid: str) -> bytes:
    """Its environment; in the middle of `exec` it has none, so look again."""
    for _ in range(_EXEC_POLLS):
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return b""
        if environment or not command:  # kernel threads and zombies have neither
            return environment
        time.sleep(_POLL_S)
    return b""


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:100]
    except OSError:
        return "ended meanwhile"
