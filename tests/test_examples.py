"""The examples run as programs, and print what a reader would expect."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

SUPERVISED = """\
10 -> 10
20 -> 30
thirty -> ValueError("invalid literal for int() with base 10: 'thirty'")
1 -> 1
two -> ValueError("invalid literal for int() with base 10: 'two'")
three -> ValueError("invalid literal for int() with base 10: 'three'")
adder failed: ValueError("invalid literal for int() with base 10: 'three'")
"""


def run(*command: str) -> tuple[str, str]:
    """Run Python in the project's folder; return what it printed, and what it logged."""
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_the_example_of_a_counter() -> None:
    printed = "in a thread of this process: 1000\nin a child process: 1000\n"
    assert run("examples/counter_actor.py") == (printed, "")


def test_the_example_of_supervision() -> None:
    printed, logged = run("examples/supervised_actor.py")
    assert printed == SUPERVISED
    assert logged.count("actor adder failed and is restarted") == 2
    assert logged.count("actor adder failed and is stopped") == 1


def test_the_example_of_a_test_as_a_program() -> None:
    assert run("examples/testing_an_actor.py") == ("both hold\n", "")


def test_the_example_of_a_test_under_pytest() -> None:
    printed, _ = run("-m", "pytest", "-p", "no:cacheprovider", "examples/testing_an_actor.py")
    assert "2 passed" in printed


def test_the_example_of_a_simulation() -> None:
    printed, _ = run("examples/simulated_lock.py")
    lines = printed.splitlines()
    assert lines[0].removeprefix("found: ") == lines[1].removeprefix("again: ")
    seed = re.fullmatch(
        r"found: +seed=(\d+) invariant='one holder' time_s=[\d.]+ event=\d+ digest=[0-9a-f]{32}"
        r" replay: python examples/simulated_lock.py \1",
        lines[0],
    )
    assert seed is not None, lines[0]
    assert lines[2] == "shrunk:   40 steps to 4"
    assert lines[-2] == "the server without the bug: 50 seeds hold"
    assert lines[-1].endswith(" s, complete")
    replayed, _ = run("examples/simulated_lock.py", seed[1])
    assert replayed.splitlines()[0] == lines[0].removeprefix("found:").strip()


@pytest.mark.parametrize("example", ["counter_actor.py", "supervised_actor.py"])
def test_the_first_examples_are_short(example: str) -> None:
    assert len((ROOT / "examples" / example).read_text().splitlines()) < 50
