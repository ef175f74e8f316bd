"""Map and its lazy form, over futures of chunks.

The caller's thread does all of it: it takes items, submits chunks, waits for whichever ends first,
and puts the values in order. An error belongs to an item; it is raised when all before it came out
well, so it is always the error that a plain loop would have met first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import closing
from itertools import islice
from time import monotonic
from typing import Any, Final, TypeAlias

from actors import Arrivals
from scaler.client.chunking import Chunker
from scaler.client.future import ScalerFuture
from scaler.limits import CANCEL_TIMEOUT_S
from scaler.protocol.tasks import RowStatus
from scaler.serialization.exceptions import load_exception

Item: TypeAlias = tuple[Any, ...]

SubmitChunk: TypeAlias = Callable[[list[Item], int], ScalerFuture]
"""Submits one chunk of argument tuples, the first of which has this index in the map. The future's
value is a `ChunkResult`, or, where the chunker says `single`, that of the one item."""

Cancel: TypeAlias = Callable[[list[ScalerFuture], float], object]
"""Cancels these futures in this order; waits at most so many seconds for the confirms."""

PIECE_ITEMS: Final = 64
"""Items taken between two looks at the clock, at most."""

FILL_S: Final = 0.01
"""A chunk is submitted as it is when its items took so long to come."""


def zip_items(iterables: Sequence[Iterable[Any]]) -> Iterator[Item]:
    """Return the argument tuples of a map over these iterables; the shortest ends it."""
    if not iterables:
        raise TypeError("map() needs a function and at least one iterable")
    return zip(*iterables, strict=False)


def star_items(iterable: Iterable[Iterable[Any]]) -> Iterator[Item]:
    """Return the argument tuples of a starmap."""
    return map(tuple, iterable)


def run_map(
    submit_chunk: SubmitChunk, cancel: Cancel, items: Iterator[Item], chunker: Chunker
) -> list[Any]:
    """Return the values of all items, in their order.

    Raises:
        BaseException: what the first item to fail raised, what taking an item raised, or Ctrl-C.
            All that was submitted and has not ended is cancelled first, newest first.
    """
    __tracebackhide__ = True
    values: list[Any] = []
    with closing(_Run(submit_chunk, cancel, items, chunker, ahead_max=None).chunks()) as chunks:
        for chunk in chunks:
            values += chunk
    return values


def run_imap(
    submit_chunk: SubmitChunk, cancel: Cancel, items: Iterator[Item], chunker: Chunker
) -> Generator[Any]:
    """Yield the values in the order of the items, taking new items as it is read.

    Nothing is submitted before the first value is asked for. Closing the generator (or leaving it)
    cancels the rest, without waiting for the confirms; errors as in `run_map`, after the values of
    the items before.
    """
    __tracebackhide__ = True
    run = _Run(submit_chunk, cancel, items, chunker, ahead_max=chunker.open_max)
    with closing(run.chunks()) as chunks:
        for chunk in chunks:
            yield from chunk


class _Chunk:
    """Some items on their way, or what came of them."""

    __slots__ = ("ended", "error", "first", "future", "is_open", "length", "values")

    def __init__(self, first: int, length: int, future: ScalerFuture) -> None:
        self.first = first
        self.length = length
        self.future = future
        self.ended = self.is_open = False
        self.values: list[Any] = []
        self.error: BaseException | None = None

    def where(self, index: int | None = None) -> str:
        """Name the item at `index`, or those that it may be if that is not known."""
        if index is not None or self.length == 1:
            return f"item {self.first + (index or 0)}"
        return f"one of items {self.first} to {self.first + self.length - 1}"


class _Run:
    """One map: `ahead_max` bounds the chunks that wait for an earlier one, `None`: unbounded."""

    def __init__(
        self,
        submit_chunk: SubmitChunk,
        cancel: Cancel,
        items: Iterator[Item],
        chunker: Chunker,
        ahead_max: int | None,
    ) -> None:
        self._submit_chunk = submit_chunk
        self._cancel = cancel
        self._items = items
        self._chunker = chunker
        self._ahead_max = ahead_max
        self._arrivals = Arrivals()
        self._order: deque[_Chunk] = deque()
        self._open: dict[ScalerFuture, _Chunk] = {}
        self._taken = 0
        self._exhausted = False
        self._slow = False

    def chunks(self) -> Generator[list[Any]]:
        """Yield the values of each chunk, in order."""
        __tracebackhide__ = True  # read by notebooks, which leave this frame out
        error: BaseException | None = None
        try:
            self._feed()
            while self._order:
                while not self._order[0].ended:
                    self._arrive()
                    self._feed()
                chunk = self._order.popleft()
                if not chunk.is_open:
                    self._look(chunk)
                yield chunk.values
                error = chunk.error
                if error is not None:
                    raise error
                self._feed()
        except GeneratorExit:
            # Perhaps run by a finalizer, which must wait for nothing.
            self._cancel_rest(0.0)
            raise
        except BaseException:
            self._cancel_rest(CANCEL_TIMEOUT_S)
            raise
        finally:
            # The error's traceback holds this frame: no cycle through it.
            chunk = error = None  # type: ignore[assignment]

    def _feed(self) -> None:
        """Submit chunks while there is room."""
        while self._has_room():
            items = self._take_items()
            if not items:
                self._exhausted = True
                return
            future = self._submit_chunk(items, self._taken)
            chunk = _Chunk(self._taken, len(items), future)
            self._taken += len(items)
            self._order.append(chunk)
            self._open[future] = chunk
            future.add_waiter(self._arrivals)

    def _has_room(self) -> bool:
        if self._exhausted or len(self._open) >= self._chunker.open_max:
            return False
        if self._ahead_max is None or not self._order:
            return True
        if self._slow and self._order[0].future.done():
            return False  # give out what is there before waiting for more to come in
        return len(self._order) < self._ahead_max

    def _take_items(self) -> list[Item]:
        """Take the items of the next chunk; fewer when they are slow to come."""
        size = self._chunker.next_size()
        deadline_s = monotonic() + FILL_S
        items: list[Item] = []
        while len(items) < size and (not items or monotonic() < deadline_s):
            # Single steps first, in case each takes seconds; then a few between looks at the clock.
            before = len(items)
            items += islice(self._items, min(size - before, before + 1, PIECE_ITEMS))
            if len(items) == before:
                break
        self._slow = monotonic() >= deadline_s
        return items

    def _arrive(self) -> None:
        """Wait until a chunk ends, and take in what came of it."""
        self._order[0].future.session.check_may_wait()  # a fork of the program would wait for good
        future = self._arrivals.take()
        chunk = self._open.pop(future)
        chunk.ended = True
        if self._ahead_max is None or not self._is_large(future):
            self._look(chunk)
        if chunk.error is None:
            self._chunker.ended(chunk.length, future.profiling_info().run_s)

    def _is_large(self, future: ScalerFuture) -> bool:
        """Whether the values are better left where they are until it is their turn.

        Opened, they would take room in shared memory that the one waited for may need.
        """
        row = future._row
        return row is not None and row.status is RowStatus.SUCCEEDED and bool(row.objects)

    def _look(self, chunk: _Chunk) -> None:
        """Take in what came of a chunk that has ended."""
        future = chunk.future
        chunk.is_open = True
        try:
            error = future.exception()
        except CancelledError as cancelled:
            error = cancelled
        if error is not None:
            chunk.error = _noted(error, chunk.where())
        elif self._chunker.single:
            chunk.values = [future.result()]
        else:
            result = future.result()
            chunk.values = result.values
            if result.index >= 0:
                chunk.error = _noted(load_exception(result.error), chunk.where(result.index))
        if chunk.error is not None:
            self._exhausted = True  # what follows will not be asked for

    def _cancel_rest(self, timeout_s: float) -> None:
        rest = [future for future in reversed(self._open) if not future.done()]
        self._open.clear()
        self._order.clear()
        self._cancel(rest, timeout_s)


def _noted(error: BaseException, where: str) -> BaseException:
    try:
        error.add_note(f"raised for {where} of the map")
    except Exception:  # an exception class may refuse attributes
        pass
    return error
