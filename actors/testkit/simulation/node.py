"""`SimulatedNode`: the life of a node, its turns, pauses, crashes and restarts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from actors.actor import DEFAULT_SUPERVISION, Actor
from actors.core.guardian import GUARDIAN_SUPERVISION, Guardian
from actors.errors import NodeUnreachableError
from actors.ref import ActorRef
from actors.supervision import Supervision
from actors.testkit.simulation.cells import SimulatedCore
from actors.testkit.simulation.events import EventKind, name_of
from actors.testkit.simulation.loop import SimulatedLoop

if TYPE_CHECKING:
    from actors.testkit.simulation.agenda import Handle
    from actors.testkit.simulation.simulation import Simulation

OUTSIDE = "outside"
"""Name of the node of all that is not an actor."""


class SimulatedNode(SimulatedLoop):
    """One node of a simulation: a process that may crash, freeze and start again.

    Attributes:
        name: what it was named.
        core: the production node that runs now; another one after a restart.
    """

    def __init__(
        self, sim: Simulation, name: str, setup: Callable[[SimulatedNode], None] | None = None
    ) -> None:
        """Use `Simulation.node`."""
        super().__init__(sim)
        self.name = name
        self._setup = setup
        self._lives = 0
        self._wall_offset_s = 0.0
        self._begin()

    @property
    def alive(self) -> bool:
        """Whether it has not crashed."""
        return not self.core.crashed

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

    # --- for the simulation -----------------------------------------------------------------

    def lose(self, core: SimulatedCore, name: str) -> None:
        """Learn that another node has crashed."""
        if not core.crashed:
            self.post(partial(self._lose, core, name))

    def _lose(self, core: SimulatedCore, name: str) -> None:
        core.lost[name] = None
        self.note(EventKind.NODE_LOST, None, None, f"{self.name}: {name}")
        with self.sim.network.as_system():
            core.node_lost(name, NodeUnreachableError(f"node {name} is gone: it crashed"))

    def _begin(self) -> None:
        self._lives += 1
        name = self.name if self._lives == 1 else f"{self.name}#{self._lives}"
        self.begin(SimulatedCore(name, self))
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
        self.forget()
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
        if not core.crashed:
            self.post(partial(callback, *args))
