"""What the page and the example show is true."""

from __future__ import annotations

import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "testkit.md"
EXAMPLE = ROOT / "examples" / "testing_an_actor.py"


def test_the_code_of_the_page_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    page = types.ModuleType("page_of_the_test_kit")
    monkeypatch.setitem(sys.modules, page.__name__, page)
    text = PAGE.read_text()
    for block in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        # Empty lines in front, so that a traceback names the line of the page.
        code = "\n" * text.count("\n", 0, block.start(1)) + block[1]
        exec(compile(code, str(PAGE), "exec"), page.__dict__)


def test_the_example_runs_as_a_program() -> None:
    run = subprocess.run(
        [sys.executable, str(EXAMPLE)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "both hold\n", "")


def test_the_example_runs_under_pytest() -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(EXAMPLE)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=ROOT)
    assert run.returncode == 0, run.stdout
    assert "2 passed" in run.stdout or ".." in run.stdout
