"""What executors write outside of tasks is shown on this program's stderr, and nobody waits."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

BOUND_S = 20.0
LINE = "y" * 999
_SHOW = "from scaler.worker.stderr import show_here; show_here('{line}\\n' * {count})"


def show(count: int, stderr: int) -> None:
    """Show so many lines in a program of its own."""
    command = [sys.executable, "-c", _SHOW.format(line=LINE, count=count)]
    subprocess.run(command, stderr=stderr, timeout=BOUND_S, check=True)


@pytest.fixture
def pseudo_terminal():
    ends = os.openpty()
    yield ends
    for fd in ends:
        os.close(fd)


def test_a_terminal_shows_it(pseudo_terminal):
    ours, theirs = pseudo_terminal
    show(1, theirs)
    assert os.read(ours, 2_000).decode() == LINE + "\r\n"


def test_a_terminal_that_nobody_reads_is_not_waited_for(pseudo_terminal):
    _, theirs = pseudo_terminal
    show(1_000, theirs)


def test_a_pipe_that_nobody_reads_is_not_waited_for():
    ours, theirs = os.pipe()
    try:
        show(1_000, theirs)
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_file_goes_on_where_it_was(tmp_path):
    path = tmp_path / "log"
    with path.open("w") as file:
        file.write("before ")
        file.flush()
        show(10, file.fileno())
    assert path.read_text() == "before " + 10 * (LINE + "\n")
