"""Child processes by way of a launcher: a small process that forks them and reports their ends.

    owner, with a poller                launcher                        children
    Launcher ──LAUNCH, KILL, SIGNAL──►  forks, kills, reaps  ──fork──►  function(payload, fds)
             ◄─STARTED, EXITED, FAILED─

A process with threads, sockets and gigabytes of the user's data is a bad one to fork; the launcher
has none of them. It starts before heavy imports are done, so this module imports only light ones.
"""

import _socket
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from actors.errors import LaunchError
from actors.runtime.exit_status import ExitStatus, describe
from actors.runtime.launcher_channel import FDS_MAX, Channel, Frame, Kind, close_all
from actors.runtime.launcher_orphans import MARK, end_orphans, new_mark
from actors.runtime.launcher_start import (
    DEATH_S,
    is_dead,
    kill,
    open_pidfd,
    reap,
    setup_bytes,
    spawn,
    wait_readable,
)
from actors.runtime.poller import Poller, print_error

PAYLOAD_BYTES_MAX = 64 * 1024 * 1024
"""Bound of one child's payload, bytes."""

PRELOADING_S = 0.5
"""How long a launcher that is closed may go on without a word: it has started nothing yet."""


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
        """Open from its start until `on_exit` has returned: then the launcher closes it. -1 before
        and after; always, where there are no pidfds or this process had no number left for one."""
        self.on_exit = on_exit
        self.on_start = on_start
        self._killed = False

    def __repr__(self) -> str:
        return f"<Child {self.number} pid={self.pid or 'not started'}>"

    def _ended(self) -> None:
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


class Launcher:
    """Starts, signals and kills child processes; never blocks. Belongs to the thread that made it.

    The launcher process ends with that thread, at the latest, and with it all children and all
    they started. Every `launch` is answered by exactly one `on_exit`. If the process dies before,
    this object is of no use any more (`is_lost`): make another one.
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
            preload: modules that it imports, so that each child has them at once. One that cannot
                be imported ends the launcher: each `on_exit`, and `on_lost`, say why.
            env: environment of all children; this process's as it is now if None.
            cwd: working directory of all children; this process's as it is now if None.

        Raises:
            LaunchError: there is no interpreter to run, or it could not be started.
        """
        self.on_lost: Callable[[str], None] | None = None
        """Called with the cause when the launcher died unexpectedly, after each open `on_exit`."""
        self.is_lost = False
        """It died unexpectedly, and another one may fare better: it was not its set-up."""
        self.has_started = False
        """It has started a child."""
        self.end_cause = ""
        """Why it is of no use any more; empty while it is."""
        self._owner = os.getpid()
        self._children: dict[int, Child] = {}
        self._launched = 0
        self.words = 0
        """Frames that it has sent so far: signs of life."""
        self._poller: Poller | None = None
        self._broken = ""  # why it could not be set up
        self._ending = ""  # why it ends, if it could say so
        self._mark = new_mark()
        environment = os.environ if env is None else env
        self._channel, self.pid = _start(setup_bytes(preload, cwd), environment, self._mark)
        self._pidfd = open_pidfd(self.pid)

    def __repr__(self) -> str:
        state = self.end_cause or f"{len(self._children)} children"
        return f"<Launcher pid={self.pid}: {state}>"

    def attach(self, poller: Poller) -> None:
        """Read the launcher's answers on `poller`, whose thread must be this one."""
        self._poller = poller
        poller.add_reader(self._channel.fileno(), self._read)
        if self._pidfd >= 0:  # a fork of this process may hold a copy of the launcher's socket
            poller.add_reader(self._pidfd, self._read)
        self._flush()

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
            OSError: one of `fds` is not open, or there is no number left for a copy of it.
        """
        if self.end_cause or os.getpid() != self._owner:
            cause = self.end_cause or "this process is a fork of the launcher's owner"
            raise LaunchError(f"{entry} cannot be started: {cause}")
        _check_order(entry, payload, fds)
        self._launched += 1
        child = Child(self._launched, on_exit, on_start)
        self._send(Kind.LAUNCH, child.number, entry.encode() + b"\0" + payload, fds)
        self._children[child.number] = child
        return child

    def signal(self, child: Child, signum: int) -> None:
        """Send a signal to the child itself. Before its start it waits; after its end, nothing.

        Raises:
            ValueError: there is no such signal.
        """
        if not 0 <= signum < signal.NSIG:
            raise ValueError(f"{signum} is not a signal")
        if not self._is_open(child):
            return
        if child.pidfd < 0:  # it goes behind the order to start
            self._send(Kind.SIGNAL, child.number, bytes((signum,)))
            return
        with suppress(ProcessLookupError):  # dead; the report is on its way
            signal.pidfd_send_signal(child.pidfd, signum)

    def kill(self, child: Child) -> None:
        """Kill the child and all it started; `on_exit` follows when they are gone.

        Fine before its start is known, twice, and after its end.
        """
        if self._is_open(child) and not child._killed:
            child._killed = True
            self._send(Kind.KILL, child.number)

    def ping(self) -> bool:
        """If it owes an answer to an order, ask for a sign of life. Return whether that is so."""
        owes = any(child._killed or not child.pid for child in self._children.values())
        if owes:
            self._send(Kind.PING, 0)
        return owes

    def give_up(self, why: str) -> None:
        """Kill the launcher, which is of no use; it is lost then, with this cause."""
        if not self.end_cause and os.getpid() == self._owner:
            self._ending = why
            kill(self.pid, self._pidfd)

    def close(self, timeout_s: float = 5.0) -> None:
        """End the launcher, with all children, and wait until it was reaped. Twice is fine.

        Each open child gets its `on_exit` in here. In a fork of the owner: see `abandon`.

        Args:
            timeout_s: seconds to wait for an orderly end; after it, the launcher is killed.
        """
        if os.getpid() != self._owner:
            self.abandon()
        elif not self.end_cause:
            self.end_cause = "the launcher was closed"
            self._channel.end_sending()
            kill(self.pid, self._pidfd, signal.SIGCONT)  # one that was stopped would take all time
            # With nothing to bury, it need not even finish its preloading.
            patience_s = min(timeout_s, PRELOADING_S if self._launched else 0.0)
            deadline_s = time.monotonic() + (timeout_s if self.words else patience_s)
            self._drain(deadline_s)
            self._finish(reap(self.pid, self._pidfd, deadline_s))

    def abandon(self) -> None:
        """Close the file descriptors of this object, in a fork of the owner. Twice is fine.

        The owner's launcher and children go on; nobody is called; a poller is not touched, it is
        shared with the owner.
        """
        self.end_cause = "this process is a fork of the launcher's owner"
        self._poller = None
        self._close_fds()
        while self._children:
            self._children.popitem()[1]._ended()

    def _send(self, kind: Kind, number: int, body: bytes = b"", fds: Sequence[int] = ()) -> None:
        self._channel.send(kind, number, body, fds)
        self._flush()

    def _is_open(self, child: Child) -> bool:
        return self._children.get(child.number) is child and os.getpid() == self._owner

    def _flush(self) -> None:
        self._channel.flush()
        if self._poller is not None and self._channel.unsent:
            self._poller.add_writer(self._channel.fileno(), self._flush)
        elif self._poller is not None:
            self._poller.remove_writer(self._channel.fileno())

    def _read(self) -> None:
        dead = is_dead(self._pidfd)  # looked at first: then what it said is all in the socket
        for frame in self._channel.receive():
            self._handle(frame)
        if (dead or self._channel.ended) and not self.end_cause:
            self._lost()

    def _handle(self, frame: Frame) -> None:
        self.words += 1
        child = self._children.get(frame.number)
        if frame.kind == Kind.BROKEN:
            self._broken = frame.body.decode(errors="replace")
        elif frame.kind == Kind.ENDING:
            self._ending = frame.body.decode(errors="replace")
        elif child is None:
            close_all(frame.fds)
        elif frame.kind == Kind.STARTED:
            self.has_started = True
            child.pid = int.from_bytes(frame.body, "little")
            child.pidfd = frame.fds[0] if frame.fds else -1
            if child.on_start is not None:
                self._call(child.on_start, child)
        elif frame.kind in (Kind.EXITED, Kind.FAILED):
            del self._children[child.number]
            status = _end_of(child, frame)._replace(launcher_lost=bool(self._ending))
            self._call(child.on_exit, status)
            child._ended()

    def _call(self, callback: Callable[[Any], None], argument: object) -> None:
        try:
            callback(argument)
        except Exception as error:  # it must not stop the reports of other children
            report = print_error if self._poller is None else self._poller.on_error
            report(self._channel.fileno(), error)

    def _lost(self) -> None:
        status = reap(self.pid, self._pidfd, time.monotonic() + DEATH_S)
        how = "nobody knows how" if status is None else describe(self.pid, status).cause
        self.end_cause = self._broken or f"the launcher died ({self._ending or how})"
        self.is_lost = not self._broken
        self._finish(status, launcher_lost=True)
        if self.on_lost is not None:
            self._call(self.on_lost, self.end_cause)

    def _drain(self, deadline_s: float) -> None:
        """Take the last reports, until the launcher has closed its end."""
        while not self._channel.ended and (left_s := deadline_s - time.monotonic()) > 0:
            dead = is_dead(self._pidfd)
            wait_readable(self._channel.fileno(), 0 if dead else min(left_s, 0.5))
            self._read()
            if dead:
                return

    def _finish(self, wait_status: int | None, *, launcher_lost: bool = False) -> None:
        """The launcher is gone: let go of everything, and answer what is open."""
        children, self._children = [*self._children.values()], {}
        if self._poller is not None:
            self._poller.remove_writer(self._channel.fileno())
            self._poller.remove_reader(self._channel.fileno())
            self._poller.remove_reader(self._pidfd)
        self._close_fds()  # the numbers may be needed to look for orphans
        if wait_status != 0:  # with 0 it has buried them all
            end_orphans(self._mark, [(child.pid, child.pidfd) for child in children])
        for child in children:
            status = ExitStatus(child.pid, None, None, self.end_cause, launcher_lost)
            self._call(child.on_exit, status)
            child._ended()

    def _close_fds(self) -> None:
        self._channel.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


def _start(setup: bytes, env: Mapping[str, str], mark: str) -> tuple[Channel, int]:
    """Start a launcher process, and return the channel to it and its pid."""
    try:
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    except OSError as error:
        raise LaunchError(f"the launcher could not be started: {error}") from error
    channel = Channel(ours)
    # Before the start: should this process die in between, nobody waits for it.
    channel.send_bytes(setup)
    try:
        return channel, spawn(theirs.fileno(), {**env, MARK: mark})
    except (OSError, ValueError, TypeError) as error:
        channel.close()
        raise LaunchError(f"the launcher could not be started: {error}") from error
    finally:
        theirs.close()


def _check_order(entry: str, payload: bytes, fds: Sequence[int]) -> None:
    if ":" not in entry or "\0" in entry:
        raise ValueError(f"entry must look like 'package.module:function', not {entry!r}")
    if len(payload) > PAYLOAD_BYTES_MAX or len(fds) > FDS_MAX:
        raise ValueError(
            f"a payload of {len(payload)} bytes with {len(fds)} file descriptors is too much; "
            f"the bounds are {PAYLOAD_BYTES_MAX} and {FDS_MAX}"
        )


def _end_of(child: Child, frame: Frame) -> ExitStatus:
    """How a child ended, by the launcher's report."""
    if frame.kind == Kind.EXITED:
        return describe(child.pid, int.from_bytes(frame.body, "little"))
    cause = f"could not start: {frame.body.decode(errors='replace')}"
    return ExitStatus(child.pid, None, None, cause)
