"""`SimulatedNode`: the life of a node, its turns, pauses, crashes and restarts."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from actors.actor import DEFAULT_SUPERVISION, Actor
from actors.core.guardian import GUARDIAN_SUPERVISION, Guardian
from actors.errors import NodeUnreachableError
from actors.limits import LATE_TURN_S
from actors.ref import ActorRef
from actors.supervision import Supervision
from actors.testkit.simulation.cells import SimulatedCore
from actors.testkit.simulation.events import Event, EventKind, name_of

if TYPE_CHECKING:
    from actors.testkit.simulation.agenda import Handle
    from actors.testkit.simulation.simulation import Simulation

_ROUNDS_PER_TURN = 10_000
_NEXT_TURN_S = 0.00001

OUTSIDE = "outside"
"""Name of the node of all that is not an actor."""


class SimulatedNode:
    """One node of a simulation: a process that may crash, freeze and start again.

    Attributes:
        name: what it was named.
        core: the production node that runs now; another one after a restart.
    """

    def __init__(
        self, sim: Simulation, name: str, setup: Callable[[SimulatedNode], None] | None = None
    ) -> None:
        """Use `Simulation.node`."""
        self.sim = sim
        self.name = name
        self._setup = setup
        self._lives = 0
        self._notes: list[tuple[EventKind, ActorRef | None, ActorRef | None, Any]] = []
        self._posted: deque[Callable[[], object]] = deque()
        self._stalled_until_s = self._stalled_since_s = 0.0
        self._armed_s = math.inf
        self._wall_offset_s = 0.0
        self._begin()

    @property
    def alive(self) -> bool:
        """Whether it has not crashed."""
        return not self.core.crashed

    @property
    def paused(self) -> bool:
        """Whether it handles nothing now."""
        return self._stalled_until_s > self.sim.now()

    def spawn(
        self,
        actor_class: type[Actor],
        *args: Any,
        name: str | None = None,
        supervision: Supervision = DEFAULT_SUPERVISION,
        mailbox_size: int | None = None,
        **kwargs: Any,
    ) -> ActorRef:
        """Start an actor here, at once; see `ActorSystem.spawn`.

        Raises:
            Exception: what its constructor or `on_start` raised.
        """
        self.sim.woken.append(self)
        return self.core.spawn(
            actor_class,
            args,
            kwargs,
            name=name,
            supervision=supervision,
            mailbox_size=mailbox_size,
            parent=None,
        )

    def actor(self, ref: ActorRef) -> Any:
        """Return the instance behind a ref of this node, for an oracle to look at.

        Raises:
            LookupError: it has ended.
        """
        cell = self.core.cells.get(ref.address.number)
        if cell is None or cell.ref != ref:
            raise LookupError(f"no actor {ref.name} lives on node {self.name}")
        return cell.actor

    def after(self, delay_s: float, callback: Callable[..., object], *args: Any) -> Handle:
        """Call back on this node's thread after `delay_s`: what a socket or a child would do.

        It waits while the node is paused, and is forgotten when the node crashes.
        """
        call = partial(self._call, self.core, callback, args)
        return self.sim.plan(delay_s, name_of(callback), call, self.core.name)

    # --- faults -----------------------------------------------------------------------------

    def crash(self) -> None:
        """End the node at once, as `kill -9` does. Nothing of it runs any more.

        What it has sent arrives, but for the last of it now and then (`Delays.cut_share`). Then
        each other node notices, after a drawn time: asks to it fail with `NodeUnreachableError`,
        watchers of its actors are told `NODE_LOST`.
        """
        self._end(EventKind.CRASH)

    def stop(self) -> None:
        """End the node in order: its actors stop, what they say last arrives."""
        if self.alive:
            self.core.stop_all()
            self.turn()
            self._end(EventKind.STOP)

    def restart(self) -> None:
        """Begin again as a new process, with no actors but those that `setup` spawns.

        For the others it is another node: old refs do not lead to it.
        """
        self.crash()
        self.sim.note_world(EventKind.RESTART, self.name)
        self._begin()

    def pause(self, seconds: float) -> None:
        """Freeze the node, as `SIGSTOP` does: its messages pile up until it goes on."""
        if self.alive:
            self.sim.note_world(EventKind.PAUSE, self.name)
            self.stall(seconds)

    def jump_clock(self, seconds: float) -> None:
        """Move the node's wall clock. Actors do not see it: their clock is monotonic."""
        self._wall_offset_s += seconds
        self.sim.note_world(EventKind.CLOCK, self.name)

    def wall_time(self) -> float:
        """Seconds since the epoch on the node's wall clock, for models that look at it."""
        return self.sim.wall_time() + self._wall_offset_s

    def stall(self, seconds: float) -> None:
        """Handle nothing for a while."""
        until_s = self.sim.now() + seconds
        if not self.paused:
            self._stalled_since_s = self.sim.now()
        if until_s > self._stalled_until_s:
            self._stalled_until_s = until_s
            self.sim.agenda.wake(until_s, partial(self._resume, self.core))

    # --- for the simulation -----------------------------------------------------------------

    def note(
        self, kind: EventKind, source: ActorRef | None, target: ActorRef | None, message: Any
    ) -> None:
        """Note what happened; it is told when the turn is over."""
        self._notes.append((kind, source, target, message))

    def turn(self) -> None:
        """Run the actors that have messages, then call back who waits for the turn's end."""
        core = self.core
        sim = self.sim
        now_s = sim.agenda.now_s
        if core.crashed or self._stalled_until_s > now_s:
            return
        for _ in range(_ROUNDS_PER_TURN):
            core.sleeping = False
            core.run_ready()
            if core.outgoing:
                sim.network.flush(core)
            if core.after_turn or core.wakes:
                core.wake_waiters()
            core.sleeping = True
            if not (core.ready or core.outgoing or core.wakes):
                break
        self._arm()
        if self._notes:
            notes, self._notes = self._notes, []
            for kind, source, target, message in notes:
                sim.tell_event(Event(kind, now_s, source, target, message))

    def wake_up_s(self, due_s: float) -> float:
        """Return when the turn is that handles what is due at `due_s` on the node's clock."""
        lag_s = self.core.lag_s
        at_s = due_s + lag_s
        while at_s - lag_s < due_s:  # rounded down
            at_s = math.nextafter(at_s, math.inf)
        now_s = self.sim.agenda.now_s
        return at_s if at_s > now_s else now_s + _NEXT_TURN_S  # the next turn is a moment later

    def wake_up(self) -> None:
        """Handle the timers and deadlines that are due."""
        self._fire()
        self.turn()

    def lose(self, core: SimulatedCore, name: str) -> None:
        """Learn that another node has crashed."""
        if core.crashed:
            return
        if self.paused:
            self._posted.append(partial(self.lose, core, name))
            return
        core.lost[name] = None
        self.note(EventKind.NODE_LOST, None, None, f"{self.name}: {name}")
        with self.sim.network.as_system():
            core.node_lost(name, NodeUnreachableError(f"node {name} is gone: it crashed"))
        self.turn()

    def _begin(self) -> None:
        self._lives += 1
        name = self.name if self._lives == 1 else f"{self.name}#{self._lives}"
        self.core = SimulatedCore(name, self)
        self._stalled_until_s = 0.0
        self._armed_s = math.inf
        self.sim.network.enter(self.core)
        if self.name != OUTSIDE:
            self._spawn_guardian()
        if self._setup is not None:
            self._setup(self)

    def _spawn_guardian(self) -> None:
        self.core.spawn(
            Guardian,
            (self.core, self._finish),
            {},
            name="guardian",
            supervision=GUARDIAN_SUPERVISION,
            mailbox_size=None,
            parent=None,
        )

    def _finish(self) -> None:
        self.sim.agenda.wake(self.sim.now(), self.stop)

    def _end(self, kind: EventKind) -> None:
        if self.core.crashed:
            return
        self.core.crashed = True
        self._posted.clear()
        self._notes.clear()
        self.sim.note_world(kind, self.name)
        lost = self.core.name
        for node in [self.sim.outside, *self.sim.nodes.values()]:
            if node.alive:
                if kind is EventKind.CRASH:
                    self.sim.agenda.cut(node.core, lost)
                self.sim.agenda.notice(node.core, lost, partial(node.lose, node.core, lost))

    def _call(
        self, core: SimulatedCore, callback: Callable[..., object], args: tuple[Any, ...]
    ) -> None:
        if core.crashed:
            return
        if self.paused:
            self._posted.append(partial(callback, *args))
            return
        callback(*args)
        self.turn()

    def _resume(self, core: SimulatedCore) -> None:
        if core.crashed or self.paused:
            return
        late_s = self.sim.now() - self._stalled_since_s
        while self._posted:
            self._posted.popleft()()
        self.turn()
        if late_s > LATE_TURN_S:
            core.lag_s += late_s  # as `NodeLoop` does: what is still to come gets more time
        self._fire()
        self.turn()

    def _arm(self) -> None:
        """Have the node woken when its next timer or deadline is due."""
        core = self.core
        due_s = core.next_event_s()
        if due_s is None:
            return
        at_s = self.wake_up_s(due_s)
        if at_s < self._armed_s:
            self._armed_s = at_s
            self.sim.agenda.wake(at_s, self.wake_up, partial(self._is_due, core))

    def _is_due(self, core: SimulatedCore, at_s: float) -> bool:
        """Whether a timer or a deadline is due at `at_s`."""
        if core.crashed or at_s != self._armed_s:
            return False
        self._armed_s = math.inf
        if self._stalled_until_s > at_s:
            return False  # `_resume` looks again
        due_s = core.next_event_s()
        if due_s is not None and due_s + core.lag_s <= at_s:
            return True
        self._arm()
        return False

    def _fire(self) -> None:
        with self.sim.network.as_system():
            self.core.fire()
