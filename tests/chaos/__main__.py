"""Chaos with real processes: real work with checked results, while everything goes wrong.

    python -m tests.chaos --minutes 0.5
    python -m tests.chaos --minutes 30 --seed 7 --workers 3

A run has chapters of some seconds each: a new cluster, some users who submit, cancel, map and
leave, and a nemesis that kills, freezes and starves. Each chapter draws its own options. At its
end every future is compared with what the tasks noted in shared files and with the blows that were
dealt, and nothing may be left: no process, thread, descriptor, shared memory.

The same seed draws the same options and the same calls; when which blow falls is the machine's
doing, so a failure comes again often, but not always. The exit status is 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import gc
import logging
import secrets
import signal
import sys
import time
from collections import Counter
from random import Random

import psutil
from rich.console import Console
from rich.table import Table

from tests.chaos.chapter import Outcome, run_chapter
from tests.chaos.facts import Facts
from tests.chaos.plan import Options

_LINE_EVERY_S = 10.0
_CHAPTERS_S = (5.0, 10.0, 20.0, 40.0)
_HANGS_AFTER_S = 400.0
"""A chapter that goes on for so long after its end hangs: show where, and give up."""
_SHOWN = 10
_MALLOC = {-8: 1, -3: 1 << 17}
"""`M_ARENA_MAX`, and `M_MMAP_THRESHOLD` in bytes, of glibc."""


class Run:
    """All chapters, and what is said about them."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Prepare a run as the command line says."""
        self._minutes: float = arguments.minutes
        self._workers: int | None = arguments.workers
        self._seed: int = arguments.seed
        self._console = Console(file=sys.stdout, highlight=False)
        self._begun_s = time.monotonic()
        self._said_s = self._begun_s
        self._counts: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._close_s: list[float] = []
        self._program_s = 0.0
        self._memory_mb: list[float] = []
        """Of this process, after each chapter."""

    def run(self, first: int) -> int:
        """Run chapters until the time is up or a promise is broken; return the exit status."""
        command = f"python -m tests.chaos --minutes {self._minutes:g} --seed {self._seed}"
        command += f" --workers {self._workers}" if self._workers else ""
        self._say(f"seed {self._seed}; the same plan again: {command}")
        number = first
        while (left_s := 60 * self._minutes - self._elapsed_s()) > 0:
            rng = Random(f"{self._seed} chapter {number}")
            seconds = min(rng.choice(_CHAPTERS_S), max(5.0, 20 * self._minutes), left_s)
            options = Options.draw(rng, self._workers)
            self._say(f"chapter {number}, {seconds:.0f} s: {options}")
            faulthandler.dump_traceback_later(seconds + _HANGS_AFTER_S, exit=True)
            outcome = run_chapter(f"{self._seed} {number}", options, seconds, self._progress)
            faulthandler.cancel_dump_traceback_later()
            self._note(outcome)
            if outcome.complaints:
                self._print_table()
                self._accuse(outcome.complaints, f"{command} --chapter {number}")
                return 1
            number += 1
        self._print_table()
        self._say(f"nothing was lost: {number - first} chapters, {self._elapsed_s():.0f} s")
        return 0

    def _progress(self, facts: Facts) -> None:
        if time.monotonic() - self._said_s >= _LINE_EVERY_S:
            counts = self._counts + facts.counts
            tasks = counts["tasks"] + counts["items mapped"]
            doings = {
                name: sum(n for what, n in counts.items() if what.startswith(name))
                for name in ("kills", "freezes", "cancels")
            }
            what = ", ".join(f"{number:,} {name}" for name, number in doings.items())
            self._say(f"{tasks:,} tasks, {what}: all right so far")

    def _note(self, outcome: Outcome) -> None:
        self._counts += outcome.counts
        self._outcomes += outcome.outcomes
        self._close_s.append(outcome.close_s)
        self._program_s = max(self._program_s, outcome.program_s)
        gc.collect()
        self._memory_mb.append(psutil.Process().memory_info().rss / 1e6)

    def _print_table(self) -> None:
        table = Table(title="What was done, and what came of it", title_justify="left")
        table.add_column("what")
        table.add_column("times", justify="right")
        for what, number in sorted(self._counts.items()):
            table.add_row(what, f"{number:,}")
        table.add_section()
        for what, number in self._outcomes.most_common():
            table.add_row(what, f"{number:,}")
        table.add_section()
        table.add_row("slowest close", f"{max(self._close_s, default=0.0):.2f} s")
        table.add_row("slowest end of a killed program", f"{self._program_s:.2f} s")
        first, last = self._memory_mb[0], self._memory_mb[-1]
        table.add_row("memory after the first and the last chapter", f"{first:.0f}, {last:.0f} MB")
        self._console.print(table)

    def _accuse(self, complaints: list[str], command: str) -> None:
        for complaint in complaints[:_SHOWN]:
            self._console.print(f"BROKEN: {complaint}", markup=False, soft_wrap=True)
        if len(complaints) > _SHOWN:
            self._console.print(f"... and {len(complaints) - _SHOWN} more")
        self._console.print(
            f"The same plan again (the timing is the machine's): {command}", soft_wrap=True
        )

    def _say(self, text: str) -> None:
        self._said_s = time.monotonic()
        self._console.print(f"{self._elapsed_s():6.0f} s  {text}", markup=False, soft_wrap=True)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._begun_s


def give_memory_back() -> None:
    """Have the C library return what is free, so that what grows is a leak.

    With an arena for each of thousands of threads, it would keep more and more.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        for parameter, value in _MALLOC.items():
            library.mallopt(parameter, value)


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Chaos.")
    parser.add_argument("--minutes", type=float, default=0.5, help="how long (default 0.5)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32), help="what to draw")
    parser.add_argument("--workers", type=int, help="instead of a drawn number")
    parser.add_argument("--chapter", type=int, default=1, help="the first chapter to run")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    give_memory_back()
    faulthandler.register(signal.SIGUSR1)  # `kill -USR1` shows where everybody is
    return Run(arguments).run(arguments.chapter)


if __name__ == "__main__":
    sys.exit(main())
