"""How a seed draws its script: the options first, then tasks, users and faults."""

from __future__ import annotations

from random import Random

import msgspec

from actors.testkit.simulation import Delays
from scaler.protocol.tasks import DEFAULT_POLICY, TaskPolicy
from tests.simulation.large import MIB, draw_objects, draw_spilling, has_objects, has_spilling
from tests.simulation.plans import (
    Act,
    Cancel,
    Close,
    CrashNode,
    Drop,
    Ending,
    FailLaunches,
    FailStarts,
    Fault,
    FreezeExecutor,
    JumpClock,
    KillExecutor,
    KillLauncher,
    Leave,
    Look,
    Op,
    Options,
    PauseNode,
    Script,
    Style,
    Submit,
    TaskPlan,
)

FAULTS = ("kills", "freezes", "starts", "launchers", "pauses", "clocks", "stalls", "slow")
ODDITIES = (
    "cancels", "batches", "styles", "errors", "pickles", "poison", "prints", "limits", "policies",
    "drops", "closes", "leaves", "recycles", "memory", "chunks", "hangs", "loops",
)  # fmt: skip
_PAUSES_S = (*[0.01, 0.3, 3.0] * 5, 40.0)
CALM = Delays(local_s=(0.0, 0.00005), remote_s=(0.0001, 0.0005), slow_share=0.0, stall_share=0.0)


def draw_script(seed: int) -> Script:
    """Return what the seed does."""
    random = Random(f"script {seed}")
    options = draw_options(random)
    tasks = tuple(_draw_task(random, options) for _ in range(_task_count(random)))
    ops = _draw_ops(random, options, tasks)
    last_s = max(op.at_s for op in ops)
    faults = _draw_faults(random, options, last_s)
    tasks = _draw_rare(Random(f"rare {seed}"), tasks)
    tasks = _draw_needs(Random(f"needs {seed}"), tasks)
    if has_objects(seed):
        large = Random(f"objects {seed}")
        large.random()  # which said that there are some
        options = msgspec.structs.replace(options, kinds=(*options.kinds, "objects"))
        tasks = draw_objects(large, tasks)
    if has_spilling(seed):
        options, tasks, ops = draw_spilling(Random(f"little room {seed}"), options, tasks, ops)
    return Script(options=options, tasks=tasks, ops=ops, faults=faults)


def draw_options(random: Random) -> Options:
    """Draw the size and the roughness of a world. A third of them has next to no faults."""
    calm = random.random() < 0.35
    faults = [] if calm else [kind for kind in FAULTS if random.random() < 0.4]
    kinds = [*faults, *(kind for kind in ODDITIES if random.random() < 0.55)]
    if not calm and random.random() < 0.06:
        kinds.append("end")
    workers = random.choice((1, 1, 2, 2, 2, 3, 4, 4, 6, 8))
    hosts = random.choice((0, 0, 1, 2)) if workers > 1 else random.choice((0, 0, 1))
    return Options(
        workers=workers,
        clients=random.choice((1, 1, 1, 2, 2, 3)),
        hosts=hosts,
        delays=_draw_delays(random, slow="slow" in kinds, alone=not hosts),
        start_s=random.choice((0.005, 0.05, 0.05, 0.5)),
        kill_s=random.choice((0.0005, 0.0005, 0.02)),
        stall=random.choice((0.01, 0.1)) if "stalls" in kinds else 0.0,
        cancel_finished=random.random() < 0.7,
        max_tasks_per_executor=random.choice((1, 5, 50)) if "recycles" in kinds else 0,
        max_memory_per_executor=100 * MIB if "memory" in kinds else 0,
        credit_tasks=random.choice((5, 50, 1_000, 1_000, 1_000)),
        cancel_grace_s=random.choice((0.0, 0.02, 0.2, 1.0, 1.0, 1.0)),
        kinds=tuple(kinds),
    )


def _draw_delays(random: Random, *, slow: bool, alone: bool) -> Delays:
    """Draw how long messages travel; within one node they may all arrive at once."""
    at_once = alone and random.random() < 0.4
    local_s = random.choice((0.00005, 0.0005, 0.005)) if slow else 0.00005
    remote_s = 10 ** random.uniform(-3.5, -1.3)
    delays = CALM
    if slow:
        delays = Delays(
            remote_s=(remote_s * random.choice((0.05, 0.5)), remote_s),
            slow_share=random.choice((0.0, 0.01, 0.1)),
            slow_s=(0.0, random.choice((0.02, 0.2))),
            stall_share=random.choice((0.0, 0.02, 0.2)),
            stall_s=(0.0, random.choice((0.002, 0.02))),
            detect_s=(0.0, random.choice((0.01, 0.2, 2.0))),
        )
    return msgspec.structs.replace(delays, local_s=None if at_once else (0.0, local_s))


def _task_count(random: Random) -> int:
    return random.choice((20, 100, 250, 300, 300, 350, 400, 500))


# --- tasks ------------------------------------------------------------------------------------


def _draw_task(random: Random, options: Options) -> TaskPlan:
    kinds = options.kinds
    style = Style.UNWINDS
    if "styles" in kinds and random.random() < 0.5:
        style = random.choice([style for style in Style if style is not Style.HANGS])
    if "hangs" in kinds and random.random() < 0.1:
        style = Style.HANGS
    return TaskPlan(
        client=random.randrange(options.clients),
        run_s=_draw_run_s(random, style),
        function=random.randrange(random.choice((1, 3, 8))),
        style=style,
        unwind_s=random.choice((0.0, 0.001, 0.03, 0.3)),
        endings=_draw_endings(random, kinds),
        prints=random.choice((1, 1, 3)) if "prints" in kinds and random.random() < 0.2 else 0,
        items=random.choice((2, 20)) if "chunks" in kinds and random.random() < 0.3 else 0,
        payload_bytes=random.choice((0, 10, 1_000)),
        rss_bytes=_draw_rss_bytes(random) if "memory" in kinds else 0,
        leaks=random.random() < 0.3,
        policy=_draw_policy(random, kinds) if "policies" in kinds else DEFAULT_POLICY,
        watched=random.random() < 0.8,
    )


def _draw_rare(random: Random, tasks: tuple[TaskPlan, ...]) -> tuple[TaskPlan, ...]:
    """Put what happens rarely into some tasks of a few seeds. The others stay as they are."""
    changed = list(tasks)
    if random.random() < 0.06:
        for place in random.sample(range(len(tasks)), random.randint(1, 3)):
            changed[place] = msgspec.structs.replace(
                tasks[place], style=Style.IN_C, run_s=random.choice((0.1, 1.0)), stuck_s=30.0
            )
    if random.random() < 0.06:
        place = random.randrange(len(tasks))
        changed[place] = msgspec.structs.replace(changed[place], kills_receiver=True)
    return tuple(changed)


def _draw_needs(random: Random, tasks: tuple[TaskPlan, ...]) -> tuple[TaskPlan, ...]:
    """Let some tasks of a quarter of the seeds need results of others of their client."""
    if random.random() > 0.25:
        return tasks
    share, changed = random.choice((0.1, 0.5, 1.0)), list(tasks)
    own: dict[int, list[int]] = {}
    for place, plan in enumerate(tasks):
        before = own.setdefault(plan.client, [])
        if before and random.random() < share:
            near = before[-random.choice((1, 5, 100)) :]
            needs = tuple(random.sample(near, min(len(near), random.choice((1, 1, 2, 5)))))
            changed[place] = msgspec.structs.replace(plan, needs=needs)
        before.append(place)
    return tuple(changed)


def _draw_run_s(random: Random, style: Style) -> float:
    if style is not Style.UNWINDS and random.random() < 0.3:
        return random.choice((0.1, 1.0))
    typical_s = random.choice((0.00002, 0.0002, 0.001, 0.001, 0.005, 0.02))
    return (
        typical_s * (0.5 + random.random()) if random.random() < 0.98 else random.choice((0.3, 1.0))
    )


def _draw_endings(random: Random, kinds: tuple[str, ...]) -> tuple[Ending, ...]:
    draw = random.random()
    if "errors" in kinds and draw < 0.15:
        fails = random.choice((Ending.RAISE, Ending.RAISE, Ending.RAISE_FINALLY))
        return random.choice(((fails,), (fails, Ending.VALUE), (fails, fails, Ending.VALUE)))
    if "pickles" in kinds and 0.15 < draw < 0.2:
        return (Ending(random.randrange(Ending.BAD_ARGUMENTS, Ending.EXIT)),)
    if "poison" in kinds and 0.2 < draw < 0.25:
        dies = random.choice((Ending.EXIT, Ending.CRASH))
        return random.choice(((dies,), (dies, Ending.VALUE), (dies, dies, Ending.RAISE)))
    return (Ending.VALUE,)


def _draw_rss_bytes(random: Random) -> int:
    return random.choice((0, 0, 0, 0, 0, 60, 60, 90, 150)) * MIB


def _draw_policy(random: Random, kinds: tuple[str, ...]) -> TaskPolicy:
    if random.random() < 0.5:
        return DEFAULT_POLICY
    limited = 0.3 if "limits" in kinds else 0.0
    return TaskPolicy(
        retries=random.choice((0, 0, 1, 2, 5)),
        backoff_s=random.choice((0.0, 0.0, 0.01, 0.1)),
        jitter=random.choice((0.0, 0.25, 1.0)),
        max_attempts=random.choice((1, 2, 3, 3)),
        timeout_s=random.choice((0.002, 0.02, 0.2)) if random.random() < limited else None,
        deadline_s=random.choice((0.005, 0.05, 0.3, 2.0)) if random.random() < limited else None,
    )


# --- users ------------------------------------------------------------------------------------


def _draw_ops(random: Random, options: Options, tasks: tuple[TaskPlan, ...]) -> tuple[Op, ...]:
    ops: list[Op] = []
    span_s = random.choice((0.01, 0.1, 0.5, 2.0))
    for client in range(options.clients):
        own = [place for place, plan in enumerate(tasks) if plan.client == client]
        while own:
            burst = tuple(own[: random.choice((1, 3, 20, 100))])
            del own[: len(burst)]
            at_s = span_s * random.random()
            ops.append(Submit(at_s=at_s, client=client, tasks=burst))
            ops += _draw_reactions(random, options, client, burst, at_s)
        ops += _draw_endings_of(random, options, client, span_s)
    ops.append(Look(at_s=span_s * random.random()))
    return tuple(sorted(ops, key=lambda op: op.at_s))


def _draw_reactions(
    random: Random,
    options: Options,
    client: int,
    burst: tuple[int, ...],
    at_s: float,
) -> list[Op]:
    """What a user does with the futures of one burst."""
    kinds = options.kinds
    ops: list[Op] = []
    if "cancels" in kinds:
        cancels = [
            _draw_cancel(random, options, client, (place,), at_s)
            for place in burst
            for _ in range(random.choice((0, 0, 0, 1, 1, 2)))
        ]
        ops += cancels
        ops += [_draw_second(random, op) for op in cancels if random.random() < 0.25]
    if "batches" in kinds and random.random() < 0.5:
        some = tuple(sorted(random.sample(burst, random.randint(1, len(burst)))))
        ops.append(_draw_cancel(random, options, client, some, at_s))
    if "drops" in kinds and random.random() < 0.2:
        some = tuple(place for place in burst if random.random() < 0.3)
        ops.append(Drop(at_s=at_s + 0.1 * random.random(), client=client, tasks=some))
    return ops


def _draw_cancel(
    random: Random, options: Options, client: int, places: tuple[int, ...], at_s: float
) -> Cancel:
    return Cancel(
        at_s=at_s + random.choice((0.0, 0.001, 0.01, 0.1, 0.5)) * random.random(),
        client=client,
        tasks=places,
        force=random.random() < 0.75,
        timeout_s=random.choice((30.0, 30.0, 30.0, 0.0, 0.001, 0.1)),
        grace_s=random.choice((None, None, None, 0.0, 0.01, 0.5)),
        unconfirmed="loops" in options.kinds and random.random() < 0.2,
    )


def _draw_second(random: Random, first: Cancel) -> Cancel:
    """The same user, or another thread of his, cancels again at nearly the same time."""
    return msgspec.structs.replace(
        first,
        at_s=first.at_s + random.choice((0.0, 0.0003, 0.003)) * random.random(),
        force=random.random() < 0.6,
        timeout_s=random.choice((30.0, 30.0, 0.001)),
        grace_s=random.choice((None, None, 0.0)),
    )


def _draw_endings_of(random: Random, options: Options, client: int, span_s: float) -> list[Op]:
    kinds, at_s = options.kinds, span_s * 1.2 * random.random()
    if "closes" in kinds and random.random() < 0.4:
        return [Close(at_s=at_s, client=client, in_callback=random.random() < 0.3)]
    if "leaves" in kinds and options.hosts and random.random() < 0.4:
        return [Leave(at_s=at_s, client=client)]
    return []


# --- faults -----------------------------------------------------------------------------------


def _draw_faults(random: Random, options: Options, last_s: float) -> tuple[Fault, ...]:
    faults: list[Fault] = []
    nodes = 1 + (options.hosts + options.clients if options.hosts else 0)

    def some(most: int) -> range:
        return range(random.randint(1, most))

    def at_s() -> float:
        return last_s * random.random()

    def worker() -> int:
        return random.randrange(options.workers)

    kinds = options.kinds
    if "kills" in kinds:
        faults += [KillExecutor(at_s=at_s(), worker=worker()) for _ in some(8)]
    if "freezes" in kinds:
        faults += [
            FreezeExecutor(at_s=at_s(), worker=worker(), for_s=random.choice((0.02, 0.2, 2.0)))
            for _ in some(4)
        ]
    if "starts" in kinds:
        for _ in some(3):
            number, when_s = worker(), at_s()
            faults += [
                random.choice((FailStarts, FailStarts, FailLaunches))(
                    at_s=when_s, worker=number, times=random.randint(1, 4)
                ),
                KillExecutor(at_s=when_s, worker=number),
            ]
    if "launchers" in kinds:
        hosts = max(options.hosts, 1)
        faults += [KillLauncher(at_s=at_s(), host=random.randrange(hosts)) for _ in some(2)]
    if "pauses" in kinds:
        faults += [
            PauseNode(at_s=at_s(), node=random.randrange(nodes), for_s=random.choice(_PAUSES_S))
            for _ in some(4)
        ]
    if "clocks" in kinds:
        faults += [
            JumpClock(
                at_s=at_s(), node=random.randrange(nodes), by_s=random.choice((-3600.0, 5.0, 1e6))
            )
            for _ in some(2)
        ]
    if "end" in kinds:
        faults.append(CrashNode(at_s=at_s(), node=random.randrange(nodes)))
    return tuple(sorted(faults, key=_at_s))


def _at_s(act: Act) -> float:
    return act.at_s
