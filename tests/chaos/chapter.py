"""One chapter of chaos: a cluster, its users, a nemesis; then the end, and the judgement."""

from __future__ import annotations

import faulthandler
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from actors.testkit import LeakError, check_leaks
from scaler import LocalCluster
from scaler.protocol.tasks import GetStatus
from tests.chaos.facts import Facts
from tests.chaos.judge import Judge
from tests.chaos.nemesis import Nemesis, Prey
from tests.chaos.plan import Options
from tests.chaos.programs import Programs
from tests.chaos.stamps import Stamps
from tests.chaos.tasks import LINE
from tests.chaos.users import BOUND_S, User

TASKS = 300_000
"""Tasks of one chapter, at most."""
CLOSE_S = 5.0
LEAVE_S = 10.0
_STEP_S = 0.02


@dataclass
class Outcome:
    """What came of a chapter."""

    options: Options
    counts: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    close_s: float = 0.0
    program_s: float = 0.0
    """The longest that something of a killed program has lived."""


class Printed:
    """Stands for the streams of this process: notes the lines that tasks print."""

    encoding = "utf-8"

    def __init__(self, facts: Facts) -> None:
        """Note them in `facts`."""
        self._facts = facts

    def write(self, text: str) -> int:
        """Note the lines of a task's output."""
        for line in text.splitlines():
            if line.startswith(LINE):
                self._facts.wrote(int(line.split()[-2]))
        return len(text)

    def flush(self) -> None:
        """Do nothing."""


def run_chapter(
    seed: str, options: Options, seconds: float, progress: Callable[[Facts], None]
) -> Outcome:
    """Run one chapter.

    Args:
        seed: of all that is drawn in it.
        options: how to run it.
        seconds: until the faults stop and the users finish.
        progress: called about 50 times a second.
    """
    facts = Facts(TASKS)
    outcome = Outcome(options, counts=facts.counts)
    streams = sys.stdout, sys.stderr
    threading.excepthook = lambda hook: facts.complain(f"a thread ended with {hook.exc_value!r}")
    sys.unraisablehook = lambda hook: facts.complain(f"unraisable: {hook.exc_value!r}")
    sys.stdout = sys.stderr = Printed(facts)  # type: ignore[assignment]
    try:
        with check_leaks(timeout=LEAVE_S), tempfile.TemporaryDirectory() as directory:
            stamps = Stamps(directory, TASKS)
            try:
                _live(seed, options, seconds, facts, stamps, directory, progress, outcome)
                judge = Judge(facts, stamps)
                outcome.complaints += judge.complaints()
                outcome.outcomes = judge.outcomes
                facts.count("attempts after a lost or failed one", judge.rerun)
            finally:
                stamps.close()
    except LeakError as error:
        outcome.complaints.append(str(error))
    finally:
        sys.stdout, sys.stderr = streams
        threading.excepthook = threading.__excepthook__
        sys.unraisablehook = sys.__unraisablehook__
    return outcome


def _live(
    seed: str,
    options: Options,
    seconds: float,
    facts: Facts,
    stamps: Stamps,
    directory: str,
    progress: Callable[[Facts], None],
    outcome: Outcome,
) -> None:
    """Start the cluster, let everybody at it, wait for the end, close it."""
    end_s = time.monotonic() + seconds
    prey = Prey(stamps)
    cluster = LocalCluster(
        options.workers,
        preload=["tests.chaos.tasks"],  # imported once, not in each of thousands of executors
        max_tasks_per_executor=options.recycle,
    )

    def is_over() -> bool:
        return time.monotonic() > end_s or facts.is_full or bool(facts.complaints)

    nemesis = Nemesis(f"{seed} nemesis", options, facts, prey)
    users = [
        User(f"user-{n}", f"{seed} user {n}", cluster, options, facts, directory, prey, is_over)
        for n in range(options.users)
    ]
    programs = Programs(f"{seed} programs", options.kill_program, facts)
    for thread in (*users, nemesis, programs):
        thread.start()
    while not is_over():
        time.sleep(_STEP_S)
        progress(facts)
    nemesis.stop()
    programs.stop()
    outcome.program_s = programs.slowest_s
    patience_s = time.monotonic() + 2 * BOUND_S
    for user in users:
        user.join(max(0.0, patience_s - time.monotonic()))
        if user.is_alive():
            facts.complain(f"{user.name} hangs")
            faulthandler.dump_traceback(all_threads=True)
    _check_at_rest(cluster, facts)
    closed_s = time.monotonic()
    cluster.close()
    outcome.close_s = time.monotonic() - closed_s
    if outcome.close_s > CLOSE_S:
        facts.complain(f"closing the cluster took {outcome.close_s:.1f} s")


def _check_at_rest(cluster: LocalCluster, facts: Facts) -> None:
    """All books are back at zero, once nobody has a task any more."""
    status = cluster.scheduler.ask(GetStatus()).result(10)
    tasks = (status.queued, status.running, status.canceling, status.clients)
    load = [(worker.outstanding, worker.load_us) for worker in status.workers]
    if any(tasks) or any(number for pair in load for number in pair):
        facts.complain(f"at rest there is left: {status}")
    if len(load) != cluster.slots:
        facts.complain(f"{len(load)} of {cluster.slots} workers are left")
