"""Makes a script that fails smaller, as long as it fails in the same way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from actors.testkit.simulation.shrink import shrink as shortest
from tests.simulation.drawing import draw_script
from tests.simulation.plans import Cancel, Drop, Plan, Read, Script, Submit
from tests.simulation.runner import Failure, run_script

T = TypeVar("T")

ABOUT_TASKS = (Submit, Cancel, Drop, Read)


def smallest(failure: Failure, tries: int) -> Script:
    """Return the smallest script found that fails as a seed does."""
    seed = failure.seed
    return shrink(draw_script(seed), breaks(seed, failure.invariant), tries)


def breaks(seed: int, invariant: str) -> Callable[[Script], bool]:
    """Return what tells whether a script, run with the delays of `seed`, breaks `invariant`."""

    def fails(script: Script) -> bool:
        failure = run_script(script, seed).failure
        return failure is not None and failure.invariant == invariant

    return fails


def shrink(script: Script, still_fails: Callable[[Script], bool], tries: int = 2_000) -> Script:
    """Leave out kinds of faults, then single ones, then users' doings, then tasks.

    Args:
        script: fails.
        still_fails: whether a smaller one fails in the same way.
        tries: how often that is asked, at most.
    """
    left = [tries]

    def fails(smaller: Script) -> bool:
        left[0] -= 1
        return left[0] >= 0 and still_fails(smaller)

    before = None
    while before != script and left[0] > 0:
        before = script
        script = _without_kinds(script, fails)
        script = _smaller(script, "faults", fails)
        script = _smaller(script, "ops", fails)
        script = _without_tasks(script, fails)
    return script


def _without_kinds(script: Script, fails: Callable[[Script], bool]) -> Script:
    for kind in dict.fromkeys(type(act) for act in (*script.faults, *script.ops)):
        smaller = msgspec.structs.replace(
            script,
            faults=tuple(act for act in script.faults if type(act) is not kind),
            ops=tuple(act for act in script.ops if type(act) is not kind),
        )
        if smaller.ops and fails(smaller):
            script = smaller
    return script


def _smaller(script: Script, field: str, fails: Callable[[Script], bool]) -> Script:
    kept = _least(getattr(script, field), lambda some: fails(_with(script, field, tuple(some))))
    return _with(script, field, tuple(kept))


def _without_tasks(script: Script, fails: Callable[[Script], bool]) -> Script:
    used = [place for op in script.ops if isinstance(op, ABOUT_TASKS) for place in op.tasks]
    kept = _least(list(dict.fromkeys(used)), lambda some: fails(_only(script, some)))
    return _only(script, kept)


def _only(script: Script, places: Sequence[int]) -> Script:
    """Submit and cancel these tasks only. Their places stay what they are."""
    wanted = dict.fromkeys(places)
    ops: list[Any] = []
    for op in script.ops:
        if isinstance(op, ABOUT_TASKS):
            some = tuple(place for place in op.tasks if place in wanted)
            if some:
                ops.append(msgspec.structs.replace(op, tasks=some))
        else:
            ops.append(op)
    return _with(script, "ops", tuple(ops))


def _with(script: Script, field: str, value: Any) -> Script:
    return msgspec.structs.replace(script, **{field: value})


def _least(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    try:
        return shortest(items, fails)
    except ValueError:  # it fails no more: there are no tries left
        return list(items)


def pieces(script: Script) -> list[str]:
    """Return a script as lines to read: only the tasks that are submitted."""
    lines = [_json(script.options)]
    for op in script.ops:
        if isinstance(op, Submit):
            lines += [f"task {place}: {_json(script.tasks[place])}" for place in op.tasks]
    acts = sorted((*script.ops, *script.faults), key=lambda act: act.at_s)
    return [*lines, *map(_json, acts)]


def _json(plan: Plan) -> str:
    return msgspec.json.encode(plan).decode()
