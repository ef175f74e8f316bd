"""`BaseClient`: the methods of a client, and when it ends.

This module is light on purpose: what does the work (`scaler.client.calls`, `session`) is imported
while the cluster's launcher starts.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Iterable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, Self, TypeVar

from scaler.client.displayed import html_table
from scaler.client.object_methods import ObjectMethods
from scaler.client.references import references
from scaler.errors import ClientError
from scaler.limits import CANCEL_TIMEOUT_S, CLIENT_BYTES, CLIENT_TASKS, MAX_ATTEMPTS
from scaler.settings import checked_flag, checked_name

if TYPE_CHECKING:
    from scaler.client.connection import Connection
    from scaler.client.future import ScalerFuture
    from scaler.client.retry import Retry
    from scaler.client.session import ClientSession
    from scaler.protocol.tasks import TaskPolicy

P = ParamSpec("P")
R = TypeVar("R")


class ClientOptions(NamedTuple):
    """What a view of a client adds to every task it submits."""

    name: str | None = None
    """Stands for the function's name in what people read."""
    block: bool = True
    """Whether `submit` waits for credit; if not, it raises `ClientBusyError`."""
    policy: TaskPolicy | None = None
    """How a task is run: see `TaskPolicy`; made by `scaler.client.policies`."""
    deduplicate: bool = False
    """Whether values of equal content are stored once: of the client, for people to read here."""

    def in_words(self) -> str:
        """Say what differs from a client without options."""
        said: dict[str, Any] = {"name": self.name, "block": self.block}
        said["deduplicate"] = self.deduplicate or None
        if (policy := self.policy) is not None:
            said |= {"retries": policy.retries, "max_attempts": policy.max_attempts}
            said |= {"timeout": policy.timeout_s, "deadline": policy.deadline_s}
            said["copy"] = policy.copy
        usual = {"block": True, "retries": 0, "max_attempts": MAX_ATTEMPTS, "copy": False}
        return "".join(
            f", {key}={value!r}" for key, value in said.items() if value != usual.get(key)
        )


class _Hold:
    """What all views of a client share: when it goes, nobody holds the client any more."""

    __slots__ = ("__weakref__",)


def _end(session: ClientSession, cluster: Connection | None) -> None:
    session.close()
    if cluster is not None:
        cluster.close()


def _held(values: Generator[R], hold: _Hold) -> Generator[R]:
    """Pass `values` on; the client lives for as long as somebody reads them."""
    __tracebackhide__ = True
    try:
        yield from values
    finally:
        del hold  # a traceback may live longer


class BaseClient(ObjectMethods):
    """A client of a cluster that is there already: all but starting one. Thread-safe."""

    __scaler_local__ = "client"

    def __init__(
        self,
        cluster: Connection,
        *,
        owns_cluster: bool = False,
        cancel_finished: bool = True,
        credit_tasks: int = CLIENT_TASKS,
        credit_bytes: int = CLIENT_BYTES,
        deduplicate: bool = False,
    ) -> None:
        """Connect to `cluster`; see `Client`."""
        from scaler.client.calls import Calls
        from scaler.client.session import ClientSession

        self.cluster = cluster
        self._options = ClientOptions(deduplicate=deduplicate)
        self._session = ClientSession(
            cluster,
            cancel_finished=cancel_finished,
            credit_tasks=credit_tasks,
            credit_bytes=credit_bytes,
        )
        self._calls = Calls(self._session, cluster.slots, deduplicate=deduplicate)
        self._end = partial(_end, self._session, cluster if owns_cluster else None)
        self._hold = _Hold()
        self._dropped = weakref.finalize(self._hold, self._session.client_dropped, self._end)
        self._dropped.atexit = False

    # --- submit -----------------------------------------------------------------------------

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> ScalerFuture[R]:
        """Run `fn(*args, **kwargs)` in an executor and return its future.

        What can be imported travels by name, the rest by value. An `async def` is run with
        `asyncio.run`. All keyword arguments are the function's own; see `options` for ours.

        Returns:
            A `concurrent.futures.Future`. Its `cancel()` stops the task, running or not.

        Raises:
            SerializationError: function or arguments cannot be pickled.
            ClientBusyError: no credit is left, and this must not wait for it (see `options`, and
                coroutines: `asubmit`).
            ClientClosedError: the client was closed.
            ClusterBrokenError: the cluster has ended by itself.

        A task whose executor dies is run again, so it may run more than once; what it raises is
        final (see `options` for both). Waits while `credit_tasks` tasks, or `credit_bytes` of
        arguments, are in flight.
        """
        __tracebackhide__ = True
        try:
            return self._calls.submit(self._options, fn, args, kwargs)
        finally:
            del self  # a traceback that somebody keeps must not keep the client

    async def asubmit(
        self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> ScalerFuture[R]:
        """Do what `submit` does; wait for credit and room without blocking the event loop.

        Raises:
            SerializationError: function or arguments cannot be pickled.
            ClientClosedError: the client was closed, before or meanwhile.
            ClusterBrokenError: the cluster has ended by itself.
        """
        return await self._calls.asubmit(self._options, fn, args, kwargs)

    # --- map --------------------------------------------------------------------------------

    def map(self, fn: Callable[..., R], /, *iterables: Iterable[Any]) -> list[R]:
        """Return `list(map(fn, *iterables))`, computed in parallel.

        Items travel in chunks whose size follows the measured time of an item. An error belongs to
        an item: that of the lowest failed index is raised as soon as all before it came out well,
        and the rest is cancelled, newest first. Ctrl-C cancels too. The client stays usable.

        Raises:
            Exception: what `fn` raised for the first item that failed; its notes name the item.
            TypeError: there is no iterable.
            SerializationError: function, an item or a value cannot be pickled.
            WorkerDiedError: the process died that ran an item, in each of its attempts; the text
                names it.
            TaskTimeoutError: an item reached the timeout, or the map the deadline, of `options`.
            ClientClosedError: the client was closed.

        With `retries` or a `timeout` each item is a task of its own; `max_attempts` holds for a
        chunk, a `deadline` for the whole map, from this call on.
        """
        __tracebackhide__ = True
        try:
            return self._calls.map(self._options, fn, iterables)  # type: ignore[no-any-return]
        finally:
            del self  # a traceback that somebody keeps must not keep the client

    def starmap(self, fn: Callable[..., R], iterable: Iterable[Iterable[Any]], /) -> list[R]:
        """Return `[fn(*item) for item in iterable]`, computed in parallel; see `map`."""
        __tracebackhide__ = True
        try:
            return self._calls.starmap(self._options, fn, iterable)  # type: ignore[no-any-return]
        finally:
            del self  # a traceback that somebody keeps must not keep the client

    def imap(self, fn: Callable[..., R], /, *iterables: Iterable[Any]) -> Generator[R]:
        """Yield `fn` of the items in order, lazily: a bounded number is in flight.

        Nothing runs before the first value is asked for; the iterables may be endless. Closing the
        generator cancels the rest. Errors as in `map`, after the values of the items before.
        """
        return _held(self._calls.imap(self._options, fn, iterables), self._hold)

    # --- cancel -----------------------------------------------------------------------------

    def cancel(
        self,
        futures: Iterable[ScalerFuture],
        *,
        force: bool = True,
        timeout: float = CANCEL_TIMEOUT_S,
        grace: float | None = None,
    ) -> list[bool]:
        """Cancel many futures, the newest first, and wait for all their confirms.

        Args:
            futures: also done ones, duplicates, and those of other clients.
            force: as in `ScalerFuture.cancel`.
            timeout: seconds to wait for each; they wait together.
            grace: as in `ScalerFuture.cancel`.

        Returns:
            For each, in the order given, whether it is cancelled now.
        """
        return self._calls.cancel(futures, force, timeout, grace)

    # --- views and the end ------------------------------------------------------------------

    def options(
        self,
        *,
        name: str | None = None,
        block: bool | None = None,
        retries: int | Retry | None = None,
        max_attempts: int | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
        copy: bool | None = None,
    ) -> Self:
        """Return a view of this client with other options; both share everything else.

        Args:
            name: stands for the function's name in what people read.
            block: whether `submit` waits for credit (default True), or raises `ClientBusyError`.
            retries: how often a task that raised is run again (default 0): a number, or a `Retry`
                that says after which exceptions, and after which wait.
            max_attempts: attempts that may be lost with their executors (default 3); then the task
                fails with `WorkerDiedError`. 1, and no retries: it runs at most once.
            timeout: seconds that one attempt may run.
            deadline: seconds from `submit` to the task's end, all waiting and attempts included.
            copy: whether the task gets copies of large buffers and arrays that it may write to;
                else (default False) they are mapped read-only, and no copy is made.

        What is not given (`None`) stays as it is. A task that reaches `timeout` or `deadline` is
        stopped as a cancel does it, and fails with `TaskTimeoutError`; `math.inf` lifts a limit.

        Raises:
            TypeError: an argument is of a wrong type.
            ValueError: an argument is out of its range.
            SerializationError: the predicate of a `Retry` cannot be pickled.
        """
        policy = self._options.policy
        if not (retries is max_attempts is timeout is deadline is copy is None):
            from scaler.client.policies import changed_policy

            policy = changed_policy(policy, retries, max_attempts, timeout, deadline, copy)
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view._options = self._options._replace(
            name=self._options.name if name is None else checked_name(name),
            block=self._options.block if block is None else checked_flag("block", block),
            policy=policy,
        )
        return view

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._session.closed

    def _close_if_displayed_only(self) -> None:
        """Close it soon; a view of it is reason enough not to."""
        if references(vars(self), "_hold") == 1:
            self._session.client_dropped(self._end)

    def close(self) -> None:
        """Cancel all tasks of this client and wait for the confirms; end a cluster it owns.

        Bounded by a few seconds. Twice is fine. Open futures end cancelled. A client that was
        dropped without being closed is closed once nobody holds an open future of it.
        """
        self._dropped.detach()
        self._end()

    def disconnect(self) -> None:
        """Leave the cluster: like `close`, and a cluster that this client does not own goes on."""
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise ClientError(
            f"{self!r} cannot be pickled, so it cannot be an argument or part of one. "
            "Submit from the program that owns it."
        )

    def __repr__(self) -> str:
        number, slots = self._session.number, self.cluster.slots
        tasks, size_bytes = self._session.credit.in_flight()
        return (
            f"<Client {number}, {self._state()}, {tasks} tasks and {size_bytes} bytes in flight, "
            f"{slots} workers{self._options.in_words()}>"
        )

    def _repr_html_(self) -> str:
        tasks, size_bytes = self._session.credit.in_flight()
        rows = {
            "State": self._state(),
            "Workers": self.cluster.slots,
            "Tasks in flight": tasks,
            "Bytes in flight": size_bytes,
        }
        return html_table(f"Client {self._session.number}", rows)

    def _state(self) -> str:
        session = self._session
        return "broken" if session.broken else "closed" if session.closed else "connected"
