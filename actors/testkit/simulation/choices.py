"""`Choices`: an agenda in which someone chooses what happens next, instead of time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop
from random import Random
from typing import Any

from actors.messages import Envelope, Reply
from actors.ref import ActorRef
from actors.testkit.simulation.agenda import Agenda, Entry, Handle, lives_on
from actors.testkit.simulation.cells import Receiver, SimulatedCore
from actors.testkit.simulation.delays import Delays
from actors.testkit.simulation.events import label

_AT_ONCE = Delays(stall_share=0.0, cut_share=0.0)


class Lane:
    """The messages on their way from one actor to another."""

    __slots__ = ("items", "ref", "source")

    def __init__(self, ref: Receiver, source: ActorRef | None) -> None:
        self.ref = ref
        self.source = source
        self.items: deque[Envelope | Reply] = deque()


class Notice:
    """A node is to learn that another one has crashed."""

    __slots__ = ("core", "function", "lost")

    def __init__(self, core: SimulatedCore, lost: str, function: Callable[[], object]) -> None:
        self.core = core
        self.lost = lost
        self.function = function


class Due:
    """Timers and deadlines of a node, or the end of its pause."""

    __slots__ = ("at_s", "core", "function")

    def __init__(self, at_s: float, core: SimulatedCore | None, function: Any) -> None:
        self.at_s = at_s
        self.core = core
        self.function = function


Choice = Lane | Notice | Handle | Due


class Choices(Agenda):
    """What may happen next: the first message of each lane, each callback, each notice of a crash.

    Timers and deadlines happen in their order when nothing else may, and time moves only then;
    the next one may also happen before all else if it is due within `early_s`.

    Attributes:
        cores: the nodes of the simulation, by name.
        chosen: which of the choices `take` takes.
    """

    def __init__(self, *, early_s: float) -> None:
        """Begin with nothing to come."""
        super().__init__(Random(0), _AT_ONCE)  # noqa: S311
        self.cores: dict[str, SimulatedCore] = {}
        self.chosen = 0
        self._early_s = early_s
        self._lanes: dict[tuple[ActorRef | None, Receiver], Lane] = {}
        self._calls: dict[Handle, Callable[[], object]] = {}
        self._notices: dict[Notice, None] = {}

    def send(
        self, ref: Receiver, source: ActorRef | None, item: Envelope | Reply, *, local: bool
    ) -> None:
        """Put a message at the end of its lane."""
        lane = self._lanes.get((source, ref))
        if lane is None:
            lane = self._lanes[source, ref] = Lane(ref, source)
        lane.items.append(item)

    def call(self, handle: Handle, at_s: float, function: Callable[[], object]) -> None:
        """Enter a callback; it may be called at any moment from now on."""
        self._calls[handle] = function

    def notice(self, core: SimulatedCore, lost: str, function: Callable[[], object]) -> None:
        """Enter that `core` notices a crash, once nothing more is to arrive from there."""
        self._notices[Notice(core, lost, function)] = None

    def enabled(self) -> list[Choice]:
        """Return what may happen next; empty: nothing ever will."""
        found: list[Choice] = list(self._lanes.values())
        found += [handle for handle in self._calls if not handle.cancelled]
        found += [notice for notice in self._notices if self._may_notice(notice)]
        if not found or self._early_s:
            due = self._next_due()
            if due is not None and (not found or due.at_s - self.now_s < self._early_s):
                found.append(due)
        return found

    def pending(self, describe: Callable[[Any], Any]) -> Any:
        """Return what is to come, in an order that does not tell how it came about."""
        lanes = sorted(
            (name_of_choice(lane), [describe(item.message) for item in lane.items])
            for lane in self._lanes.values()
        )
        calls = sorted(handle.name for handle in self._calls if not handle.cancelled)
        return lanes, calls, sorted((notice.core.name, notice.lost) for notice in self._notices)

    def next_s(self) -> float | None:
        """Return the time now if anything may happen."""
        return self.now_s if self.enabled() else None

    def take(self) -> Entry | None:
        """Take the choice of the number `chosen`; `None` if there is none."""
        enabled = self.enabled()
        if not enabled:
            return None
        choice = enabled[self.chosen]
        if isinstance(choice, Lane):
            item = choice.items.popleft()
            if not choice.items:
                del self._lanes[choice.source, choice.ref]
            return choice.ref, choice.source, item
        if isinstance(choice, Handle):
            return None, None, self._calls.pop(choice)
        if isinstance(choice, Notice):
            del self._notices[choice]
        else:
            if choice.core is None:
                heappop(self._heap)
            self.now_s = max(self.now_s, choice.at_s)
        return None, None, choice.function

    def clear(self) -> None:
        """Forget all that is to come."""
        self._lanes.clear()
        self._calls.clear()
        self._notices.clear()

    def _may_notice(self, notice: Notice) -> bool:
        return not any(
            lane.ref.core is notice.core and lives_on(notice.lost, lane.source)
            for lane in self._lanes.values()
        )

    def _next_due(self) -> Due | None:
        """Return the next timer or deadline of a node, or the next end of a pause."""
        next_due = None
        while self._heap and self._heap[0][3] is not None:
            heappop(self._heap)  # a node's own alarm: here its timers are looked at directly
        if self._heap:
            next_due = Due(self._heap[0][0], None, self._heap[0][4])
        for core in self.cores.values():
            if core.crashed or core.life.paused:
                continue
            due_s = core.next_event_s()
            if due_s is not None:
                at_s = core.life.wake_up_s(due_s)
                if next_due is None or at_s < next_due.at_s:
                    next_due = Due(at_s, core, core.life.wake_up)
        return next_due


def name_of_choice(choice: Choice) -> str:
    """Return what happens if it is chosen, in words that are the same in every run."""
    if isinstance(choice, Lane):
        return f"{label(choice.source) or 'outside'} -> {label(choice.ref)}"
    if isinstance(choice, Handle):
        return f"call {choice.name} {choice.node}".rstrip()
    if isinstance(choice, Notice):
        return f"{choice.core.name} notices the end of {choice.lost}"
    return f"timer of {choice.core.name}" if choice.core else "a pause ends"


def node_of_choice(choice: Choice) -> str:
    """Return the name of the only node that is touched if it is chosen; empty: any may be."""
    if isinstance(choice, Lane):
        return choice.ref.core.name
    if isinstance(choice, Notice):
        return choice.core.name
    return choice.node if isinstance(choice, Handle) else ""
