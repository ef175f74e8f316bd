"""`LocalCluster`, a cluster within one program, and `Client`, which starts one at need.

This module is light on purpose: it starts the launcher of the executors first, and imports the
machinery while that one starts.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from actors import ActorsError, NodeThread
from scaler import place
from scaler.client.client import BaseClient
from scaler.client.displayed import html_table, only_displayed
from scaler.errors import (
    ClientClosedError,
    ClusterBrokenError,
    ClusterStartError,
    ForkedClientError,
    NestedClientError,
)
from scaler.limits import (
    CANCEL_GRACE_S,
    CLIENT_BYTES,
    CLIENT_TASKS,
    START_TIMEOUT_S,
)
from scaler.settings import Asked, asked_of, check_client, checked_preload

if TYPE_CHECKING:
    from actors import Actor, ActorRef
    from scaler.client.connection import Connection
    from scaler.client.session import ClientSession
    from scaler.roles import Roles

_PRELOAD = ("scaler.executor.main", "cloudpickle")
_MACHINERY = ("scaler.roles", "scaler.client.calls", "scaler.at_exit")
"""Imported while the launcher starts, and by the node's thread, where no Ctrl-C can meet it."""


class LocalCluster:
    """A scheduler and workers in a thread of this process; executors are child processes.

    A context manager; `close` also happens at interpreter exit. Thread-safe. Executors see the
    working directory, environment and `sys.path` of the moment it is made.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        env: Mapping[str, str] | None = None,
        preload: Sequence[str] = (),
        cancel_grace: float = CANCEL_GRACE_S,
        start_timeout: float = START_TIMEOUT_S,
        max_tasks_per_executor: int | None = None,
        max_memory_per_executor: int | None = None,
        object_store_bytes: int | None = None,
        spill_directory: str | os.PathLike[str] | None = None,
    ) -> None:
        """Start a cluster and wait until its executors can be started.

        Args:
            workers: slots, each with one executor process; default: one per core this process
                may use (affinity and cgroup quota).
            env: environment variables of the executors, on top of those of this process.
            preload: modules imported once before the executors are forked.
            cancel_grace: seconds from interrupt to kill when a running task is cancelled; one that
                sits in C code, and so gives no sign of life, gets `limits.CANCEL_SIGN_S` only.
            start_timeout: seconds until a start that does not succeed is given up.
            max_tasks_per_executor: an executor that has run so many tasks is replaced; a chunk of a
                map counts as one.
            max_memory_per_executor: bytes. An executor that has grown to 80 % of it is replaced
                after its task; one that exceeds it is killed, and its task tried again.
            object_store_bytes: memory that large values may take (default 30 %): more goes to disk.
            spill_directory: where on disk; default: where temporary files are.

        Raises:
            TypeError: an argument is of a wrong type.
            ValueError: an argument is out of its range.
            ClusterStartError: it did not come up; the text says why.
            NestedClientError: this is a task.
        """
        refuse_inside_task()
        self._made = next(_made)
        close_displayed(self._made)
        limits = cancel_grace, max_tasks_per_executor, max_memory_per_executor
        store = object_store_bytes, spill_directory
        asked = asked_of(workers, env, preload, start_timeout, limits, store)
        self.slots = asked.slots
        self._pid = os.getpid()
        self._closing = threading.RLock()  # a signal handler may close what is being closed
        self.closed = False
        self.broken: Exception | None = None
        self._decided = threading.Event()
        """Set when the first executor is up, or the cluster broke."""
        self._sessions: dict[int, ClientSession] = {}
        self._client_numbers = count(1)
        self._roles = self._start(asked)
        self.scheduler = self._roles.scheduler
        self.objects = self._roles.objects
        self._dropped = weakref.finalize(self, self._roles.dropped)
        self._dropped.atexit = False
        _clusters.add(self)
        _close_at_exit()

    def _start(self, asked: Asked) -> Roles:
        """Start the launcher, then all else, and wait for the first executor."""
        thread = NodeThread(
            "scaler",
            preload=(*_PRELOAD, *asked.preload),
            env=asked.env,
            launch_now=True,
            imports=_MACHINERY,
            on_broken=weakly(self._on_node_broken),
        )
        try:
            thread.wait_ready()
            from scaler.roles import Roles

            roles = Roles(
                thread,
                self.slots,
                asked.limits,
                asked.store,
                weakly(self.break_off),
                partial(close_displayed, self._made) if "IPython" in sys.modules else None,
            )
            self._await_executor(roles, asked.start_timeout)
        except (ActorsError, OSError) as error:
            _end(thread)
            raise ClusterStartError(f"the cluster did not start: {error}") from error
        except BaseException:  # Ctrl-C
            _end(thread)
            raise
        return roles

    def _await_executor(self, roles: Roles, timeout_s: float) -> None:
        """Wait until there is an executor, or it is clear that there will be none."""
        up = roles.executor_up(timeout_s)
        up.add_done_callback(lambda _: self._decided.set())
        self._decided.wait(timeout_s + 1.0)
        failure = self.broken or (None if up.done() and not up.exception() else up.exception(0))
        if failure is not None:
            roles.close()
            raise ClusterStartError(f"no executor came up: {failure}") from failure

    # --- what clients need (`Connection`) ---------------------------------------------------

    def next_client_number(self) -> int:
        """Return a number for a new client."""
        self._check_usable()
        return next(self._client_numbers)

    def spawn(self, actor_class: type[Actor], *args: Any, name: str) -> ActorRef:
        """Start an actor on the cluster's node."""
        return self._roles.system.spawn(actor_class, *args, name=name)

    def on_node_thread(self) -> bool:
        """Whether the caller is the cluster's thread."""
        return self._roles.system.on_node_thread()

    def attach(self, session: ClientSession) -> None:
        """Note a client, to be told if the cluster breaks."""
        self._sessions[session.number] = session
        if self.broken is not None:  # just now, so that it was not told
            session.break_off(self.broken)

    def detach(self, session: ClientSession) -> None:
        """Forget a client."""
        self._sessions.pop(session.number, None)

    def client_dropped(self, session: ClientSession, end: Callable[[], None]) -> None:
        """Have `end` called when nobody waits for the client. Takes no lock, waits for nothing."""
        self._roles.client_dropped(session, end)

    # --- the end ----------------------------------------------------------------------------

    def break_off(self, error: Exception) -> None:
        """The cluster has ended by itself: every open future ends with `error`."""
        if self.closed or self.broken is not None:
            return
        self.broken = error
        self._decided.set()
        for session in list(self._sessions.values()):
            session.break_off(error)

    def _on_node_broken(self, error: BaseException) -> None:
        self.break_off(ClusterBrokenError(f"the cluster's thread has ended: {error!r}"))

    def close(self) -> None:
        """Cancel all tasks of all clients, end all processes. Bounded; twice is fine."""
        if os.getpid() != self._pid:
            return
        with self._closing:  # whatever is closed already does nothing
            for session in list(self._sessions.values()):
                session.close()
            self.closed = True
            self._roles.close()
            self._dropped.detach()

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
        clients = len(self._sessions)
        return f"<LocalCluster {self.slots} workers, {clients} clients, {self._state()}>"

    def _repr_html_(self) -> str:
        rows = {"State": self._state(), "Workers": self.slots, "Clients": len(self._sessions)}
        return html_table("LocalCluster", rows)

    def _state(self) -> str:
        return "closed" if self.closed else "broken" if self.broken else "running"

    def _check_usable(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedClientError(
                f"process {os.getpid()} is a fork of {self._pid}, which owns this cluster"
            )
        if self.broken is not None:
            raise self.broken
        if self.closed:
            raise ClientClosedError("the cluster was closed; make a new one")


E = TypeVar("E", bound=BaseException)


def weakly(method: Callable[[E], None]) -> Callable[[E], None]:
    """Return a function that calls `method` as long as its object is there."""
    weak = weakref.WeakMethod(method)

    def call(error: E) -> None:
        strong = weak()
        if strong is not None:
            strong(error)

    return call


def refuse_inside_task() -> None:
    """Raise if this process is an executor.

    Raises:
        NestedClientError: a task runs here.
    """
    if place.inside_task:
        raise NestedClientError(
            "a cluster cannot be started inside a task; submit from the program that owns the "
            "client, or return what is to be submitted"
        )


def _end(thread: NodeThread) -> None:
    """End what was started on the way to a failure, which is what the caller shall hear of."""
    with suppress(ActorsError):
        thread.close()


class Client(BaseClient):
    """Runs functions in parallel, and cancels them with an answer.

        with Client() as client:
            future = client.submit(pow, 2, 10)
            print(future.result())

    A context manager; closed at interpreter exit at the latest. Thread-safe. Works in scripts
    (no `if __name__ == "__main__"` guard is needed), notebooks, threads and event loops.
    """

    def __init__(
        self,
        cluster: Connection | None = None,
        *,
        workers: int | None = None,
        cancel_finished: bool = True,
        cancel_grace: float | None = None,
        credit_tasks: int = CLIENT_TASKS,
        credit_bytes: int = CLIENT_BYTES,
        deduplicate: bool = False,
        env: Mapping[str, str] | None = None,
        preload: Sequence[str] = (),
        start_timeout: float | None = None,
        max_tasks_per_executor: int | None = None,
        max_memory_per_executor: int | None = None,
        object_store_bytes: int | None = None,
        spill_directory: str | os.PathLike[str] | None = None,
    ) -> None:
        """Connect to `cluster`, or start one of its own and own it.

        Args:
            cluster: a `LocalCluster`; `None`: one is started, with the arguments not named here.
            cancel_finished: whether cancelling gives up the value of a future that is done.
            credit_tasks: tasks in flight at most; `submit` waits there.
            credit_bytes: bytes of pickled arguments in flight at most.
            deduplicate: store large values of equal content once: a digest of 1 GB takes 1.2 s.

        Raises:
            TypeError: an argument is of a wrong type.
            ValueError: an argument is out of its range, or it belongs to a cluster that is there.
            ClusterStartError: the cluster did not come up; the text says why.
            ClientClosedError: `cluster` was closed.
            NestedClientError: this is a task.
        """
        check_client(cancel_finished, credit_tasks, credit_bytes, deduplicate)
        asked = {
            "workers": workers,
            "cancel_grace": cancel_grace,
            "env": env,
            "preload": checked_preload(preload) or None,
            "start_timeout": start_timeout,
            "max_tasks_per_executor": max_tasks_per_executor,
            "max_memory_per_executor": max_memory_per_executor,
            "object_store_bytes": object_store_bytes,
            "spill_directory": spill_directory,
        }
        connection = _given_or_started(cluster, asked)
        try:
            super().__init__(
                connection,
                owns_cluster=cluster is None,
                cancel_finished=cancel_finished,
                credit_tasks=credit_tasks,
                credit_bytes=credit_bytes,
                deduplicate=deduplicate,
            )
        except BaseException:
            if cluster is None:
                connection.close()
            raise


def _given_or_started(cluster: Connection | None, asked: Mapping[str, Any]) -> Connection:
    refuse_inside_task()
    if cluster is None:
        return LocalCluster(**{name: value for name, value in asked.items() if value is not None})
    _check_given(cluster, asked)
    return cluster


def _check_given(cluster: object, asked: Mapping[str, Any]) -> None:
    """Raise if this is no cluster, or a client was asked for what its cluster decides."""
    if not hasattr(cluster, "next_client_number"):
        raise TypeError(f"cluster must be a LocalCluster, got {cluster!r}; see also workers=")
    given = [name for name, value in asked.items() if value is not None]
    if given:
        names = ", ".join(given)
        raise ValueError(
            f"{names}: this is for the cluster to say, as in LocalCluster({given[0]}=...)"
        )


def close_displayed(made: int) -> None:
    """Close what only a notebook's outputs hold, if it is older than cluster number `made`.

    So that a cell which makes a client and displays it can be run again and again.
    """
    for client in only_displayed(Client):
        if getattr(client.cluster, "_made", made) < made:
            client._close_if_displayed_only()
    for cluster in only_displayed(LocalCluster):
        if cluster._made < made and not cluster.closed:
            cluster._roles.dropped(cluster.close)


_made = count()
_clusters: weakref.WeakSet[LocalCluster] = weakref.WeakSet()


@cache
def _close_at_exit() -> None:
    """Have clusters closed at exit, before the systems that they live in.

    What is registered later is called earlier, and the systems' module has been imported by now.
    """
    from scaler.at_exit import close_all

    atexit.register(close_all, _clusters)
