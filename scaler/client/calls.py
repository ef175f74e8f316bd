"""`Calls`: what the methods of a client do with functions, items and futures."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from scaler.client.chunking import Chunker, known_total
from scaler.client.future import ScalerFuture
from scaler.client.mapping import run_imap, run_map, star_items, zip_items
from scaler.client.outcome import CancelOutcome, check_cancel
from scaler.client.session import ClientSession
from scaler.protocol.tasks import Function
from scaler.serialization.values import dump_arguments, dump_items

if TYPE_CHECKING:
    from scaler.client.client import ClientOptions


class Calls:
    """The calls of one client. Thread-safe. What they mean is said at `Client`."""

    def __init__(self, session: ClientSession, slots: int) -> None:
        """Serve the client of `session`, in a cluster of `slots` workers."""
        self.session = session
        self._slots = slots

    def submit(
        self, options: ClientOptions, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ScalerFuture[Any]:
        """See `Client.submit`."""
        self.session.check_usable()
        function = self._function(options, fn)
        return self.session.submit(function, dump_arguments(args, kwargs), block=options.block)

    async def asubmit(
        self, options: ClientOptions, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ScalerFuture[Any]:
        """See `Client.asubmit`."""
        self.session.check_usable()
        function, payload = self._function(options, fn), dump_arguments(args, kwargs)
        await self.session.credit.wait_async(1, len(payload))
        return self.session.submit_paid(function, payload)

    def map(self, options: ClientOptions, fn: Any, iterables: tuple[Iterable[Any], ...]) -> Any:
        """See `Client.map`."""
        return self._map(options, fn, zip_items(iterables), known_total(iterables))

    def starmap(self, options: ClientOptions, fn: Any, iterable: Iterable[Iterable[Any]]) -> Any:
        """See `Client.starmap`."""
        return self._map(options, fn, star_items(iterable), known_total((iterable,)))

    def imap(
        self, options: ClientOptions, fn: Any, iterables: tuple[Iterable[Any], ...]
    ) -> Generator[Any]:
        """See `Client.imap`."""
        function, submit_chunk = self._chunks_of(options, fn)
        chunker = self._chunker(function, known_total(iterables))
        return run_imap(submit_chunk, self._cancel_chunks, zip_items(iterables), chunker)

    def cancel(
        self,
        futures: Iterable[ScalerFuture],
        force: bool,
        timeout: float,
        grace: float | None,
    ) -> list[bool]:
        """See `Client.cancel`."""
        timeout_s = check_cancel(timeout, grace)
        listed: list[Any] = list(futures)
        strangers = [future for future in listed if not isinstance(future, ScalerFuture)]
        if strangers:
            raise TypeError(f"cancel() takes this package's futures, got {strangers[0]!r}")
        session: object = self.session
        own = {f: None for f in listed if f.session is session and not f.done()}
        if own:
            self.session.cancel_many(tuple(own), force, timeout_s, grace)
        return [
            f.cancelled() if f in own else f.cancel(force=force, timeout=timeout_s, grace=grace)
            for f in listed
        ]

    def _function(self, options: ClientOptions, fn: Any) -> Function:
        if not callable(fn):
            raise TypeError(f"the first argument must be callable, got {type(fn).__name__}")
        function = self.session.functions.pickle(fn)
        if options.name is None:
            return function
        return msgspec.structs.replace(function, name=options.name)

    def _map(self, options: ClientOptions, fn: Any, items: Any, total: int | None) -> list[Any]:
        function, submit_chunk = self._chunks_of(options, fn)
        return run_map(submit_chunk, self._cancel_chunks, items, self._chunker(function, total))

    def _chunks_of(
        self, options: ClientOptions, fn: Any
    ) -> tuple[Function, Callable[[list[Any]], ScalerFuture]]:
        session, block = self.session, options.block
        session.check_usable()
        function = self._function(options, fn)

        def submit_chunk(items: list[Any]) -> ScalerFuture:
            return session.submit(function, dump_items(items), chunked=True, block=block)

        return function, submit_chunk

    def _chunker(self, function: Function, total: int | None) -> Chunker:
        return Chunker(self.session.item_times, function.function_id, self._slots, total)

    def _cancel_chunks(self, futures: list[ScalerFuture], timeout_s: float) -> None:
        if timeout_s > 0 and not self.session.closed:
            self.session.cancel_many(futures, True, timeout_s, None)
            return
        for future in futures:  # perhaps in a finalizer, on any thread: only send
            if future.set_cancel_confirmed(CancelOutcome.UNCONFIRMED):
                self.session.cancel_soon(future, True, None)
