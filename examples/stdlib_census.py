"""Parse every file of the standard library, in parallel, and count what is in it.

Run it: `python examples/stdlib_census.py`. Ctrl-C cancels what is left and says so.
"""

from __future__ import annotations

import ast
import os
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import as_completed
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from scaler import Client, ScalerFuture

ROWS = 8
"""Lines of each table."""

SAMPLE = 8
"""One file in so many is parsed once more in this process, to compare."""


class Function(NamedTuple):
    """A function and where it is."""

    lines: int
    name: str
    path: str


class Census(NamedTuple):
    """What one file holds; `error` if it does not parse, which is an answer too."""

    path: str
    lines: int
    nodes: Counter[str]
    imports: Counter[str]
    functions: list[Function]
    error: str


def count_file(path: str) -> Census:
    """Parse one file and count its syntax nodes, imports and functions."""
    nodes: Counter[str] = Counter()
    imports: Counter[str] = Counter()
    functions: list[Function] = []
    source = Path(path).read_bytes()
    error = ""
    try:
        for node in ast.walk(ast.parse(source)):
            nodes[type(node).__name__] += 1
            imports.update(_modules(node))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                functions.append(Function(length, node.name, path))
    except (SyntaxError, ValueError, RecursionError) as problem:
        error = type(problem).__name__
    longest = sorted(functions, reverse=True)[:ROWS]
    return Census(path, source.count(b"\n"), nodes, imports, longest, error)


def _modules(node: ast.AST) -> Iterator[str]:
    """The top-level modules that an import statement names."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name.partition(".")[0]
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module.partition(".")[0]


def source_files() -> list[str]:
    """Every `.py` file of this Python's standard library, large ones first, without packages
    that were installed on top of it.
    """
    root = Path(sysconfig.get_path("stdlib"))
    files = [path for path in root.rglob("*.py") if "site-packages" not in path.parts]
    return [str(path) for path in sorted(files, key=lambda path: -path.stat().st_size)]


def run(client: Client, paths: list[str], console: Console) -> list[Census]:
    """Count all files in the client's executors, with a bar while they run."""
    futures = [client.submit(count_file, path) for path in paths]
    bar = Progress(
        TextColumn("parsing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    try:
        with bar:
            return [future.result() for future in bar.track(as_completed(futures), len(futures))]
    except KeyboardInterrupt:
        _cancel(client, futures, console)
        raise


def _cancel(client: Client, futures: list[ScalerFuture[Census]], console: Console) -> None:
    open_futures = [future for future in futures if not future.done()]
    started = time.perf_counter()
    confirmed = sum(client.cancel(open_futures))
    console.print(
        f"\ncancelled: {confirmed} of {len(open_futures)} open tasks confirmed "
        f"in {time.perf_counter() - started:.3f} s"
    )


def report(found: list[Census], console: Console) -> None:
    """Print what is in the files."""
    nodes, imports, faults = Counter[str](), Counter[str](), Counter[str]()
    functions: list[Function] = []
    for census in found:
        nodes.update(census.nodes)
        imports.update(census.imports)
        functions += census.functions
        if census.error:
            faults[census.error] += 1
    longest = sorted(functions, reverse=True)[:ROWS]
    root = sysconfig.get_path("stdlib")
    console.print(_table("most used syntax nodes", nodes), _table("most imported modules", imports))
    table = Table("longest functions", Column("lines", justify="right"), "in")
    for function in longest:
        table.add_row(function.name, str(function.lines), os.path.relpath(function.path, root))
    console.print(table)
    lines = sum(census.lines for census in found)
    broken = ", ".join(f"{count} {name}" for name, count in faults.most_common()) or "none"
    console.print(f"{len(found):,} files, {lines:,} lines; do not parse: {broken}")


def _table(title: str, counted: Counter[str]) -> Table:
    table = Table(title, Column("times", justify="right"))
    for name, times in counted.most_common(ROWS):
        table.add_row(name, f"{times:,}")
    return table


def seconds_alone(paths: list[str]) -> float:
    """Estimate how long one process takes, from every `SAMPLE`th file, run here and now."""
    sample = paths[::SAMPLE]
    started = time.perf_counter()
    for path in sample:
        count_file(path)
    seconds = time.perf_counter() - started
    return seconds * sum(map(os.path.getsize, paths)) / sum(map(os.path.getsize, sample))


def main() -> int:
    """Count, print, and return the exit status."""
    console = Console()
    paths = source_files()
    started = time.perf_counter()
    try:
        with Client() as client:
            found = run(client, paths, console)
            seconds = time.perf_counter() - started
            executors = client.cluster.slots
        report(found, console)
        alone = seconds_alone(paths)
    except KeyboardInterrupt:
        return 130
    console.print(
        f"{seconds:.2f} s with {executors} executors, start of the cluster included; one process "
        f"takes about {alone:.2f} s: {alone / seconds:.2f} times as fast"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
