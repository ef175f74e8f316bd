"""`SimulatedLoop`: the turns of a node, where `NodeLoop` runs them in production."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from actors.ref import ActorRef
from actors.testkit.simulation.errors import LivelockError
from actors.testkit.simulation.events import Event, EventKind

if TYPE_CHECKING:
    from actors.testkit.simulation.cells import SimulatedCore
    from actors.testkit.simulation.simulation import Simulation

_ROUNDS_PER_TURN = 100
_NEXT_TURN_S = 0.00001


class SimulatedLoop:
    """Runs the turns of one node, when there is something to do and the node is not paused.

    Attributes:
        core: the production node that runs now.
    """

    core: SimulatedCore

    def __init__(self, sim: Simulation) -> None:
        """Belong to `sim`."""
        self.sim = sim
        self._notes: list[tuple[EventKind, ActorRef | None, ActorRef | None, Any]] = []
        self._posted: deque[Callable[[], object]] = deque()
        self._stalled_until_s = 0.0
        self._armed_s = math.inf

    def begin(self, core: SimulatedCore) -> None:
        """Run `core` from now on."""
        self.core = core
        self._stalled_until_s = 0.0
        self._armed_s = math.inf

    def forget(self) -> None:
        """Drop what was still to be done: the node has ended."""
        self._posted.clear()
        self._notes.clear()

    @property
    def paused(self) -> bool:
        """Whether it handles nothing now."""
        return self._stalled_until_s > self.sim.now()

    def stall(self, seconds: float) -> None:
        """Handle nothing for a while."""
        until_s = self.sim.now() + seconds
        if not self.paused:
            self.core.time.expect(self.sim.now())
        if until_s > self._stalled_until_s:
            self._stalled_until_s = until_s
            self.sim.agenda.wake(until_s, partial(self._resume, self.core))

    def post(self, callback: Callable[[], object]) -> None:
        """Call back on the node's thread, and have its turn follow; after a pause, if it is one."""
        if self.paused:
            self._posted.append(callback)
        else:
            callback()
            self.turn()

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
        else:
            raise LivelockError(f"the actors of node {core.name} keep each other busy in one turn")
        self._arm()
        if self._notes:
            notes, self._notes = self._notes, []
            for kind, source, target, message in notes:
                sim.tell_event(Event(kind, now_s, source, target, message))

    def wake_up_s(self, due_s: float) -> float:
        """Return when the turn is that handles what is due at `due_s` on the node's clock."""
        lag_s = self.core.time.lag_s
        at_s = due_s + lag_s
        while at_s - lag_s < due_s:  # rounded down
            at_s = math.nextafter(at_s, math.inf)
        now_s = self.sim.agenda.now_s
        return at_s if at_s > now_s else now_s + _NEXT_TURN_S  # the next turn is a moment later

    def wake_up(self) -> None:
        """Handle the timers and deadlines that are due."""
        self._fire()
        self.turn()

    def _resume(self, core: SimulatedCore) -> None:
        if core.crashed or self.paused:
            return
        while self._posted:
            self._posted.popleft()()
        self.turn()
        core.time.go_on()  # as `NodeLoop` does: what is still to come gets more time
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
        if due_s is not None and due_s + core.time.lag_s <= at_s:
            return True
        self._arm()
        return False

    def _fire(self) -> None:
        with self.sim.network.as_system():
            self.core.fire()
