"""The main job: `examples/stdlib_census.py`, as `make demo` runs it."""

import importlib
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import psutil
import pytest
from rich.console import Console

from scaler import Client

CENSUS = Path(__file__).parent.parent / "examples" / "stdlib_census.py"
BOUND_S = 60.0


@pytest.fixture(scope="module")
def census() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(CENSUS.parent))  # executors import it from there
        yield importlib.import_module("stdlib_census")


def test_a_file_that_does_not_parse_is_an_answer(census: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("def broken(:\n")
    assert census.count_file(str(path)).error == "SyntaxError"


def test_a_file_is_counted(census: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "small.py"
    path.write_text("import os.path\nfrom sys import argv\n\n\ndef two_lines():\n    return 1\n")
    counted = census.count_file(str(path))
    assert counted.lines == 6
    assert counted.imports == {"os": 1, "sys": 1}
    assert [(f.lines, f.name) for f in counted.functions] == [(2, "two_lines")]


def test_the_library_has_well_over_a_thousand_files(census: ModuleType) -> None:
    assert len(census.source_files()) > 1_000


def test_files_are_counted_in_parallel_as_they_are_one_by_one(census: ModuleType) -> None:
    paths = census.source_files()[200:1_000:20]
    screen = io.StringIO()
    console = Console(file=screen, width=100)
    with Client(workers=2) as client:
        found = census.run(client, paths, console)
    assert sorted(found) == sorted(census.count_file(path) for path in paths)
    census.report(found, console)
    assert f"{len(paths)} files" in screen.getvalue()
    assert "parsing" not in screen.getvalue(), "a bar where there is no terminal"


def test_ctrl_c_cancels_all_confirms_and_leaves_no_process() -> None:
    driver = subprocess.Popen(
        [sys.executable, str(CENSUS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    family = _wait_for_executors(driver)
    driver.send_signal(signal.SIGINT)
    out, err = driver.communicate(timeout=BOUND_S)
    assert driver.returncode == 130, err
    cancelled = re.search(r"cancelled: (\d+) of (\d+) open tasks confirmed", out)
    assert cancelled is not None, out + err
    assert cancelled[1] == cancelled[2]
    assert err == ""
    assert psutil.wait_procs(family, timeout=5)[1] == []


def _wait_for_executors(driver: subprocess.Popen[str]) -> list[psutil.Process]:
    """Wait until executors have burned some time, so that tasks run; return all processes."""
    deadline_s = time.monotonic() + BOUND_S
    while time.monotonic() < deadline_s:
        family: list[psutil.Process] = psutil.Process(driver.pid).children(recursive=True)
        try:
            busy = [child for child in family if child.cpu_times().user > 0.3]
        except psutil.NoSuchProcess:
            continue
        if len(busy) >= 2:
            return family
    raise AssertionError("no executor has done anything")
