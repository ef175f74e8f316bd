"""Ratios, verdicts, the table, the file and the picture."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.cases import CASES, OURS, Better, Case

_BY_NAME = {case.name: case for case in CASES}
Figures = dict[str, dict[str, list[float]]]
"""Case, side, then one figure per round."""


@dataclass(frozen=True)
class Report:
    """What was measured, where, and what could not be."""

    machine: dict[str, Any]
    versions: dict[str, str]
    figures: Figures
    failed: dict[str, str]

    def write(self, path: Path) -> None:
        """Write it as JSON, with medians, ratios and verdicts."""
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [asdict(row) for row in rows_of(self)]
        path.write_text(json.dumps({**asdict(self), "rows": rows}, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Report:
        """Read what `write` wrote."""
        content = json.loads(path.read_text())
        return cls(*(content[key] for key in ("machine", "versions", "figures", "failed")))


@dataclass(frozen=True)
class Row:
    """One line of the table: our figure beside that of one other side, or beside a bound."""

    case: str
    side: str
    ours: float
    theirs: float | None
    ratio: float | None
    """Ours over theirs, median of the rounds."""
    target: str
    met: bool | None
    """Whether the target was reached; `None` where there is none."""

    def factor(self, case: Case) -> float:
        """Return how many times better than theirs our figure is."""
        ratio = self.ratio or 1.0
        return ratio if case.better is Better.HIGHER else 1 / ratio


def machine() -> dict[str, Any]:
    """Return where and when this is measured."""
    return {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }


def rows_of(report: Report) -> Iterator[Row]:
    """Yield the table's lines, in the order of the cases."""
    for case in CASES:
        figures = report.figures.get(case.name, {})
        ours = figures.get(OURS, [])
        if not ours:
            continue
        if case.at_most is not None:
            met = median(ours) <= case.at_most
            yield Row(case.name, "", median(ours), None, None, f"≤ {case.at_most:g}", met)
        for bound in case.bounds:
            theirs = report.figures.get(bound.case or case.name, {}).get(bound.side, [])
            sign = "≥" if case.better is Better.HIGHER else "≤"
            yield _beside(
                case,
                bound.case or bound.side,
                ours,
                theirs,
                f"{sign} {bound.bound:g} ×",
                bound.bound,
            )
        bounded = [bound.side for bound in case.bounds]
        for side in case.others:
            if side not in bounded and figures.get(side):
                yield _beside(case, side, ours, figures[side], "", None)


def _beside(
    case: Case, side: str, ours: list[float], theirs: list[float], target: str, bound: float | None
) -> Row:
    pairs = [mine / other for mine, other in zip(ours, theirs, strict=False)]
    if not pairs:
        return Row(case.name, side, median(ours), None, None, target, None)
    ratio = median(pairs)
    met = None
    if bound is not None:
        met = ratio >= bound if case.better is Better.HIGHER else ratio <= bound
    return Row(case.name, side, median(ours), median(theirs), ratio, target, met)


def print_table(report: Report) -> None:
    """Print the figures, the ratios, the targets and the verdicts."""
    table = Table(title="Ours beside others (medians; ratio: ours / theirs, median of the rounds)")
    for heading in ("case", "unit", "ours", "beside", "theirs", "ratio", "target", "verdict"):
        right = heading in {"ours", "theirs", "ratio", "target"}
        table.add_column(heading, justify="right" if right else "left", no_wrap=heading != "case")
    last = ""
    for row in rows_of(report):
        case = _BY_NAME[row.case]
        first = row.case != last
        if first and last:
            table.add_section()
        last = row.case
        table.add_row(
            case.title if first else "",
            case.unit if first else "",
            _figure(row.ours) if first else "",
            row.side,
            _figure(row.theirs),
            "" if row.ratio is None else f"{row.ratio:.2f}",
            row.target,
            _verdict(row),
        )
    console = Console() if os.isatty(1) else Console(width=140)
    console.print(table)
    for case in CASES:
        if case.never and case.name in report.figures:
            console.print(f"{case.title}: {', '.join(case.never)} cannot do it at all.")
    console.print(", ".join(f"{name} {version}" for name, version in report.versions.items()))
    for what, why in report.failed.items():
        console.print(f"[red]{what}: {why}", highlight=False)


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _verdict(row: Row) -> str:
    if row.met is None:
        return "not measured" if row.target else ""
    return "[green]reached" if row.met else "[red]missed"


def draw(report: Report, path: Path) -> None:
    """Draw how many times better than each other side we are, on a logarithmic scale."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "font.size": 9})
    from matplotlib import pyplot as plt

    rows = [row for row in rows_of(report) if row.ratio is not None and row.side in report.versions]
    places, labels = _places(rows)
    figure, axes = plt.subplots(figsize=(9, 0.8 + 0.2 * places[-1]), layout="constrained")
    factors = [row.factor(_BY_NAME[row.case]) for row in rows]
    for row, place, factor in zip(rows, places, factors, strict=True):
        axes.barh(place, factor - 1, left=1, color="#4c78a8" if factor >= 1 else "#e45756")
        text = f"{row.side}  {factor:.1f} ×"
        away = {"xytext": (4, 0), "textcoords": "offset points"}
        axes.annotate(text, (max(factor, 1), place), va="center", fontsize=8, color="0.25", **away)
    axes.set_yticks(list(labels), list(labels.values()))
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(min(0.5, *factors) / 1.2, max(factors) * 5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.axvline(1, color="0.2", linewidth=1)
    axes.set_xlabel("times better than the other library (median of alternating runs, log scale)")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _places(rows: list[Row]) -> tuple[list[float], dict[float, str]]:
    """Return where each bar goes, and the title at the first bar of each case."""
    places: list[float] = []
    labels: dict[float, str] = {}
    at, last = 0.0, ""
    for row in rows:
        at += 1.0 if row.case == last else 1.8
        if row.case != last:
            labels[at] = _BY_NAME[row.case].title
        last = row.case
        places.append(at)
    return places, labels
