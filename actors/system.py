"""`ActorSystem`: what a program starts. One node in a thread, more in child processes."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from actors.actor import DEFAULT_SUPERVISION, Actor
from actors.core.guardian import (
    GUARDIAN_NUMBER,
    CallOnNode,
    PingNode,
    SpawnActor,
    StopNode,
    guardian_address,
)
from actors.core.node import NodeCore
from actors.core.refs import RemoteRef
from actors.errors import (
    ActorNotFoundError,
    ActorsError,
    DeliveryError,
    ForkedProcessError,
    LaunchError,
    SystemClosedError,
)
from actors.future import AskFuture
from actors.limits import LAUNCH_TIMEOUT_S, STOP_TIMEOUT_S
from actors.mailbox import MailboxStatistics
from actors.ref import ActorRef
from actors.runtime.exit_status import ExitStatus
from actors.runtime.launcher import Launcher
from actors.runtime.loop import NodeLoop
from actors.runtime.poller import Poller
from actors.runtime.thread import NodeThread
from actors.signals import DeadLetter
from actors.supervision import Supervision


class Node:
    """A handle on one node of a system: a place where actors live. Thread-safe."""

    def __init__(self, system: ActorSystem, name: str, guardian: ActorRef) -> None:
        """Made by `ActorSystem`."""
        self._system = system
        self._guardian = guardian
        self.name = name
        self.ended = threading.Event()
        """Set when the node's process has been reaped."""
        self.exit_cause = ""
        """How the process ended, in words; empty while it runs."""

    def spawn(
        self,
        actor_class: type[Actor],
        *args: Any,
        name: str | None = None,
        supervision: Supervision = DEFAULT_SUPERVISION,
        mailbox_size: int | None = None,
        **kwargs: Any,
    ) -> ActorRef:
        """Start an actor on this node and wait until it is up.

        Args:
            actor_class: its class; for a node in another process it must be picklable there.
            *args: of the constructor.
            name: unique within the node; default: made from the class's name.
            supervision: what happens when a handler raises.
            mailbox_size: messages its mailbox holds.
            **kwargs: of the constructor.

        Returns:
            The actor's ref.

        Raises:
            ValueError: the name is taken.
            NodeUnreachableError: the node's process has ended.
            SystemClosedError: the system was closed, or has ended by an error.
            TypeError: an argument is of a wrong type.
            ActorFailedError: the constructor or `on_start` raised what is no `Exception`.
            Exception: whatever else they raised.
        """
        self._system._check_usable()
        request = SpawnActor(actor_class, args, kwargs, name, supervision, mailbox_size)
        ref: ActorRef = self._system.wait(self._guardian.ask(request, LAUNCH_TIMEOUT_S))
        return ref

    def stop(self) -> None:
        """Stop the node's actors, then end its process. Does not wait (see `ended`)."""
        self._guardian.tell(StopNode())

    def __repr__(self) -> str:
        state = f"ended: {self.exit_cause}" if self.exit_cause else "running"
        return f"<Node {self.name}, {state}>"


class ActorSystem:
    """Actors of one program: a node in a thread of this process, and nodes in child processes.

    A context manager. Closed at interpreter exit at the latest; nothing is left running. All
    methods are thread-safe, and none may be called from within an actor's handler, which has its
    `context` instead.
    """

    def __init__(
        self,
        name: str = "main",
        *,
        preload: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        thread: NodeThread | None = None,
    ) -> None:
        """Start the system's thread.

        Args:
            name: name of the node in this process.
            preload: modules the launcher of child processes imports before it forks them.
            env: environment of child processes, default: that of now.
            cwd: their working directory, default: that of now.
            thread: a thread that was started before, and has its own name and settings; for
                programs that want their launcher up before they import this module.

        Raises:
            LaunchError: the thread did not come up.
        """
        self._pid = os.getpid()
        self._closed = False
        self._ended = False
        self._closing = threading.RLock()  # a signal handler may close what is being closed
        self._children: dict[str, Node] = {}
        self._addresses: dict[str, None] = {}
        """Names of nodes in addresses: none is used twice, so that a ref to an actor of a process
        that has ended does not lead to one of the process that came after it."""
        modules = ("actors.runtime.process", *preload)
        self._thread = thread or NodeThread(name, preload=modules, env=env, cwd=cwd)
        self._thread.wait_ready()
        name = self._thread.name
        guardian = self._core.cells[GUARDIAN_NUMBER].ref
        self.node = Node(self, name, guardian)
        """The node in this process."""
        _systems.add(self)

    @property
    def name(self) -> str:
        """Name of the node in this process."""
        return self._thread.name

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def poller(self) -> Poller:
        """The node thread's poller; to be used on that thread (see `call`)."""
        return self._loop.poller

    @property
    def launcher(self) -> Launcher:
        """The launcher of child processes; to be used on the node's thread (see `call`).

        One that died is replaced here, so ask for it at each need.

        Raises:
            LaunchError: it could not be started; or too many have died, which ends the node.
        """
        return self._thread.launcher

    def spawn(
        self,
        actor_class: type[Actor],
        *args: Any,
        name: str | None = None,
        supervision: Supervision = DEFAULT_SUPERVISION,
        mailbox_size: int | None = None,
        **kwargs: Any,
    ) -> ActorRef:
        """Start an actor in this process; see `Node.spawn`."""
        return self.node.spawn(
            actor_class,
            *args,
            name=name,
            supervision=supervision,
            mailbox_size=mailbox_size,
            **kwargs,
        )

    def start_node(self, name: str) -> Node:
        """Start a node in a child process and wait until it is up.

        Raises:
            ValueError: the name is taken.
            LaunchError: the process did not come up.
        """
        if name == self.name or name in self._children:
            raise ValueError(f"system {self.name} already has a node named {name!r}")
        self._check_usable()
        address, starts = name, 1
        while address in self._addresses:
            starts += 1
            address = f"{name}#{starts}"
        self._addresses[address] = None
        node = Node(self, name, RemoteRef(guardian_address(address), self._core))
        self._children[name] = node

        def exited(status: ExitStatus) -> None:
            node.exit_cause = status.cause
            self._children.pop(name, None)
            node.ended.set()

        from actors.runtime.process import start_node_process  # not needed in one process

        try:
            self.call(lambda: start_node_process(self._loop, self.launcher, address, exited))
        except Exception:
            del self._children[name]  # there is no process whose end could be waited for
            raise
        try:
            self.wait(node._guardian.ask(PingNode(), LAUNCH_TIMEOUT_S))
        except (DeliveryError, TimeoutError) as error:
            raise LaunchError(f"node {name} did not start: {error}") from error
        return node

    def on_node_thread(self) -> bool:
        """Whether the caller is the thread of the node in this process."""
        return self._loop.on_own_thread()

    def find(self, name: str) -> ActorRef:
        """Return the ref of an actor in this process.

        Raises:
            ActorNotFoundError: no living actor has this name.
            SystemClosedError: the system was closed.
        """
        self._check_usable()
        cell = self._core.names.get(name)
        if cell is None:
            raise ActorNotFoundError(f"node {self.name} has no actor named {name!r}")
        return cell.ref

    def mailbox_statistics(self, ref: ActorRef) -> MailboxStatistics:
        """Return the counters of the mailbox of an actor in this process.

        Raises:
            ActorNotFoundError: the actor has stopped, or lives in another process.
        """
        cell = self._core.cells.get(ref.address.number)
        if cell is None or ref.address.node != self.name:
            raise ActorNotFoundError(f"{ref!r} is no living actor of node {self.name}")
        statistics: MailboxStatistics = self.call(cell.mailbox.statistics)
        return statistics

    def call(self, function: Callable[[], Any]) -> Any:
        """Call `function` on the node's thread and return what it returns (or raise it)."""
        self._check_usable()
        return self.wait(self.node._guardian.ask(CallOnNode(function), LAUNCH_TIMEOUT_S))

    def wait(self, future: AskFuture) -> Any:
        """Wait for a reply. The ask's own deadline bounds it."""
        self._check_owner()
        return future.result()

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """The last messages that nobody handled (at most `limits.DEAD_LETTERS_KEPT`)."""
        return tuple(self._core.dead_letters.kept)

    def subscribe_dead_letters(self, listener: ActorRef) -> None:
        """Have `listener` told every `DeadLetter` of this process from now on."""
        self.call(lambda: self._core.dead_letters.listeners.setdefault(listener, None))

    def unsubscribe_dead_letters(self, listener: ActorRef) -> None:
        """Undo `subscribe_dead_letters`."""
        self.call(lambda: self._core.dead_letters.listeners.pop(listener, None))

    def close(self) -> None:
        """Stop all actors, children before parents, and end all processes and the thread.

        Bounded by about `3 * limits.STOP_TIMEOUT_S`; a second call does nothing.

        Raises:
            SystemClosedError: the thread did not end in time (an actor blocks in a handler).
        """
        if self._pid != os.getpid():
            return
        with self._closing:
            if self._ended:
                return
            children = list(self._children.values())
            for node in children:
                node.stop()
            for node in children:
                if not node.ended.wait(STOP_TIMEOUT_S):
                    break  # the launcher kills what is left
            self._closed = True
            try:
                self._thread.close()
            except SystemClosedError:
                self._ended = True
                raise
            self._ended = True  # not earlier: after Ctrl-C there is something left to close
            _systems.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        actors, nodes, cause = len(self._core.cells) - 1, len(self._children), self._core.end_cause
        runs = f"{max(actors, 0)} actors here, {nodes} child nodes"
        state = "closed" if self._closed else f"ended: {cause}" if cause else runs
        return f"<ActorSystem {self.name}, {state}>"

    @property
    def _loop(self) -> NodeLoop:
        return self._thread.loop

    @property
    def _core(self) -> NodeCore:
        return self._thread.loop.node

    def _check_owner(self) -> None:
        if self._pid != os.getpid():
            raise ForkedProcessError(
                f"process {os.getpid()} is a fork of {self._pid}, which owns system {self.name}; "
                "make a system of your own here"
            )

    def _check_usable(self) -> None:
        self._check_owner()
        if self._closed:
            raise SystemClosedError(f"system {self.name} was closed")
        if self._thread.error is not None:
            raise SystemClosedError(f"system {self.name} has ended: {self._thread.error!r}")

    def _abandon(self) -> None:
        self._closed = True
        self._thread.abandon()


_systems: weakref.WeakSet[ActorSystem] = weakref.WeakSet()


def _close_all() -> None:
    for system in list(_systems):
        try:
            system.close()
        except ActorsError as error:  # at exit: say it, and let the interpreter end
            sys.stderr.write(f"actors: {error}\n")


def _abandon_all() -> None:
    for system in list(_systems):
        system._abandon()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_abandon_all)
