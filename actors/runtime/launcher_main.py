"""The launcher's process: small, single-threaded, it forks children and buries them.

It was told what to preload, so that a child starts with those modules in memory; it never imports
the user's `__main__`. It dies with the thread that created it (a signal from the kernel) and at the
end of its socket, and takes along everything that its children started.
"""

import _sitebuiltins
import _socket
import builtins
import gc
import os
import select
import signal
import sys
import time
from importlib import import_module
from typing import NoReturn

from actors.runtime.launcher_channel import Channel, Frame, Kind, close_all
from actors.runtime.launcher_child import (
    CAUGHT,
    FAULT,
    Order,
    close_others,
    is_open,
    open_fds,
    print_traceback,
    run_child,
)
from actors.runtime.launcher_start import open_pidfd
from actors.runtime.prctl import AVAILABLE, adopt_orphans, die_with_parent

_BURIAL_S = 2.0
"""How long a death may wait for what the dead child left behind (a process that cannot die now
hangs in the kernel), seconds."""

_PARENT_CHECK_S = 1.0
"""Where the kernel does not tell that the parent died: look this often, seconds."""


def main(setup: list[str]) -> NoReturn:
    """Run until the owner is gone.

    Args:
        setup: pid of the owner, working directory if not the inherited one, `sys.prefix`,
            `sys.exec_prefix`, (for the bootstrap), modules to preload with commas between them.
    """
    owner, directory, prefix, exec_prefix, _, preload = setup[:6]
    die_with_parent(signal.SIGTERM, int(owner))
    adopt_orphans()
    if os.getsid(0) != os.getpid():
        os.setsid()
    channel = _take_socket()
    try:
        if directory:
            os.chdir(directory)
        _set_up_interpreter(prefix, exec_prefix)
        own = open_fds()
        for name in filter(None, preload.split(",")):
            import_module(name)
    except BaseException as error:
        print_traceback(error)
        reason = f"the launcher could not be set up: {type(error).__name__}: {error}"
        channel.send(Kind.BROKEN, 0, reason.encode(errors="replace"))
        os._exit(1)
    kept = [fd for fd in open_fds() if fd not in own]  # opened by the preloaded modules
    gc.freeze()  # no collection in a child touches, and so copies, this memory
    _Keeper(channel, kept, int(owner)).run()
    os._exit(0)


def _take_socket() -> Channel:
    """Move the socket away from stdin, and leave nothing else open that was inherited."""
    for fd in (1, 2):
        if not is_open(fd):  # the owner has none: no other file may get its number
            os.dup2(os.open(os.devnull, os.O_RDWR), fd)
            os.set_inheritable(fd, True)
    close_others(())
    sock = _socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    close_others((sock.fileno(),))
    return Channel(sock)


def _set_up_interpreter(prefix: str, exec_prefix: str) -> None:
    """Do what `site` would have done, at a tenth of its time, and leave an empty `__main__`."""
    sys.prefix, sys.exec_prefix = prefix, exec_prefix
    sys.argv = ["actors-child"]
    sys.modules["__main__"] = type(sys)("__main__")
    sys.modules["__main__"].__dict__["__builtins__"] = builtins
    quitters = {name: _sitebuiltins.Quitter(name, "Ctrl-D") for name in ("exit", "quit")}
    vars(builtins).update(quitters, help=_sitebuiltins._Helper())


class _Child:
    """A forked child that was not reported as ended yet."""

    __slots__ = ("number", "pid", "report_by_s", "status")

    def __init__(self, number: int, pid: int) -> None:
        self.number = number
        self.pid = pid
        self.status: int | None = None
        """Wait status, once it was reaped."""
        self.report_by_s = 0.0


class _Keeper:
    """The loop: orders in, children forked, deaths out."""

    def __init__(self, channel: Channel, kept: list[int], owner: int) -> None:
        self._channel = channel
        self._kept = kept
        self._owner = owner
        self._children: dict[int, _Child] = {}  # by number, until reported
        self._living: dict[int, _Child] = {}  # by pid, until reaped
        self._faults: dict[int, bytes] = {}
        self._stopping = False
        self._fault_reader, self._fault_writer = os.pipe()
        self._wake_reader, self._wake_writer = os.pipe()
        for fd in (self._fault_reader, self._wake_reader, self._wake_writer):
            os.set_blocking(fd, False)
        self._poll = select.poll()
        self._poll.register(self._fault_reader, select.POLLIN)
        self._poll.register(self._wake_reader, select.POLLIN)

    def run(self) -> None:
        """Work until the owner closes or dies; then, or if this fails, bury all children."""
        self._catch_signals()
        why = "it was told to end by SIGTERM"
        try:
            self._work()
        except BaseException as error:
            why = f"a bug: {error!r}"
            raise
        finally:
            if not self._channel.ended:
                self._channel.send(Kind.ENDING, 0, why.encode(errors="replace"))
            self._end()

    def _work(self) -> None:
        while not self._stopping:
            wanted = select.POLLIN | (select.POLLOUT if self._channel.unsent else 0)
            self._poll.register(self._channel.fileno(), wanted)
            self._wait(self._wait_s())
            self._channel.flush()
            for frame in self._channel.receive():
                self._obey(frame)
            self._bury()
            orphaned = not AVAILABLE and os.getppid() != self._owner
            if self._channel.ended or orphaned:
                return

    def _catch_signals(self) -> None:
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # One that reaches a child before it has a handler for it is lost; by default it would kill.
        for signum in range(getattr(signal, "SIGRTMIN", 1), getattr(signal, "SIGRTMAX", 0) + 1):
            signal.signal(signum, signal.SIG_IGN)

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _wait(self, timeout_s: float | None) -> None:
        self._poll.poll(None if timeout_s is None else timeout_s * 1000)
        try:
            os.read(self._wake_reader, 65536)
        except BlockingIOError:
            pass
        self._read_faults()

    def _wait_s(self) -> float | None:
        if len(self._children) > len(self._living):  # a dead one is not reported yet
            return 0.02
        return None if AVAILABLE else _PARENT_CHECK_S

    def _obey(self, frame: Frame) -> None:
        if frame.kind == Kind.LAUNCH:
            self._launch(frame)
            return
        if frame.kind == Kind.PING:
            self._channel.send(Kind.PING, 0)
        child = self._children.get(frame.number)
        if child is None or child.status is not None:
            return
        if frame.kind == Kind.SIGNAL:
            _kill(child.pid, frame.body[0])
        elif frame.kind == Kind.KILL:
            _kill_group(child.pid)

    def _launch(self, frame: Frame) -> None:
        if frame.fds_lost:
            self._channel.send(Kind.FAILED, frame.number, b"the launcher has too many open files")
            return
        entry, _, payload = frame.body.partition(b"\0")
        order = Order(frame.number, entry.decode(), payload, frame.fds)
        launcher = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)  # the child would write our wake-up pipe
        try:
            pid = os.fork()
            if pid == 0:
                run_child(order, launcher=launcher, faults=self._fault_writer, kept=self._kept)
        except OSError as error:
            self._channel.send(Kind.FAILED, frame.number, f"fork failed: {error}".encode())
            return
        finally:
            close_all(frame.fds)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, CAUGHT)
        self._children[frame.number] = self._living[pid] = _Child(frame.number, pid)
        self._tell_started(frame.number, pid)

    def _tell_started(self, number: int, pid: int) -> None:
        pidfd = open_pidfd(pid)
        pidfds = (pidfd,) if pidfd >= 0 else ()  # without it signals travel through here
        self._channel.send(Kind.STARTED, number, pid.to_bytes(4, "little"), pidfds)
        close_all(pidfds)

    def _bury(self) -> None:
        """Reap the dead; report those of whom nothing is left."""
        self._reap()
        dead = [child for child in self._children.values() if child.status is not None]
        if not dead:
            return
        self._read_faults()
        leftovers = self._kill_orphans()
        now_s = time.monotonic()
        for child in dead:
            if child.report_by_s > now_s and (leftovers or _group_exists(child.pid)):
                continue
            del self._children[child.number]
            self._report(child)

    def _report(self, child: _Child) -> None:
        assert child.status is not None
        fault = self._faults.pop(child.number, None)
        if fault is not None:
            self._channel.send(Kind.FAILED, child.number, fault)
        else:
            self._channel.send(Kind.EXITED, child.number, child.status.to_bytes(4, "little"))

    def _reap(self) -> bool:
        """Reap everything that is dead. Return whether a child is left, living."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return False
            if found is None:
                return True
            child = self._living.pop(found.si_pid, None)
            if child is not None:
                _kill_group(child.pid)  # while the zombie still keeps the number
                child.report_by_s = time.monotonic() + _BURIAL_S
            _, status = os.waitpid(found.si_pid, 0)
            if child is not None:
                child.status = status

    def _kill_orphans(self) -> bool:
        """Kill what dead children left behind. Return whether there was something.

        A living child adopts its own orphans: who came up to this process was left by a dead one.
        """
        killed = [_kill(pid) for pid in _child_pids() if pid not in self._living]
        return any(killed)

    def _read_faults(self) -> None:
        try:
            data = os.read(self._fault_reader, 65536)
        except BlockingIOError:
            return
        while data:
            number, size = FAULT.unpack_from(data)
            self._faults[number] = data[FAULT.size : FAULT.size + size]
            data = data[FAULT.size + size :]

    def _end(self) -> None:
        """Kill and reap everything, bounded."""
        for child in self._living.values():
            _kill_group(child.pid)
        deadline_s = time.monotonic() + _BURIAL_S
        self._poll.unregister(self._channel.fileno())  # its end would wake us again and again
        while time.monotonic() < deadline_s:
            self._bury()
            self._channel.flush()
            if not self._reap():
                break
            self._kill_orphans()
            self._wait(0.02)
        self._bury()
        self._channel.flush()


def _kill_group(pid: int) -> None:
    """Kill an unreaped child and its group. It may not have made its group yet."""
    _kill(pid)
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _kill(pid: int, signum: int = signal.SIGKILL) -> bool:
    """Send a signal to an unreaped child. Return whether that was allowed."""
    try:
        os.kill(pid, signum)
    except PermissionError:  # it changed its user
        return False
    return True


def _group_exists(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # who is left changed their user; nothing can be done
        return False
    return True


def _child_pids() -> list[int]:
    """Pids of all children, dead or alive. Empty where the system does not tell."""
    text = _read_file(f"/proc/self/task/{os.getpid()}/children")
    if text is not None:
        return [int(pid) for pid in text.split()]
    if not AVAILABLE:
        return []
    me = str(os.getpid()).encode()  # a kernel without that file
    pids = [name for name in os.listdir("/proc") if name.isdecimal()]
    stats = {pid: _read_file(f"/proc/{pid}/stat") for pid in pids}
    # "pid (name) state parent ...", and the name may hold anything
    return [
        int(pid)
        for pid, stat in stats.items()
        if stat and stat.rpartition(b")")[2].split()[1] == me
    ]


def _read_file(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None
