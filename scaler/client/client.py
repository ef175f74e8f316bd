"""`Client`: what a program holds to run functions in parallel."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Iterable
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import msgspec

from scaler.client.chunking import Chunker, known_total
from scaler.client.connection import Connection
from scaler.client.future import ScalerFuture
from scaler.client.mapping import run_imap, run_map, star_items, zip_items
from scaler.client.outcome import CancelOutcome, check_cancel
from scaler.client.session import ClientSession
from scaler.errors import ClientError
from scaler.limits import CANCEL_TIMEOUT_S, CLIENT_BYTES, CLIENT_TASKS
from scaler.protocol.tasks import Function
from scaler.serialization.values import dump_arguments, dump_items

P = ParamSpec("P")
R = TypeVar("R")


class ClientOptions(msgspec.Struct, frozen=True):
    """What a view of a client adds to every task it submits."""

    name: str | None = None
    """Stands for the function's name in what people read."""
    block: bool = True
    """Whether `submit` waits for credit; if not, it raises `ClientBusyError`."""


class _Hold:
    """What all views of a client share: when it goes, nobody holds the client any more."""

    __slots__ = ("__weakref__",)


def _end(session: ClientSession, cluster: Connection | None) -> None:
    session.close()
    if cluster is not None:
        cluster.close()


class BaseClient:
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
    ) -> None:
        """Connect to `cluster`; see `Client`."""
        self.cluster = cluster
        self._options = ClientOptions()
        self._session = ClientSession(
            cluster,
            cancel_finished=cancel_finished,
            credit_tasks=credit_tasks,
            credit_bytes=credit_bytes,
        )
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

        The task runs at most once. Waits while `credit_tasks` tasks are in flight.
        """
        function, payload = self._prepare(fn, args, kwargs)
        return self._session.submit(function, payload, block=self._options.block)

    async def asubmit(
        self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> ScalerFuture[R]:
        """Do what `submit` does; wait for credit without blocking the event loop."""
        function, payload = self._prepare(fn, args, kwargs)
        await self._session.credit.wait_async(1, len(payload))
        return self._session.submit_paid(function, payload)

    def _prepare(self, fn: Any, args: Any, kwargs: Any) -> tuple[Function, bytes]:
        self._session.check_usable()
        return self._function(fn), dump_arguments(args, kwargs)

    def _function(self, fn: Any) -> Function:
        if not callable(fn):
            raise TypeError(f"the first argument must be callable, got {type(fn).__name__}")
        function = self._session.functions.pickle(fn)
        name = self._options.name
        return function if name is None else msgspec.structs.replace(function, name=name)

    # --- map --------------------------------------------------------------------------------

    def map(self, fn: Callable[..., R], /, *iterables: Iterable[Any]) -> list[R]:
        """Return `list(map(fn, *iterables))`, computed in parallel.

        Items travel in chunks whose size follows the measured time of an item. An error belongs to
        an item: that of the lowest failed index is raised as soon as it is known, and the rest is
        cancelled, newest first; so does Ctrl-C. The client stays usable.

        Raises:
            Exception: what `fn` raised for the first item that failed.
            TypeError: there is no iterable.
            ClientClosedError: the client was closed.
        """
        return self._map(fn, zip_items(iterables), known_total(iterables))

    def starmap(self, fn: Callable[..., R], iterable: Iterable[Iterable[Any]], /) -> list[R]:
        """Return `[fn(*item) for item in iterable]`, computed in parallel; see `map`."""
        return self._map(fn, star_items(iterable), known_total((iterable,)))

    def imap(self, fn: Callable[..., R], /, *iterables: Iterable[Any]) -> Generator[R]:
        """Yield `fn` of the items in order, lazily: a bounded number is in flight.

        Nothing runs before the first value is asked for; the iterables may be endless. Closing the
        generator cancels the rest. Errors as in `map`, after the values of the items before.
        """
        function, submit_chunk = self._chunks_of(fn)
        chunker = self._chunker(function, known_total(iterables))
        return run_imap(submit_chunk, self._cancel_chunks, zip_items(iterables), chunker)

    def _map(self, fn: Any, items: Any, total: int | None) -> list[Any]:
        function, submit_chunk = self._chunks_of(fn)
        return run_map(submit_chunk, self._cancel_chunks, items, self._chunker(function, total))

    def _chunks_of(self, fn: Any) -> tuple[Function, Callable[[list[Any]], ScalerFuture]]:
        self._session.check_usable()
        function = self._function(fn)
        session, block = self._session, self._options.block

        def submit_chunk(items: list[Any]) -> ScalerFuture:
            return session.submit(function, dump_items(items), chunked=True, block=block)

        return function, submit_chunk

    def _chunker(self, function: Function, total: int | None) -> Chunker:
        times, slots = self._session.item_times, self.cluster.slots
        return Chunker(times, function.function_id, slots, total)

    def _cancel_chunks(self, futures: list[ScalerFuture], timeout_s: float) -> None:
        if timeout_s > 0 and not self._session.closed:
            self._session.cancel_many(futures, True, timeout_s, None)
            return
        for future in futures:  # perhaps in a finalizer, on any thread: only send
            if future.set_cancel_confirmed(CancelOutcome.UNCONFIRMED):
                self._session.cancel_soon(future, True, None)

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
        timeout_s = check_cancel(timeout, grace)
        listed: list[Any] = list(futures)
        strangers = [future for future in listed if not isinstance(future, ScalerFuture)]
        if strangers:
            raise TypeError(f"cancel() takes this package's futures, got {strangers[0]!r}")
        session: object = self._session
        own = {f: None for f in listed if f.session is session and not f.done()}
        if own:
            self._session.cancel_many(tuple(own), force, timeout_s, grace)
        return [
            f.cancelled() if f in own else f.cancel(force=force, timeout=timeout_s, grace=grace)
            for f in listed
        ]

    # --- views and the end ------------------------------------------------------------------

    def options(self, *, name: str | None = None, block: bool | None = None) -> Self:
        """Return a view of this client with other options; both share everything else.

        Args:
            name: stands for the function's name in what people read.
            block: whether `submit` waits for credit (default True), or raises `ClientBusyError`.
        """
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view._options = ClientOptions(
            name=self._options.name if name is None else name,
            block=self._options.block if block is None else block,
        )
        return view

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._session.closed

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
        session = self._session
        tasks, size_bytes = session.credit.in_flight()
        state = "broken" if session.broken else "closed" if session.closed else "connected"
        return (
            f"<Client {session.number}, {state}, {tasks} tasks and {size_bytes} bytes in flight, "
            f"{self.cluster.slots} workers>"
        )
