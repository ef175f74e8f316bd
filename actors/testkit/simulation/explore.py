"""`explore`: every order in which things may happen, for a small system."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from actors.ref import ActorRef
from actors.testkit.simulation.choices import Choices, name_of_choice, node_of_choice
from actors.testkit.simulation.errors import CounterexampleError
from actors.testkit.simulation.fingerprint import hashed, node_state, state_of
from actors.testkit.simulation.simulation import Simulation

W = TypeVar("W")

_STARTS_PER_COLLECTION = 100
_NOTHING: frozenset[str] = frozenset()


class Exploration(msgspec.Struct):
    """What `explore` has covered."""

    states: int = 0
    """Different states seen."""
    transitions: int = 0
    """Steps taken from one state to another, those of replays not counted."""
    ends: int = 0
    """States in which nothing is left to happen."""
    depth: int = 0
    """Steps of the longest way."""
    seconds: float = 0.0
    complete: bool = False
    """Whether every reachable state was seen; if not, a bound was met."""

    def __str__(self) -> str:
        how = "complete" if self.complete else "stopped at a bound"
        return (
            f"{self.states} states, {self.transitions} transitions, {self.ends} ends, "
            f"depth {self.depth}, {self.seconds:.1f} s, {how}"
        )


def explore(
    build: Callable[[Simulation], W],
    check: Callable[[W], None] | None = None,
    *,
    check_end: Callable[[W], None] | None = None,
    fingerprint: Callable[[W], Any] | None = None,
    describe: Callable[[Any], Any] | None = None,
    max_states: int = 200_000,
    max_seconds: float = 600.0,
    max_depth: int = 1_000,
    any_timers: bool | float = False,
    independent_nodes: bool = False,
    expect_failures: bool | Callable[[ActorRef, Exception], bool] = False,
    discard: Callable[[W], None] | None = None,
) -> Exploration:
    """Try all orders in which messages, callbacks and crashes may come.

    Delays do not count here: at each step the first message of any lane may be next, any callback
    of `after`, any notice of a crash; timers come when nothing else may. A way back is a new run
    that replays the first part of the way, so nothing of the system needs to be copied.

    Args:
        build: makes nodes and actors in a new simulation; returns whatever `check` needs. It is
            called very often and must do the same each time.
        check: called in each new state; raises `InvariantError` if the state is wrong.
        check_end: called in each state in which nothing is left to happen.
        fingerprint: returns what of the world makes a state; two states with equal fingerprints
            (and equal messages on their way) count as one. Default: all actors, timers and asks,
            and all that `build` returned.
        describe: returns what of a message on its way makes a state. Default: all its fields.
        max_states: stop after so many states.
        max_seconds: stop after so many seconds of real time.
        max_depth: longest way.
        any_timers: whether the next timer may also come before all else; a number: only if it is
            due within so many seconds.
        independent_nodes: promise that actors and models of different nodes share nothing, and
            that `check` does not mind the order of what different nodes do. Saves time.
        expect_failures: as for `Simulation`.
        discard: called with what `build` returned when it is not needed any more. Some hundred
            systems are made each second: if a cycle through structs with `gc=False` may be left in
            yours, which Python cannot free, cut it here.

    Raises:
        CounterexampleError: a check or an actor failed; it says after which steps.
    """
    search = _Search(build, check, check_end, fingerprint, any_timers, expect_failures)
    search.independent_nodes = independent_nodes
    search.describe = describe or state_of
    search.discard = discard
    collects = gc.isenabled()
    gc.disable()  # each step back leaves a whole world: it is cleared away by the search itself
    try:
        return search.run(max_states, max_seconds, max_depth)
    finally:
        if collects:
            gc.enable()


def replay(
    build: Callable[[Simulation], W],
    path: Sequence[int],
    *,
    any_timers: bool | float = False,
    expect_failures: bool | Callable[[ActorRef, Exception], bool] = False,
) -> tuple[Simulation, W]:
    """Take the steps of a `CounterexampleError.path` again, with a trace.

    Raises:
        SimulationError: what went wrong, goes wrong again.
    """
    agenda = Choices(early_s=_early_s(any_timers))
    sim = Simulation(0, agenda=agenda, expect_failures=expect_failures, keep_trace=True)
    agenda.cores = sim.network.cores
    world = build(sim)
    sim.settle()
    for index in path:
        agenda.chosen = index
        sim.step()
    return sim, world


def _early_s(any_timers: bool | float) -> float:
    return math.inf if any_timers is True else float(any_timers)


class _Frame:
    """A state on the way to the current one, and what is still to be tried there."""

    __slots__ = ("chosen", "names", "nodes", "parts", "position", "sleep", "todo")

    def __init__(
        self,
        names: list[str],
        nodes: list[str],
        todo: list[int],
        sleep: frozenset[str],
        parts: dict[str, bytes],
    ) -> None:
        self.parts = parts
        self.names = names
        self.nodes = nodes
        self.todo = todo
        self.sleep = sleep
        self.position = 0
        self.chosen = 0


class _Search:
    """Depth first; the states of the way are `_frames`, the last one is the current."""

    def __init__(
        self,
        build: Callable[[Simulation], Any],
        check: Callable[[Any], None] | None,
        check_end: Callable[[Any], None] | None,
        fingerprint: Callable[[Any], Any] | None,
        any_timers: bool | float,
        expect_failures: bool | Callable[[ActorRef, Exception], bool],
    ) -> None:
        self._build = build
        self._check = check
        self._check_end = check_end
        self._fingerprint = fingerprint
        self._any_timers = any_timers
        self._expect_failures = expect_failures
        self.independent_nodes = False
        self.describe: Callable[[Any], Any] = state_of
        self.discard: Callable[[Any], None] | None = None
        self._starts = 0
        self._seen: dict[bytes, frozenset[str]] = {}
        self._frames: list[_Frame] = []
        self._result = Exploration()
        self._agenda: Choices
        self._sim: Simulation
        self._world: Any

    def run(self, max_states: int, max_seconds: float, max_depth: int) -> Exploration:
        result, frames = self._result, self._frames
        begun = time.monotonic()
        whole = True
        try:
            self._start()
            is_there = self._arrive(_NOTHING)
            while frames:
                result.seconds = time.monotonic() - begun
                if result.states >= max_states or result.seconds >= max_seconds:
                    whole = False
                    break
                frame = frames[-1]
                if frame.position == len(frame.todo) or len(frames) > max_depth:
                    whole = whole and frame.position == len(frame.todo)
                    frames.pop()
                    is_there = False
                    continue
                if not is_there:
                    self._go_back()
                sleep = self._choose(frame)
                self._step(frame.chosen)
                result.transitions += 1
                is_there = self._arrive(sleep)
        except CounterexampleError:
            raise
        except Exception as error:
            steps = [frame.names[frame.chosen] for frame in frames]
            path = [frame.chosen for frame in frames]
            raise CounterexampleError(path, steps, str(error) or repr(error)) from error
        result.complete = whole
        return result

    def _start(self) -> None:
        if self._starts:
            self._let_go()
        self._starts += 1
        if self._starts % _STARTS_PER_COLLECTION == 0:
            gc.collect(1)  # what is left of the worlds before
        self._agenda = Choices(early_s=_early_s(self._any_timers))
        self._sim = Simulation(
            0, agenda=self._agenda, expect_failures=self._expect_failures, digest=False
        )
        self._agenda.cores = self._sim.network.cores
        self._world = self._build(self._sim)
        self._sim.settle()

    def _let_go(self) -> None:
        """Cut the cycles of the last world that lead through messages: `gc` does not see those."""
        self._agenda.clear()
        for core in self._sim.network.cores.values():
            for number in core.asks.all():
                core.asks.take(number)
            for cell in core.cells.values():
                cell.mailbox.queue.clear()
        if self.discard is not None:
            self.discard(self._world)

    def _step(self, index: int) -> None:
        self._agenda.chosen = index
        self._sim.step()

    def _go_back(self) -> None:
        """Come to the current state again."""
        self._start()
        for frame in self._frames[:-1]:
            self._step(frame.chosen)

    def _arrive(self, sleep: frozenset[str]) -> bool:
        """Look at the state; whether there is anything to try in it."""
        enabled = self._agenda.enabled()
        parts = self._parts()
        key = hashed((self._agenda.pending(self.describe), list(parts.values())))
        names = [name_of_choice(choice) for choice in enabled]
        before = self._seen.get(key)
        if before is None:
            self._new_state(key, sleep, names)
            todo = [index for index, name in enumerate(names) if name not in sleep]
        elif before <= sleep:
            return False
        else:
            self._seen[key] = before & sleep
            todo = [
                index for index, name in enumerate(names) if name in before and name not in sleep
            ]
        if not todo:
            return False
        nodes = [node_of_choice(choice) for choice in enabled]
        self._frames.append(_Frame(names, nodes, todo, sleep, parts))
        self._result.depth = max(self._result.depth, len(self._frames))
        return True

    def _parts(self) -> dict[str, bytes]:
        """Return the hashed states of all nodes and of the world; what cannot have changed since
        the last frame is taken from there.
        """
        sim = self._sim
        if self._fingerprint is not None:
            return {"": hashed(state_of(self._fingerprint(self._world)))}
        known: dict[str, bytes] = {}
        if self.independent_nodes and self._frames:
            frame = self._frames[-1]
            touched = frame.nodes[frame.chosen]
            if touched:
                known = {name: part for name, part in frame.parts.items() if name != touched}
        now_s = sim.now()
        parts = {"": hashed(state_of(self._world))}
        for name, core in sim.network.cores.items():
            parts[name] = known.get(name) or hashed(node_state(core, now_s))
        return parts

    def _new_state(self, key: bytes, sleep: frozenset[str], names: list[str]) -> None:
        self._seen[key] = sleep
        self._result.states += 1
        if self._check is not None:
            self._check(self._world)
        if not names:
            self._result.ends += 1
            if self._check_end is not None:
                self._check_end(self._world)

    def _choose(self, frame: _Frame) -> frozenset[str]:
        """Choose what to try next; return what need not be tried right after it.

        If two steps touch different nodes, their order does not matter: what was tried before this
        one need not be tried again after it (a "sleep set").
        """
        index = frame.todo[frame.position]
        earlier = frame.todo[: frame.position]
        frame.position += 1
        frame.chosen = index
        node = frame.nodes[index]
        if not self.independent_nodes or not node:
            return _NOTHING
        return frozenset(
            name
            for number, (name, other) in enumerate(zip(frame.names, frame.nodes, strict=True))
            if (number in earlier or name in frame.sleep)
            and other not in ("", node)
            and frame.names.count(name) == 1
        )
