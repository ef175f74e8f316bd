"""The rules of the project that no linter knows, held on its own source."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

FILE_LINES = 400
CLASS_LINES = 250
FUNCTION_LINES = 60
LINE_CHARACTERS = 100

PACKAGES = ("actors", "scaler")
DRAWERS = ("utils", "util", "utility", "common", "helpers", "mixins")
"""Names of files that say nothing about what is in them."""

NO_IO = ("asyncio", "os", "random", "select", "socket", "subprocess", "threading", "time", "zmq")
"""What code that decides never imports."""

UNPICKLERS = ("pickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve")
CONTROL_PLANE = (
    "actors/core",
    "actors/transport",
    "scaler/protocol",
    "scaler/scheduler",
    "scaler/worker",
)
"""Bodies are opaque here: only executors, callers and receiving actors open them."""

CODEC = "actors/core/codec.py"
PUBLIC = ("actors", "actors.testkit", "scaler")


def sources() -> list[Path]:
    """Return every source file of the packages."""
    return sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


def sans_io_files() -> list[Path]:
    """Return the files that do no I/O, from `pyproject.toml`."""
    patterns = PROJECT["tool"]["sans-io"]["files"]
    return sorted(file for pattern in patterns for file in ROOT.glob(pattern))


@cache
def tree_of(file: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(file.read_text(), str(file))


def place(file: Path, node: ast.AST | None = None) -> str:
    """Return where something is, as an editor understands it."""
    line = f":{node.lineno}" if isinstance(node, ast.stmt | ast.expr) else ""
    return f"{file.relative_to(ROOT)}{line}"


def length(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines from the first to the last of a definition, decorators not counted."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def imported(tree: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    """Yield each module that is imported anywhere in the tree, with its statement."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node


def imports_of(file: Path, banned: tuple[str, ...]) -> list[str]:
    """Return where a file imports one of the banned modules."""
    return [
        f"{place(file, node)} imports {module}"
        for module, node in imported(tree_of(file))
        if module.split(".")[0] in banned
    ]


def test_files_classes_functions_and_lines_are_short() -> None:
    found = []
    for file in sources():
        lines = file.read_text().splitlines()
        if len(lines) > FILE_LINES:
            found.append(f"{place(file)}: {len(lines)} lines, at most {FILE_LINES}")
        found += [
            f"{place(file)}:{number}: {len(line)} characters, at most {LINE_CHARACTERS}"
            for number, line in enumerate(lines, 1)
            if len(line) > LINE_CHARACTERS
        ]
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.ClassDef):
                bound = CLASS_LINES
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                bound = FUNCTION_LINES
            else:
                continue
            if length(node) > bound:
                found.append(f"{place(file, node)}: {node.name}, {length(node)} lines of {bound}")
    assert found == []


def test_every_place_of_code_that_does_no_io_exists() -> None:
    empty = [
        pattern for pattern in PROJECT["tool"]["sans-io"]["files"] if not [*ROOT.glob(pattern)]
    ]
    assert empty == [], "listed in pyproject.toml, but there is no such file"


def test_code_that_decides_imports_nothing_that_does_io() -> None:
    assert [found for file in sans_io_files() for found in imports_of(file, NO_IO)] == []


def test_code_that_decides_never_depends_on_the_order_of_a_set() -> None:
    # Hashes of strings differ from process to process, so a run could not be replayed.
    found = [
        f"{place(file, node)}: use a dict"
        for file in sans_io_files()
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Set | ast.SetComp)
        or (isinstance(node, ast.Name) and node.id in {"set", "frozenset"})
    ]
    assert found == []


def test_the_control_plane_never_opens_a_pickle() -> None:
    found = [
        text
        for folder in CONTROL_PLANE
        for file in sorted((ROOT / folder).rglob("*.py"))
        if place(file) != CODEC
        for text in imports_of(file, UNPICKLERS)
    ]
    assert found == []


def test_nothing_is_evaluated_from_text() -> None:
    found = [
        f"{place(file, node)} calls {node.func.id}"
        for file in sources()
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"eval", "exec"}
    ]
    assert found == []


def test_no_file_is_a_drawer() -> None:
    parts = [(file, part) for file in sources() for part in file.relative_to(ROOT).parts]
    assert [place(file) for file, part in parts if part.removesuffix(".py") in DRAWERS] == []


def test_every_module_says_what_it_is() -> None:
    assert [place(file) for file in sources() if not ast.get_docstring(tree_of(file))] == []


def test_nothing_is_left_for_later() -> None:
    found = [
        f"{place(file)}:{number}: {line.strip()}"
        for file in sources()
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line)
    ]
    assert found == []


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names_are_the_golden_ones(package: str) -> None:
    module = importlib.import_module(package)
    golden = (GOLDEN / f"{package}.txt").read_text().split()
    assert sorted(module.__all__) == golden, "a change of the public face belongs in CHANGELOG.md"
    missing = [name for name in golden if not hasattr(module, name)]
    assert missing == [], "named in __all__, but not there"
