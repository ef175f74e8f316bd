"""The scheduler alone: its processor time and memory per task, from 10 to 10,000 workers.

    make bench-scale                                      every point, and the picture
    python -m benchmarks.scale --workers 10 --tasks 1000  one point

The real `Scheduler` runs in a node of production, driven by light workers and a client on the same
node. For each task that is a submit, a dispatch, a result and its delivery to the client; what the
light actors do is not counted. All tasks are submitted before the first is sent, and each worker
answers with one row at a time, as it does with tasks that take some milliseconds. Each point is
measured in a process of its own, several times; the best counts. A complete run is written to
`benchmarks/results/scale.json` and drawn to `docs/pictures/scale.svg`.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from actors import Actor, ActorRef, handles
from actors.actor import DEFAULT_SUPERVISION
from actors.core.cell import Cell
from actors.core.node import NodeCore
from actors.core.refs import LocalRef
from benchmarks.libraries import ROOT
from benchmarks.report import machine
from scaler.limits import PREFETCH_TASKS
from scaler.protocol.tasks import (
    CLIENT_SHIFT,
    ClientConnect,
    Function,
    RowStatus,
    Task,
    TaskResult,
    TaskRow,
    TaskRun,
    TaskSubmit,
    WorkerConnect,
)
from scaler.scheduler.scheduler import Scheduler

RESULTS = ROOT / "benchmarks" / "results" / "scale.json"
PICTURE = ROOT / "docs" / "pictures" / "scale.svg"

WORKERS = (10, 100, 1_000, 10_000)
TASKS = (1_000, 10_000, 100_000, 1_000_000)
SMALL, LARGE = (WORKERS[0], TASKS[0]), (WORKERS[-1], TASKS[-1])

CPU_US = 6.0
RATIO = 2.5
PENDING_BYTES = 500
"""What is to be reached: processor time of the largest point, its ratio to the smallest, memory."""

_CLIENT = 1
_TASKS_PER_SUBMIT = 500
_RUN_S = 0.001
_ROUNDS_TASKS = 1_000_000
_ROUNDS = (3, 30)
"""A point is measured with so many tasks in all, but so often at least and at most."""
_FUNCTION = Function(b"f" * 16, b"blob", "module.function")
_PAYLOAD = bytes(100)


class LightWorker(Actor):
    """Answers for its tasks, one row at a time, without running them."""

    def __init__(self, scheduler: ActorRef, name: str) -> None:
        self.scheduler = scheduler
        self.name = name
        self.tasks: deque[Task] = deque()
        self.works = False

    def on_start(self) -> None:
        self.context.tell(self.scheduler, WorkerConnect(self.name, PREFETCH_TASKS))

    @handles(TaskRun)
    def on_run(self, message: TaskRun) -> None:
        self.tasks.extend(message.tasks)
        if self.works:
            self.end_one()

    def end_one(self) -> None:
        """Tell that the oldest task has ended, if there is one."""
        if self.tasks:
            row = _row_of(self.tasks.popleft(), self.name)
            self.context.tell(self.scheduler, TaskResult((row,)))


class LightClient(Actor):
    """Counts its results."""

    def __init__(self, scheduler: ActorRef) -> None:
        self.scheduler = scheduler
        self.results = 0

    def on_start(self) -> None:
        self.context.ask(self.scheduler, ClientConnect(_CLIENT), then=lambda _: None)

    @handles(TaskResult)
    def on_result(self, message: TaskResult) -> None:
        self.results += len(message.rows)


def _row_of(task: Task, worker: str) -> TaskRow:
    return TaskRow(
        ordinal=1,
        task_id=task.task_id,
        status=RowStatus.SUCCEEDED,
        payload=b"",
        started_s=0.0,
        ended_s=_RUN_S,
        cpu_s=_RUN_S,
        rss_bytes=0,
        worker=worker,
        pid=1,
        attempt=1,
    )


class Stage:
    """A node with the scheduler, its workers and a client; the scheduler's runs are timed."""

    def __init__(self, workers: int) -> None:
        """Bring all to life."""
        self.cpu_s = 0.0
        self.node = NodeCore(
            "scale",
            clock=time.monotonic,
            wake=lambda: None,
            on_own_thread=lambda: True,
            wait_for_room=lambda _: False,
        )
        self.scheduler = self._spawn(Scheduler)
        ref = self.scheduler.ref
        self.client = self._spawn(LightClient, ref)
        self.workers = [
            self._spawn(LightWorker, ref, f"worker-{number}") for number in range(workers)
        ]
        self.run()

    def _spawn(self, actor_class: type[Actor], *arguments: Any) -> Cell:
        ref = self.node.spawn(
            actor_class,
            arguments,
            {},
            name=None,
            supervision=DEFAULT_SUPERVISION,
            mailbox_size=None,
            parent=None,
        )
        assert isinstance(ref, LocalRef)
        return ref.cell

    def run(self) -> None:
        """Run all actors until all is quiet."""
        ready, scheduler = self.node.ready, self.scheduler
        while ready:
            cell = ready.popleft()
            if cell is scheduler:
                begun_s = time.thread_time()
                cell.run()
                self.cpu_s += time.thread_time() - begun_s
            else:
                cell.run()

    def submit(self, tasks: int, first: int = 0) -> None:
        """Have the client submit so many tasks; the workers get what they have room for."""
        for start in range(first, first + tasks, _TASKS_PER_SUBMIT):
            numbers = range(start, min(start + _TASKS_PER_SUBMIT, first + tasks))
            made = tuple(
                Task(_CLIENT << CLIENT_SHIFT | number, _FUNCTION.function_id, _PAYLOAD)
                for number in numbers
            )
            self.scheduler.ref.tell(TaskSubmit((_FUNCTION,), made))
            self.run()

    def work(self, tasks: int) -> None:
        """Have the workers answer, each as often as it gets a task, until none is left."""
        workers: list[Any] = [cell.actor for cell in self.workers]
        client: Any = self.client.actor
        for worker in workers:
            worker.works = True
        while client.results < tasks:
            for worker in workers:
                worker.end_one()
            self.run()


def cpu_us(workers: int, tasks: int) -> float:
    """Return the scheduler's processor time per task, from its submit to its delivery."""
    stage = Stage(workers)
    stage.cpu_s = 0.0
    stage.submit(tasks)
    stage.work(tasks)
    return stage.cpu_s * 1e6 / tasks


def pending_bytes(tasks: int) -> float:
    """Return what each of so many pending tasks adds to the process, beside its payload."""
    stage = Stage(1)
    stage.submit(1_000)  # what the first one brings with it
    before = _resident_bytes()
    stage.submit(tasks, 1_000)
    return (_resident_bytes() - before) / tasks


def _resident_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


# --- every point, in processes of their own ------------------------------------------------------


@dataclass
class Scale:
    """What was measured."""

    machine: dict[str, Any]
    cpu_us: dict[str, dict[str, list[float]]]
    """Workers, tasks, then one figure per round, microseconds."""
    pending_bytes: list[float]

    def best(self, workers: int, tasks: int) -> float | None:
        """Return the best round of a point."""
        rounds = self.cpu_us.get(str(workers), {}).get(str(tasks))
        return min(rounds) if rounds else None

    def verdicts(self) -> Iterator[tuple[str, float, str, float]]:
        """Yield what was to be reached: what, figure, unit, bound."""
        small, large = self.best(*SMALL), self.best(*LARGE)
        if large is not None:
            yield "processor time per task at the largest point", large, "µs", CPU_US
        if large is not None and small is not None:
            yield "the same, largest to smallest point", large / small, "×", RATIO
        if self.pending_bytes:
            yield "memory per pending task", min(self.pending_bytes), "bytes", PENDING_BYTES


def measured(*arguments: str) -> list[float]:
    """Run one point in a process of its own; return its rounds."""
    command = [sys.executable, "-m", "benchmarks.scale", "--rounds-only", *arguments]
    run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    rounds: list[float] = json.loads(run.stdout)
    return rounds


def point(workers: int, tasks: int) -> list[float]:
    return measured("--workers", str(workers), "--tasks", str(tasks))


def run_all(workers: list[int], tasks: list[int]) -> Scale:
    """Measure every point."""
    scale = Scale(machine(), {}, [])
    points = [(w, t) for t in tasks for w in workers]
    for w, t in track(points, "Measuring", transient=True, console=Console(stderr=True)):
        scale.cpu_us.setdefault(str(w), {})[str(t)] = point(w, t)
    scale.pending_bytes = measured("--tasks", str(max(tasks)))
    return scale


def print_table(scale: Scale) -> None:
    """Print the points, and what was to be reached."""
    table = Table(title="Processor time of the scheduler per task, µs (best round)")
    tasks = list(dict.fromkeys(t for row in scale.cpu_us.values() for t in row))
    table.add_column("workers", justify="right")
    for number in tasks:
        table.add_column(f"{int(number):,} tasks", justify="right")
    for workers, row in scale.cpu_us.items():
        figures = [f"{min(row[number]):.2f}" if number in row else "" for number in tasks]
        table.add_row(f"{int(workers):,}", *figures)
    console = Console() if sys.stdout.isatty() else Console(width=100)
    console.print(table)
    for what, figure, unit, bound in scale.verdicts():
        verdict = "[green]reached" if figure <= bound else "[red]missed"
        console.print(f"{what}: {figure:.3g} {unit}, at most {bound:g}: {verdict}", highlight=False)


def draw(scale: Scale, path: Path) -> None:
    """Draw processor time over tasks, a line for each number of workers."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "scale", "font.size": 9})
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    colors = plt.get_cmap("viridis")([0.85, 0.6, 0.35, 0.05])
    for color, (workers, row) in zip(colors, scale.cpu_us.items(), strict=False):
        tasks = sorted(row, key=int)
        best = [min(row[number]) for number in tasks]
        axes.plot(list(map(int, tasks)), best, "o-", color=color, label=f"{int(workers):,} workers")
    axes.axhline(CPU_US, color="0.5", linewidth=1, linestyle="--")
    axes.annotate(
        f"to be reached: {CPU_US:g} µs",
        (TASKS[0], CPU_US),
        (0, -11),
        textcoords="offset points",
        color="0.4",
    )
    axes.set_xscale("log")
    axes.set_xlim(TASKS[0] / 1.6, TASKS[-1] * 1.6)
    axes.set_ylim(0, None)
    axes.xaxis.set_major_formatter(lambda value, _: f"{int(value):,}")
    axes.set_xlabel("tasks submitted at once")
    axes.set_ylabel("processor time per task, µs")
    axes.legend(frameon=False, ncols=2)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def rounds_of(workers: int | None, tasks: int) -> list[float]:
    """Measure one point in this process."""
    if workers is None:
        return [pending_bytes(tasks)]
    rounds = min(max(_ROUNDS[0], _ROUNDS_TASKS // tasks), _ROUNDS[1])
    figures = []
    for _ in range(rounds):
        figures.append(cpu_us(workers, tasks))
        gc.collect()  # the last round's actors
    return figures


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale")
    parser.add_argument("--workers", type=int, help="one number instead of all")
    parser.add_argument("--tasks", type=int, help="one number instead of all")
    parser.add_argument("--output", type=Path, help=f"default for a complete run: {RESULTS}")
    parser.add_argument("--draw", action="store_true", help="only draw the last results again")
    parser.add_argument("--rounds-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rounds_only:
        print(json.dumps(rounds_of(arguments.workers, arguments.tasks)))
        return 0
    if arguments.draw:
        draw(Scale(**json.loads(RESULTS.read_text())), PICTURE)
        return 0
    complete = arguments.workers is None and arguments.tasks is None
    workers = [arguments.workers] if arguments.workers else list(WORKERS)
    scale = run_all(workers, [arguments.tasks] if arguments.tasks else list(TASKS))
    print_table(scale)
    output = arguments.output or (RESULTS if complete else None)
    if output:
        output.write_text(json.dumps(asdict(scale), indent=1) + "\n")
    if complete:
        draw(scale, PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
