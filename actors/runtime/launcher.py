"""Child processes by way of a launcher: a small process that forks them and reports their ends.

    with a poller                       launcher process                children
    Launcher ──LAUNCH, KILL, SIGNAL──►  forks, kills, reaps  ──fork──►  function(payload, fds)
             ◄─STARTED, EXITED, FAILED─

A process with threads, sockets and gigabytes of the user's data is a bad one to fork; the launcher
has none of them. It is started before heavy imports, so this module imports only light ones.
"""

import _socket
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from actors.errors import LaunchError
from actors.runtime.launcher_channel import FDS_MAX, Channel, Frame, Kind, close_all
from actors.runtime.poller import Poller, print_error

PAYLOAD_BYTES_MAX = 64 * 1024 * 1024
"""Bound of one child's payload, bytes."""

_DEATH_S = 1.0
"""How long a killed process may take to be dead, seconds."""

# What runs in the new interpreter first. `sys.path` and the rest come over the socket (stdin): the
# command line is for everyone to read. Import hooks of editable installs, which `site` would have
# made, are made again.
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


class ExitStatus(NamedTuple):
    """How a child ended. `code` or `signal` is set; neither, if it never ran or nobody knows."""

    pid: int
    """0 if it was never started."""
    code: int | None
    signal: int | None
    cause: str
    """In words: "exit code 3", "killed by SIGKILL", "could not start: ..."."""


class Child:
    """A child process, from the order to its end. Made by `Launcher.launch`."""

    __slots__ = ("_killed", "number", "on_exit", "on_start", "pid", "pidfd")

    def __init__(
        self,
        number: int,
        on_exit: Callable[[ExitStatus], None],
        on_start: Callable[["Child"], None] | None,
    ) -> None:
        self.number = number
        """Unique in its launcher."""
        self.pid = 0
        """0 until it was started."""
        self.pidfd = -1
        """Open from its start to the end of `on_exit`, which is when the launcher closes it; -1
        before and after, and where there are no pidfds."""
        self.on_exit = on_exit
        self.on_start = on_start
        self._killed = False

    def __repr__(self) -> str:
        return f"<Child {self.number} pid={self.pid or 'not started'}>"


class Launcher:
    """Starts, signals and kills child processes; never blocks. Belongs to the thread that made it.

    The launcher process ends with that thread, at the latest, and with it all children and all
    they started. Every `launch` is answered by exactly one `on_exit`.
    """

    def __init__(
        self,
        *,
        preload: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> None:
        """Start the launcher process, without waiting for it.

        Args:
            preload: modules that it imports, so that each child has them at once. One that fails
                to import ends the launcher: `on_lost` says why.
            env: environment of all children; this process's as it is now if None.
            cwd: working directory of all children; this process's as it is now if None.

        Raises:
            LaunchError: there is no interpreter to run, or it could not be started.
        """
        self.on_lost: Callable[[str], None] | None = None
        """Called with the cause when the launcher itself died unexpectedly. Before it, each open
        child got its `on_exit`."""
        self._owner = os.getpid()
        self._children: dict[int, Child] = {}
        self._launched = 0
        self._poller: Poller | None = None
        self._end_cause = ""  # once it is not usable any more: why
        self._broken = ""
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            self.pid = _spawn(theirs.fileno(), os.environ if env is None else env)
            self._pidfd = _open_pidfd(self.pid)
        except (OSError, ValueError, TypeError) as error:
            ours.close()
            raise LaunchError(f"the launcher could not be started: {error}") from error
        finally:
            theirs.close()
        self._channel = Channel(ours)
        self._channel.send_bytes(_setup(preload, cwd))

    def __repr__(self) -> str:
        state = self._end_cause or f"{len(self._children)} children"
        return f"<Launcher pid={self.pid}: {state}>"

    def attach(self, poller: Poller) -> None:
        """Read the launcher's answers on `poller`, whose thread must be this one."""
        self._poller = poller
        poller.add_reader(self._channel.fileno(), self._read)
        if self._pidfd >= 0:  # a fork of someone else's may hold a copy of the launcher's socket
            poller.add_reader(self._pidfd, self._read)
        self._update_writer()

    def launch(
        self,
        entry: str,
        payload: bytes,
        fds: Sequence[int],
        *,
        on_exit: Callable[[ExitStatus], None],
        on_start: Callable[[Child], None] | None = None,
    ) -> Child:
        """Order a child that calls `entry` as `function(payload, fds)`. Never waits.

        Args:
            entry: "package.module:function".
            payload: at most `PAYLOAD_BYTES_MAX` bytes.
            fds: file descriptors that the child gets copies of, under other numbers. The caller
                may close its own right after this call.
            on_exit: called once, when the child was reaped and all it started is gone.
            on_start: called once the pid is known; not if the child could not be started.

        Raises:
            LaunchError: the launcher was closed, or died; or this process is a fork of its owner.
            ValueError: `entry`, `payload` or `fds` is out of bounds.
            OSError: one of `fds` is not open.
        """
        if self._end_cause or os.getpid() != self._owner:
            cause = self._end_cause or "this process is a fork of the launcher's owner"
            raise LaunchError(f"{entry} cannot be started: {cause}")
        if ":" not in entry or "\0" in entry:
            raise ValueError(f"entry must look like 'package.module:function', not {entry!r}")
        if len(payload) > PAYLOAD_BYTES_MAX or len(fds) > FDS_MAX:
            raise ValueError(
                f"a payload of {len(payload)} bytes with {len(fds)} file descriptors is too much; "
                f"the bounds are {PAYLOAD_BYTES_MAX} and {FDS_MAX}"
            )
        self._launched += 1
        child = Child(self._launched, on_exit, on_start)
        self._send(Kind.LAUNCH, child, entry.encode() + b"\0" + payload, fds)
        self._children[child.number] = child
        return child

    def signal(self, child: Child, signum: int) -> None:
        """Send a signal to the child itself. Before its start it waits; after its end, nothing."""
        if not self._is_open(child):
            return
        if child.pidfd < 0:  # it goes behind the order to start
            self._send(Kind.SIGNAL, child, bytes((signum,)))
            return
        try:
            signal.pidfd_send_signal(child.pidfd, signum)
        except ProcessLookupError:  # dead; the report is on its way
            pass

    def kill(self, child: Child) -> None:
        """Kill the child and all it started; `on_exit` follows when they are gone.

        Fine before the start is known (it is then never, or hardly, run), twice, and after its end.
        """
        if self._is_open(child) and not child._killed:
            child._killed = True
            self._send(Kind.KILL, child)

    def close(self, timeout_s: float = 5.0) -> None:
        """End the launcher, with all children, and wait until it was reaped. Twice is fine.

        Each open child gets its `on_exit` in here. In a fork of the owner it only closes the file
        descriptors.

        Args:
            timeout_s: seconds to wait for an orderly end; after it, the launcher is killed.
        """
        if os.getpid() != self._owner:
            self._release()
        if self._end_cause or os.getpid() != self._owner:
            return
        self._end_cause = "the launcher was closed"
        self._channel.end_sending()
        deadline_s = time.monotonic() + timeout_s
        self._drain(deadline_s)
        _reap(self.pid, self._pidfd, deadline_s)
        self._finish(self._end_cause)

    def _send(self, kind: Kind, child: Child, body: bytes = b"", fds: Sequence[int] = ()) -> None:
        self._channel.send(kind, child.number, body, fds)
        self._update_writer()

    def _is_open(self, child: Child) -> bool:
        return self._children.get(child.number) is child and os.getpid() == self._owner

    def _update_writer(self) -> None:
        if self._poller is None:
            return
        if self._channel.unsent:
            self._poller.add_writer(self._channel.fileno(), self._write)
        else:
            self._poller.remove_writer(self._channel.fileno())

    def _write(self) -> None:
        self._channel.flush()
        self._update_writer()

    def _read(self) -> None:
        for frame in self._channel.receive():
            self._handle(frame)
        if self._channel.fileno() < 0 or self._end_cause:  # a callback closed this launcher
            return
        if self._channel.ended or _is_dead(self._pidfd):
            self._lost()

    def _handle(self, frame: Frame) -> None:
        child = self._children.get(frame.number)
        if frame.kind == Kind.BROKEN:
            self._broken = frame.body.decode(errors="replace")
        elif child is None:
            close_all(frame.fds)
        elif frame.kind == Kind.STARTED:
            child.pid = int.from_bytes(frame.body, "little")
            child.pidfd = frame.fds[0] if frame.fds else -1
            if child.on_start is not None:
                self._call(child.on_start, child)
        elif frame.kind == Kind.EXITED:
            self._exited(child, _describe(child.pid, int.from_bytes(frame.body, "little")))
        elif frame.kind == Kind.FAILED:
            reason = frame.body.decode(errors="replace")
            status = ExitStatus(child.pid, None, None, f"could not start: {reason}")
            self._exited(child, status)

    def _exited(self, child: Child, status: ExitStatus) -> None:
        del self._children[child.number]
        self._call(child.on_exit, status)
        if child.pidfd >= 0:
            os.close(child.pidfd)
            child.pidfd = -1

    def _call(self, callback: Callable[[Any], None], argument: object) -> None:
        try:
            callback(argument)
        except Exception as error:  # it must not stop the reports of other children
            report = print_error if self._poller is None else self._poller.on_error
            report(self._channel.fileno(), error)

    def _lost(self) -> None:
        ended = _reap(self.pid, self._pidfd, time.monotonic() + _DEATH_S)
        cause = self._broken or f"the launcher died ({ended})"
        self._finish(cause)
        if self.on_lost is not None:
            self._call(self.on_lost, cause)

    def _drain(self, deadline_s: float) -> None:
        """Take the last reports, until the launcher has closed its end."""
        while not self._channel.ended and not _is_dead(self._pidfd):
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0:
                return
            _wait_readable(self._channel.fileno(), min(remaining_s, 0.5))
            for frame in self._channel.receive():
                self._handle(frame)

    def _finish(self, cause: str) -> None:
        """The launcher was reaped: let go of everything, and answer what is open."""
        self._end_cause = cause
        children = list(self._children.values())
        self._children.clear()
        for child in children:
            _await_orphan(child)
        self._release()
        for child in children:
            self._call(child.on_exit, ExitStatus(child.pid, None, None, cause))
            if child.pidfd >= 0:
                os.close(child.pidfd)
                child.pidfd = -1

    def _release(self) -> None:
        if self._poller is not None:
            self._poller.remove_writer(self._channel.fileno())
            self._poller.remove_reader(self._channel.fileno())
            self._poller.remove_reader(self._pidfd)
        self._channel.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


def _setup(preload: Sequence[str], cwd: str | None) -> bytes:
    """What the bootstrap reads: its length, and texts with NUL between them."""
    directory = os.getcwd() if cwd is None else cwd
    texts = [str(os.getpid()), directory, sys.prefix, sys.exec_prefix]
    texts += [",".join(_editable_finders()), ",".join(preload)]
    texts += [path or os.getcwd() for path in sys.path if isinstance(path, str)]
    data = os.fsencode("\0".join(texts))
    return len(data).to_bytes(4, "little") + data


def _editable_finders() -> list[str]:
    modules = [getattr(finder, "__module__", "") for finder in sys.meta_path]
    return [name for name in modules if "editable" in name]


def _interpreter_options() -> list[str]:
    """The options of this interpreter that change what code means, without `site`."""
    options = ["-S"]
    options += ["-" + "O" * sys.flags.optimize] if sys.flags.optimize else []
    options += ["-B"] if sys.flags.dont_write_bytecode else []
    options += ["-E"] if sys.flags.ignore_environment else []
    for name, value in sys._xoptions.items():
        options += ["-X", name if value is True else f"{name}={value}"]
    for option in sys.warnoptions:
        options += ["-W", option]
    return options


def _spawn(control: int, env: Mapping[str, str]) -> int:
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


def _open_pidfd(pid: int) -> int:
    return os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1


def _wait_readable(fd: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def _is_dead(pidfd: int) -> bool:
    return pidfd >= 0 and _wait_readable(pidfd, 0)


def _reap(pid: int, pidfd: int, deadline_s: float) -> str:
    """Wait for the launcher's end, kill it at the deadline, and return how it ended."""
    while True:
        try:
            reaped, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:  # someone else reaps the children of this process
            return "nobody knows how"
        if reaped:
            return _describe(pid, status).cause
        remaining_s = deadline_s - time.monotonic()
        if remaining_s < -_DEATH_S:
            return "it hangs in the kernel"
        if remaining_s < 0:
            os.kill(pid, signal.SIGKILL)
        if pidfd >= 0:
            _wait_readable(pidfd, remaining_s if remaining_s > 0 else 0.05)
        else:
            time.sleep(0.005)


def _await_orphan(child: Child) -> None:
    """The launcher is gone: the kernel killed `child`; kill its group, and see it dead."""
    if child.pidfd < 0:
        return
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    _wait_readable(child.pidfd, _DEATH_S)


def _describe(pid: int, status: int) -> ExitStatus:
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return ExitStatus(pid, code, None, f"exit code {code}")
    try:
        name = signal.Signals(-code).name
    except ValueError:  # a real-time signal
        name = f"signal {-code}"
    return ExitStatus(pid, None, -code, f"killed by {name}")
