"""How a seed draws what is large, and how little room there is for it."""

from __future__ import annotations

from random import Random

import msgspec

from tests.simulation.plans import Op, Options, Read, Submit, TaskPlan

MIB = 1 << 20
_LARGE_BYTES = (100_000, 100_000, 3 * MIB, 9 * MIB)
"""The first are read, the others mapped; of the largest, two make it worth to tell that they are
freed."""


def has_objects(seed: int) -> bool:
    """Whether there are large arguments and results: in three seeds of ten."""
    return Random(f"objects {seed}").random() < 0.3


def has_spilling(seed: int) -> bool:
    """Whether these have less room than they need: in a third of those."""
    return has_objects(seed) and Random(f"spilling {seed}").random() < 0.35


def draw_objects(random: Random, tasks: tuple[TaskPlan, ...]) -> tuple[TaskPlan, ...]:
    """Let some tasks have large arguments, and others large results."""
    share = random.choice((0.1, 0.5, 1.0))
    keeps = random.choice((0.0, 0.1, 0.5))
    changed = list(tasks)
    for place, plan in enumerate(tasks):
        if random.random() < share:
            count = random.choice((0, 0, 1, 1, 1, 2))
            changed[place] = msgspec.structs.replace(
                plan,
                argument_bytes=tuple(random.choice(_LARGE_BYTES) for _ in range(count)),
                result_bytes=random.choice((0, *_LARGE_BYTES)),
                passes=random.random() < 0.3,
                keeps=random.choice((1, 2, 5, -1)) if random.random() < keeps else 0,
            )
    return tuple(changed)


def draw_spilling(
    random: Random, options: Options, tasks: tuple[TaskPlan, ...], ops: tuple[Op, ...]
) -> tuple[Options, tuple[TaskPlan, ...], tuple[Op, ...]]:
    """Let objects have little room, a disk that may be bad, and users who drop what they read."""
    options = msgspec.structs.replace(
        options,
        kinds=(*options.kinds, "spilling"),
        object_store_bytes=random.choice((5, 10, 20, 40, 80)) * MIB,
        disk_full_share=random.choice((0.0, 0.0, 0.05, 0.5, 1.0)),
        disk_damaged_share=random.choice((0.0, 0.0, 0.0, 0.05)),
    )
    watched, lets_go = random.choice((0.0, 0.3, 0.8)), random.choice((0.0, 0.8, 1.0))
    tasks = tuple(
        msgspec.structs.replace(
            plan,
            watched=random.random() < watched,
            lets_go=random.random() < lets_go,
        )
        for plan in tasks
    )
    reads = [_draw_read(random, op) for op in ops if isinstance(op, Submit)]
    return options, tasks, tuple(sorted((*ops, *reads), key=lambda op: op.at_s))


def _draw_read(random: Random, burst: Submit) -> Read:
    """A user looks at what has come of a burst, a while later."""
    at_s = burst.at_s + random.choice((0.01, 0.1, 1.0, 10.0)) * random.random()
    return Read(at_s=at_s, client=burst.client, tasks=burst.tasks)
