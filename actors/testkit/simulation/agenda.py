"""`Agenda`: what is to come in a simulation, in the order of virtual time."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from random import Random
from typing import Any

from actors.messages import Envelope, Reply
from actors.ref import ActorRef
from actors.testkit.simulation.cells import Receiver, SimulatedCore
from actors.testkit.simulation.delays import Delays

Entry = tuple[Receiver | None, Any, Any]
"""A message `(receiver, sender, item)`, or a call `(None, None, function)`."""


class Handle:
    """A callback that is still to come."""

    __slots__ = ("cancelled", "function", "name", "node")

    def __init__(self, name: str, function: Callable[[], object], node: str = "") -> None:
        self.name = name
        self.node = node
        self.function = function
        self.cancelled = False

    def cancel(self) -> None:
        """Do not call it. Does nothing if it was called already."""
        self.cancelled = True


class Agenda:
    """Messages on their way and calls to come; how long each takes is drawn when it is entered.

    Attributes:
        now_s: virtual time, that of the entry taken last.
    """

    def __init__(self, random: Random, delays: Delays) -> None:
        """Begin at 0 s with nothing to come."""
        self.now_s = 0.0
        self._random = random
        self._delays = delays
        self._serial = 0
        self._heap: list[tuple[float, int, Receiver | None, Any, Any]] = []

    def send(
        self, ref: Receiver, source: ActorRef | None, item: Envelope | Reply, *, local: bool
    ) -> None:
        """Put a message on its way; it arrives after those of the same sender to `ref`."""
        due_s = self.now_s + self._delays.travel(self._random, local=local)
        last_s = ref.arrivals_s.get(source, 0.0)
        if due_s < last_s:
            due_s = last_s
        ref.arrivals_s[source] = due_s
        self._serial += 1
        heappush(self._heap, (due_s, self._serial, ref, source, item))

    def call(self, handle: Handle, at_s: float, function: Callable[[], object]) -> None:
        """Enter a call for `handle` at a time."""
        self.wake(at_s, function)

    def wake(
        self,
        at_s: float,
        function: Callable[[], object],
        is_due: Callable[[float], bool] | None = None,
    ) -> None:
        """Enter a call of a node to itself.

        Args:
            at_s: when.
            function: what is called.
            is_due: asked when `at_s` has come; False: nothing is to be done, time need not move.
        """
        self._serial += 1
        heappush(self._heap, (at_s, self._serial, None, is_due, function))

    def notice(self, core: SimulatedCore, lost: str, function: Callable[[], object]) -> None:
        """Enter that `core` notices the crash of `lost`, after all that arrives from there."""
        low, high = self._delays.detect_s
        at_s = self.now_s + low + (high - low) * self._random.random()
        self.wake(max(at_s, _last_arrival_s(core, lost)), function)

    def cut(self, core: SimulatedCore, lost: str) -> None:
        """Drop what `lost` had not sent in full when it crashed: the last of it, or nothing."""
        random = self._random
        if random.random() >= self._delays.cut_share:
            return
        sent = sorted(
            serial
            for _, serial, ref, source, _ in self._heap
            if ref is not None and ref.core is core and lives_on(lost, source)
        )
        if not sent:
            return
        kept = random.randrange(len(sent))
        dropped = frozenset(sent[kept:])
        self._heap = [entry for entry in self._heap if entry[1] not in dropped]
        heapify(self._heap)

    def stall_s(self) -> float:
        """Draw for how long a node is busy when a message arrives; mostly 0."""
        delays, random = self._delays, self._random
        if not delays.stall_share or random.random() >= delays.stall_share:
            return 0.0
        low, high = delays.stall_s
        return low + (high - low) * random.random()

    def next_s(self) -> float | None:
        """When the next entry is due, `None` if there is none."""
        return self._heap[0][0] if self._heap else None

    def take(self) -> Entry | None:
        """Take the next entry and move the time to it; `None` if there is none."""
        heap = self._heap
        while heap:
            due_s, _, ref, source, item = heappop(heap)
            if ref is None and source is not None and not source(due_s):
                continue
            if due_s > self.now_s:
                self.now_s = due_s
            return ref, source, item
        return None


def lives_on(node: str, ref: ActorRef | None) -> bool:
    """Whether a sender lives on a node."""
    return ref is not None and ref.address.node == node


def _last_arrival_s(core: SimulatedCore, source: str) -> float:
    """When the last message from the node `source` arrives at a node."""
    refs: list[Any] = [core.outside, *(cell.ref for cell in core.cells.values())]
    return max(
        (
            at_s
            for ref in refs
            for sender, at_s in ref.arrivals_s.items()
            if lives_on(source, sender)
        ),
        default=0.0,
    )
