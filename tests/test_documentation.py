"""What the pages show is true: their code runs, their links lead somewhere."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")])

BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
PROMISE = re.compile(r"(?:\bprint\(.*\) +# |^# prints: )(.*)$", re.MULTILINE)
"""`print(...)  # what it prints: a remark`, or a line that begins with `# prints: `."""
FILE = re.compile(r"`((?:actors|scaler|tests|docs|examples|benchmarks)/[\w/]+\.\w+)`")
LINK = re.compile(r"\]\(([^)#\s]+)|(?:src|srcset)=\"([^\"]+)\"")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def code_of(page: Path) -> str:
    """Return a page's Python blocks, each on the lines that it has in the page."""
    text = page.read_text()
    code = ""
    for block in BLOCK.finditer(text):
        code += "\n" * (text.count("\n", 0, block.start(1)) - code.count("\n")) + block[1]
    return code


@pytest.mark.parametrize("page", [page for page in PAGES if code_of(page)], ids=name)
def test_the_code_of_a_page_runs_as_one_program(page: Path, tmp_path: Path) -> None:
    program = tmp_path / "page.py"
    program.write_text(code_of(page))
    command = [sys.executable, "-W", "error", str(program)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert run.returncode == 0, run.stderr
    printed = iter(run.stdout.splitlines())
    for promise in PROMISE.findall(program.read_text()):
        kept = any(line in {promise, promise.partition(": ")[0]} for line in printed)
        assert kept, f"promised, but not printed (in this order): {promise}"
    assert "Warning" not in run.stderr, run.stderr


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    targets = [target for pair in LINK.findall(page.read_text()) for target in pair if target]
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    assert [file for file in FILE.findall(page.read_text()) if not (ROOT / file).exists()] == []


def test_the_picture_of_states_is_what_the_table_says() -> None:
    drawn = runpy.run_path(str(ROOT / "docs" / "draw_states.py"))["drawn"]
    text = (ROOT / "docs" / "architecture.md").read_text()
    assert drawn(text) == text, "run: python docs/draw_states.py"
