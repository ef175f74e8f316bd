"""The state of a simulated system as a short value: equal states, equal fingerprints."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import partial
from hashlib import blake2b
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any

import msgspec

from actors.actor import ActorContext
from actors.core.cell import Cell
from actors.core.guardian import GUARDIAN_NUMBER
from actors.core.node import NodeCore
from actors.ref import ActorRef, Address
from actors.testkit.simulation.agenda import Agenda, Handle
from actors.testkit.simulation.cells import SimulatedCore
from actors.testkit.simulation.events import label
from actors.testkit.simulation.network import Network
from actors.testkit.simulation.node import SimulatedNode
from actors.testkit.simulation.simulation import Simulation

_MACHINERY = (ActorContext, Cell, NodeCore, SimulatedNode, Simulation, Network, Agenda, ModuleType)

_encode = msgspec.msgpack.Encoder(enc_hook=repr).encode


def state_of(value: Any) -> Any:
    """Return a value made of lists and atoms that is equal for equal states.

    It goes through containers, structs, plain objects, functions and their closures. Refs count by
    name; actors' contexts and the simulation itself do not count.
    """
    return _Walk().of(value)


def hashed(state: Any) -> bytes:
    """Return 16 bytes that stand for what `state_of` has returned."""
    return blake2b(_encode(state), digest_size=16).digest()


def node_state(core: SimulatedCore, now_s: float) -> Any:
    """Return the state of a node: its actors, what waits for them, timers and open asks."""
    walk = _Walk()
    cells = [
        (
            cell.ref.name,
            walk.of(cell.actor),
            [walk.of(item.message) for item in cell.mailbox.queue],
            [label(ref) for ref in cell.watching],
            [label(ref) for ref in cell.watchers],
            len(cell.deferred),
        )
        for cell in core.cells.values()
        if cell.ref.address.number != GUARDIAN_NUMBER
    ]
    timers = [
        (due_s + core.time.lag_s - now_s, cell.ref.name, walk.of(key), walk.of(cell.timers[key][1]))
        for due_s, serial, cell, key in sorted(core.timers._heap, key=lambda entry: entry[:2])
        if cell.timers.get(key, (0,))[0] == serial
    ]
    asks = [(_place(ask.target), walk.of(ask.then)) for ask in core.asks._open.values()]
    return (core.name, core.crashed, core.life.paused, list(core.lost), cells, timers, asks)


def _place(address: Address) -> str:
    return f"{address.node}/{address.name}"


class _Walk:
    """One pass through objects; what is met again is named by when it was met first."""

    def __init__(self) -> None:
        self._met: dict[int, int] = {}
        self._kept: list[Any] = []  # an id is good as long as its object lives

    def of(self, value: Any) -> Any:
        kind = type(value)
        way = _WAYS.get(kind)
        if way is None:
            way = _WAYS[kind] = _way_through(kind)
        return way(self, value)

    def once(self, value: Any, way: Callable[[_Walk, Any], Any]) -> Any:
        number = self._met.get(id(value))
        if number is not None:
            return ("met", number)
        self._met[id(value)] = len(self._met)
        self._kept.append(value)
        return way(self, value)


Way = Callable[[_Walk, Any], Any]


def _through_dict(walk: _Walk, value: Any) -> Any:
    of = walk.of
    return [(of(key), of(item)) for key, item in list(value.items())]


def _through_sequence(walk: _Walk, value: Any) -> Any:
    return [walk.of(item) for item in list(value)]


def _through_set(walk: _Walk, value: Any) -> Any:
    return sorted((walk.of(item) for item in value), key=_encode)


def _through_function(walk: _Walk, value: Any) -> Any:
    return (value.__qualname__, [_contents(walk, cell) for cell in value.__closure__ or ()])


def _through_partial(walk: _Walk, value: Any) -> Any:
    return (walk.of(value.func), walk.of(value.args), walk.of(value.keywords))


def _contents(walk: _Walk, cell: CellType) -> Any:
    try:
        return walk.of(cell.cell_contents)
    except ValueError:  # not filled yet
        return None


_FIXED: list[tuple[Any, Way]] = [
    (ActorRef, lambda _walk, value: label(value)),
    (_MACHINERY, lambda _walk, value: type(value).__name__),
    (Enum, lambda _walk, value: value.name),
    (type, lambda _walk, value: value.__qualname__),
    (Handle, lambda _walk, value: (value.name, value.cancelled)),
    (MethodType, lambda walk, value: (value.__func__.__qualname__, walk.of(value.__self__))),
    (FunctionType, lambda walk, value: walk.once(value, _through_function)),
    (BuiltinFunctionType, lambda _walk, value: value.__qualname__),
    (partial, _through_partial),
    (itertools.count, lambda _walk, value: repr(value)),
    (BaseException, lambda walk, value: (type(value).__name__, walk.of(value.args))),
    (dict, lambda walk, value: walk.once(value, _through_dict)),
    (list | tuple | deque, lambda walk, value: walk.once(value, _through_sequence)),
    (set | frozenset, _through_set),
    (int | float | str | bytes, lambda _walk, value: repr(value)),
]

_WAYS: dict[type, Way] = {
    kind: lambda _walk, value: value for kind in (type(None), bool, int, float, str, bytes)
}
_WAYS[tuple] = _through_sequence


def _way_through(kind: type) -> Way:
    """Return how to look at values of a type."""
    for kinds, way in _FIXED:
        if issubclass(kind, kinds):
            return way
    name = kind.__name__
    names = list(getattr(kind, "__struct_fields__", ()))
    if not names:
        for base in kind.__mro__:
            slots = vars(base).get("__slots__", ())
            names += (slots,) if isinstance(slots, str) else slots
    names = [found for found in names if found not in ("__dict__", "__weakref__")]

    def through(walk: _Walk, value: Any) -> Any:
        state: list[Any] = [name]
        state += [walk.of(getattr(value, slot, None)) for slot in names]
        attributes = getattr(value, "__dict__", None)
        if attributes:
            state.append(_through_dict(walk, attributes))
        return state

    return lambda walk, value: walk.once(value, through)
