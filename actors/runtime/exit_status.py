"""`ExitStatus`: how a child process ended."""

import os
import signal
from typing import NamedTuple


class ExitStatus(NamedTuple):
    """How a child ended. `code` or `signal` is set; neither, if it never ran or nobody knows."""

    pid: int
    """0 if it was never started."""
    code: int | None
    signal: int | None
    cause: str
    """In words: "exit code 3", "killed by SIGKILL", "could not start: ..."."""
    launcher_lost: bool = False
    """The launcher died, and this child with it: nothing that it did itself has ended it."""


def describe(pid: int, status: int) -> ExitStatus:
    """Return what a wait status says of the process `pid`."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return ExitStatus(pid, code, None, f"exit code {code}")
    try:
        name = signal.Signals(-code).name
    except ValueError:  # a real-time signal
        name = f"signal {-code}"
    return ExitStatus(pid, None, -code, f"killed by {name}")
