"""Start the launcher's process, and see it end.

It starts before heavy imports are done, so this module imports only light ones.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Mapping, Sequence

DEATH_S = 1.0
"""How long a killed process may take to be dead, seconds."""

# What runs in the new interpreter first. `sys.path` and the rest come over the socket (its stdin):
# the command line is for everyone to read. The import hooks of editable installs, which `site`
# would have made, are made again.
_BOOTSTRAP = """\
import os, sys
def read(size, data=b""):
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part: os._exit(0)
        data += part
    return data
setup = os.fsdecode(read(int.from_bytes(read(4), "little"))).split("\\0")
sys.path[:] = setup[6:]
for name in filter(None, setup[4].split(",")):
    count = len(sys.meta_path); module = __import__(name)
    if len(sys.meta_path) == count: module.install()
from actors.runtime.launcher_main import main
main(setup)
"""


def setup_bytes(preload: Sequence[str], cwd: str | None) -> bytes:
    """Return what the bootstrap reads: a length, and texts with NUL between them."""
    texts = [str(os.getpid()), cwd or "", sys.prefix, sys.exec_prefix]
    texts += [",".join(_editable_finders()), ",".join(preload)]
    texts += [str(path or _here()) for path in sys.path]
    data = os.fsencode("\0".join(texts))
    return len(data).to_bytes(4, "little") + data


def spawn(control: int, env: Mapping[str, str]) -> int:
    """Start the process with the socket `control` as its stdin, and return its pid.

    Raises:
        OSError: it could not be started.
        ValueError: there is no interpreter, or `env` holds what no environment can.
    """
    if not sys.executable:
        raise ValueError("sys.executable does not name an interpreter")
    return os.posix_spawn(
        sys.executable,
        [sys.executable, *_interpreter_options(), "-c", _BOOTSTRAP, "actors-launcher"],
        env,
        file_actions=[(os.POSIX_SPAWN_DUP2, control, 0)],
        setsid=sys.platform == "linux",  # a Ctrl-C in the terminal is not meant for it
        setsigmask=(),
        setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGCHLD),
    )


def open_pidfd(pid: int) -> int:
    """Return a pidfd of a child of this process, -1 if there are none or no number is left."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1


def wait_readable(fd: int, timeout_s: float) -> bool:
    """Wait until `fd` is readable, a pidfd: until its process is dead. Return whether it is."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def kill(pid: int, pidfd: int, signum: int = signal.SIGKILL) -> None:
    """Kill a process, or send it another signal, by its pidfd if that is not -1."""
    try:
        if pidfd >= 0:
            signal.pidfd_send_signal(pidfd, signum)
        else:
            os.kill(pid, signum)
    except (ProcessLookupError, PermissionError):
        pass


def is_dead(pidfd: int) -> bool:
    """Whether the process is known to be dead."""
    return pidfd >= 0 and wait_readable(pidfd, 0)


def reap(pid: int, pidfd: int, deadline_s: float) -> int | None:
    """Wait for the end of a child of this process, kill it at the deadline, and reap it.

    Args:
        pid: of the child, which was not reaped by this function before.
        pidfd: of the same, or -1.
        deadline_s: on the monotonic clock; it is overdrawn by at most `DEATH_S`.

    Returns:
        Its wait status; None if someone else reaped it, or if it hangs in the kernel.
    """
    while True:
        try:
            reaped, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:  # the program ignores SIGCHLD, or waits for any child
            return None
        if reaped:
            return status
        remaining_s = deadline_s - time.monotonic()
        if remaining_s < -DEATH_S:
            return None
        if remaining_s <= 0:
            os.kill(pid, signal.SIGKILL)  # not reaped: the number is still its own
        if pidfd >= 0:
            wait_readable(pidfd, remaining_s if remaining_s > 0 else 0.05)
        else:
            time.sleep(0.005)


def _here() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was deleted
        return ""


def _editable_finders() -> list[str]:
    modules = [getattr(finder, "__module__", "") for finder in sys.meta_path]
    return [name for name in modules if "editable" in name]


def _interpreter_options() -> list[str]:
    """Options of this interpreter that change what code means; and no `site`, it is slow."""
    options = ["-S"]
    if sys.flags.optimize:
        options.append("-" + "O" * sys.flags.optimize)
    if sys.flags.dont_write_bytecode:
        options.append("-B")
    if sys.flags.ignore_environment:
        options.append("-E")
    for name, value in sys._xoptions.items():
        options += ["-X", name if value is True else f"{name}={value}"]
    for option in sys.warnoptions:
        options += ["-W", option]
    return options
