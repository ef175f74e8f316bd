"""`Calls`: what the methods of a client do with functions, items and futures."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from copy import deepcopy
from time import monotonic
from typing import TYPE_CHECKING, Any

import msgspec

from scaler.client.chunking import Chunker, known_total
from scaler.client.future import ScalerFuture
from scaler.client.inputs import ByContent, Packing, adumped, dumped, packing
from scaler.client.mapping import run_imap, run_map, star_items, zip_items
from scaler.client.object_reference import ObjectReference
from scaler.client.object_table import ObjectTable, table_of
from scaler.client.outcome import CancelOutcome, check_cancel
from scaler.client.session import ClientSession
from scaler.errors import TaskTimeoutError
from scaler.objects.ledger import Holder
from scaler.objects.waiting import finish
from scaler.protocol.tasks import Function, TaskPolicy
from scaler.serialization.buffers import Buffers
from scaler.serialization.values import dump_arguments, dump_items, dump_value, load_value
from scaler.settings import checked_name

if TYPE_CHECKING:
    from scaler.client.client import ClientOptions


class Calls:
    """The calls of one client. Thread-safe. What they mean is said at `Client`."""

    def __init__(self, session: ClientSession, slots: int, *, deduplicate: bool) -> None:
        """Serve the client of `session`.

        Args:
            session: of the client.
            slots: workers of the cluster.
            deduplicate: store values of equal content once.
        """
        self.session = session
        self._slots = slots
        self._packing: Packing = ByContent(session.objects) if deduplicate else session.objects

    def submit(
        self, options: ClientOptions, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ScalerFuture[Any]:
        """See `Client.submit`."""
        function = self._function_of(options, fn)
        arguments = dumped(self._packing, dump_arguments, args, kwargs)
        submission = self.session.prepare(function, arguments, options.policy)
        return self.session.submit(submission, block=options.block)

    async def asubmit(
        self, options: ClientOptions, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ScalerFuture[Any]:
        """See `Client.asubmit`."""
        function = self._function_of(options, fn)
        arguments = await adumped(self._packing, dump_arguments, args, kwargs)
        return await self.session.asubmit(self.session.prepare(function, arguments, options.policy))

    def map(self, options: ClientOptions, fn: Any, iterables: tuple[Iterable[Any], ...]) -> Any:
        """See `Client.map`."""
        __tracebackhide__ = True
        return self._map(options, fn, zip_items(iterables), known_total(iterables))

    def starmap(self, options: ClientOptions, fn: Any, iterable: Iterable[Iterable[Any]]) -> Any:
        """See `Client.starmap`."""
        __tracebackhide__ = True
        return self._map(options, fn, star_items(iterable), known_total((iterable,)))

    def imap(
        self, options: ClientOptions, fn: Any, iterables: tuple[Iterable[Any], ...]
    ) -> Generator[Any]:
        """See `Client.imap`."""
        chunks = Chunks(self.session, self._packing, self._function_of(options, fn), options)
        chunker = self._chunker(chunks, known_total(iterables))
        return run_imap(chunks.submit, chunks.cancel, zip_items(iterables), chunker)

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

    def put(self, value: Any, name: str | None) -> ObjectReference:
        """See `Client.put`."""
        self.session.check_usable()
        checked = type(value).__name__ if name is None else checked_name(name)
        buffers: Buffers = []
        payload = dump_value(value, buffers, what="the value")
        body = finish(packing(self._packing, payload, buffers))
        body = self.session.objects.share(body, Holder.REFERENCE)
        return self.session.references.make(checked, body)

    def get(self, handles: Any, copy: bool) -> Any:
        """See `Client.get`."""
        if isinstance(handles, ScalerFuture | ObjectReference):
            return self._get(handles, copy)
        return [self._get(handle, copy) for handle in handles]

    def _get(self, handle: Any, copy: bool) -> Any:
        if isinstance(handle, ScalerFuture):
            value = handle.result()
            return deepcopy(value) if copy else value
        if not isinstance(handle, ObjectReference):
            raise TypeError(f"get() takes references and futures, got {handle!r}")
        body = handle.body()
        opened = handle.session.objects.unpack(body.payload, body.objects, copy=copy)
        return load_value(*opened, what="the value of a reference", copy=copy)

    def delete(self, reference: Any) -> None:
        """See `Client.delete`."""
        if not isinstance(reference, ObjectReference):
            raise TypeError(f"delete() takes a reference, got {reference!r}; see future.release()")
        reference.end("it was deleted")

    def objects(self) -> ObjectTable:
        """See `Client.objects`."""
        return table_of(self.session.objects, self.session.references.names())

    def _function_of(self, options: ClientOptions, fn: Any) -> Function:
        self.session.check_usable()
        if not callable(fn):
            raise TypeError(f"the first argument must be callable, got {type(fn).__name__}")
        function = self.session.functions.pickle(fn)
        if options.name is None:
            return function
        return msgspec.structs.replace(function, name=options.name)

    def _map(self, options: ClientOptions, fn: Any, items: Any, total: int | None) -> list[Any]:
        __tracebackhide__ = True
        chunks = Chunks(self.session, self._packing, self._function_of(options, fn), options)
        return run_map(chunks.submit, chunks.cancel, items, self._chunker(chunks, total))

    def _chunker(self, chunks: Chunks, total: int | None) -> Chunker:
        times, function_id = self.session.item_times, chunks.function.function_id
        return Chunker(times, function_id, self._slots, total, single=chunks.single)


class Chunks:
    """Submits and cancels the chunks of one map."""

    def __init__(
        self,
        session: ClientSession,
        packing: Packing,
        function: Function,
        options: ClientOptions,
    ) -> None:
        """Submit calls of `function` through `session`, their arguments through `packing`."""
        self._session = session
        self._packing = packing
        self.function = function
        self.single = needs_single_items(options.policy)
        """Each chunk is one item, and a task as `submit` makes it."""
        self._block = options.block
        self._policy = options.policy
        self._began_s = monotonic()
        self._last: ScalerFuture | None = None

    def submit(self, items: list[Any], first: int) -> ScalerFuture:
        """Submit one chunk of argument tuples, the first of which is item `first` of the map."""
        arguments = dumped(self._packing, self._dump, items, first)
        submission = self._session.prepare(
            self.function, arguments, self._policy_now(first), not self.single
        )
        self._last = submission.future
        return self._session.submit(submission, block=self._block)

    def _dump(self, items: list[Any], first: int, buffers: Buffers) -> bytes:
        if self.single:
            return dump_arguments(items[0], {}, buffers, of=f" of item {first}")
        return dump_items(items, first, buffers)

    def _policy_now(self, first: int) -> TaskPolicy | None:
        """The policy of a chunk submitted now: the deadline is that of the whole map."""
        policy = self._policy
        if policy is None or policy.deadline_s is None:
            return policy
        left_s = self._began_s + policy.deadline_s - monotonic()
        if left_s <= 0:
            raise TaskTimeoutError(
                f"{self.function.name}: the map met its deadline of {policy.deadline_s:g} s before "
                f"item {first} was submitted"
            )
        return msgspec.structs.replace(policy, deadline_s=left_s, map_deadline_s=policy.deadline_s)

    def cancel(self, futures: list[ScalerFuture], timeout_s: float) -> None:
        """Cancel these, and the one that Ctrl-C may have kept `submit` from returning."""
        last = self._last
        if last is not None and not last.done() and last not in futures:
            futures = [last, *futures]
        if not futures:
            return
        if timeout_s > 0 and not self._session.closed:
            self._session.cancel_many(futures, True, timeout_s, None)
            return
        for future in futures:  # perhaps in a finalizer, on any thread: only send
            if future.set_cancel_confirmed(CancelOutcome.UNCONFIRMED):
                self._session.cancel_soon(future, True, None)


def needs_single_items(policy: TaskPolicy | None) -> bool:
    """Whether this policy counts attempts or time of each item of a map, not of a chunk."""
    return policy is not None and (policy.retries > 0 or policy.timeout_s is not None)
