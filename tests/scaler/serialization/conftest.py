"""Programs of their own, where it matters what `__main__` is."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., str]:
    """Run source as `__main__` of a new process; return what it printed."""
    numbers = itertools.count()

    def run(source: str, *arguments: str) -> str:
        file = tmp_path / f"program_{next(numbers)}.py"
        file.write_text(source)
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        done = subprocess.run(
            [sys.executable, str(file), *arguments],
            env={**os.environ, "PYTHONPATH": path},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run
