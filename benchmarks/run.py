"""Measure our cases and those of other libraries in turn, and compare.

    make bench                              every case
    make bench PEERS="ray dask opengris"    beside these, too
    make bench BENCH="--case latency"       one case (`--case` may be repeated)

A figure means little on a machine that does other things as well, so all sides of a case are run in
turn, several rounds, and what counts is the ratio within a round: the table shows the median of
these ratios. A complete run is written to `benchmarks/results/latest.json` and drawn to
`docs/benchmarks.svg`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from benchmarks.cases import CASES, OPTIONAL, OURS, Case
from benchmarks.libraries import ROOT, SIDES, SideError
from benchmarks.report import Figures, Report, draw, machine, print_table

RESULTS = ROOT / "benchmarks" / "results" / "latest.json"
PICTURE = ROOT / "docs" / "benchmarks.svg"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES])
    parser.add_argument("--peer", action="append", choices=OPTIONAL, default=[])
    parser.add_argument("--rounds", type=int, help="instead of each case's own number")
    parser.add_argument("--output", type=Path, help=f"default for a complete run: {RESULTS}")
    parser.add_argument("--draw", action="store_true", help="only draw the last results again")
    return parser.parse_args()


def sides_of(case: Case, peers: list[str]) -> list[str]:
    """Return who takes part in a case."""
    return [OURS] + [
        side for side in case.sides() if side != OURS and (side not in OPTIONAL or side in peers)
    ]


def measure(case: Case, report: Report, rounds: int, advance: Callable[[], None]) -> None:
    """Run all sides of a case in turn, forth and back, and note their figures."""
    figures = report.figures[case.name]
    for number in range(rounds):
        for side in figures if number % 2 == 0 else reversed(figures):
            if f"{case.name} {side}" not in report.failed:
                try:
                    figures[side].append(SIDES[side].measure(case.name))
                except SideError as error:
                    report.failed[f"{case.name} {side}"] = str(error)
            advance()


def run(arguments: argparse.Namespace) -> Report:
    """Measure what the command line asks for."""
    cases = [case for case in CASES if not arguments.case or case.name in arguments.case]
    figures: Figures = {
        case.name: {side: [] for side in sides_of(case, arguments.peer)} for case in cases
    }
    names = dict.fromkeys(side for sides in figures.values() for side in sides)
    for name in names:
        SIDES[name].install()
    versions = {name: SIDES[name].version() for name in names}
    report = Report(machine(), versions, figures, failed={})
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for case in cases:
            rounds = arguments.rounds or case.rounds
            bar = progress.add_task(case.title, total=rounds * len(figures[case.name]))
            measure(case, report, rounds, partial(progress.advance, bar))
    return report


def main() -> int:
    """Run, print, write, draw; the exit status says whether all sides could be measured."""
    arguments = parse()
    if arguments.draw:
        draw(Report.read(RESULTS), PICTURE)
        return 0
    report = run(arguments)
    print_table(report)
    if arguments.output:
        report.write(arguments.output)
    elif not arguments.case:
        report.write(RESULTS)
        draw(report, PICTURE)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
