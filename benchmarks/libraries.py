"""Who is measured: how to run each side, in which environment."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "benchmarks" / "sides"
CASE_TIMEOUT_S = 300.0
INSTALL_TIMEOUT_S = 900.0


class SideError(Exception):
    """A side did not give a figure. The text says why."""


@dataclass(frozen=True)
class Side:
    """One library.

    Attributes:
        name: in tables.
        distribution: what to ask for its version; empty: it comes with Python.
        script: file in `sides/`.
        arguments: for the script, after the case.
        requires: what to install into an environment of its own; empty: it has none.
    """

    name: str
    distribution: str
    script: str
    arguments: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()

    def python(self) -> Path:
        """Return the interpreter to run it with."""
        if self.requires:
            return ROOT / f".venv-{self.name}" / "bin" / "python"
        return Path(sys.executable)

    def install(self) -> None:
        """Make its environment if it needs one and has none."""
        stamp = ROOT / f".venv-{self.name}" / ".installed"
        if not self.requires or stamp.exists():
            return
        print(f"Installing {', '.join(self.requires)} into .venv-{self.name} ...", file=sys.stderr)
        _run([sys.executable, "-m", "venv", str(stamp.parent)])
        _run([str(self.python()), "-m", "pip", "install", "--quiet", *self.requires])
        stamp.touch()

    def version(self) -> str:
        """Return the version that is measured."""
        if not self.distribution:
            return sys.version.split()[0]
        ask = f"from importlib.metadata import version; print(version({self.distribution!r}))"
        return _run([str(self.python()), "-c", ask]).strip()

    def measure(self, case: str) -> float:
        """Run one case in a process of its own and return its figure.

        It runs outside of the repository: one side is imported as `scaler`, like ours.

        Raises:
            SideError: it failed, or took longer than `CASE_TIMEOUT_S`.
        """
        command = [str(self.python()), str(SCRIPTS / self.script), case, *self.arguments]
        with tempfile.TemporaryDirectory() as folder:
            output = _run(command, folder=folder, timeout_s=CASE_TIMEOUT_S)
        for line in reversed(output.splitlines()):
            if line.startswith('{"case"'):
                return float(json.loads(line)["value"])
        raise SideError(f"{self.name} printed no figure for {case}")


SIDES = {
    side.name: side
    for side in (
        Side("ours", "scaler-actors", "ours.py"),
        Side("ppe-fork", "", "ppe.py", ("fork",)),
        Side("ppe-spawn", "", "ppe.py", ("spawn",)),
        Side("loky", "loky", "loky_side.py"),
        Side("mpire", "mpire", "mpire_side.py"),
        Side("pykka", "pykka", "pykka_side.py"),
        Side("xoscar", "xoscar", "xoscar_side.py"),
        Side("ray", "ray", "ray_side.py", requires=("ray", "numpy")),
        Side("dask", "distributed", "dask_side.py", requires=("distributed", "numpy")),
        Side("opengris", "opengris-scaler", "opengris_side.py", requires=("opengris-scaler",)),
    )
}


def _run(
    command: list[str], *, folder: str | None = None, timeout_s: float = INSTALL_TIMEOUT_S
) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, timeout=timeout_s, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SideError(f"no answer within {timeout_s:.0f} s: {' '.join(command)}") from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise SideError(f"exit code {done.returncode}: {last}")
    return done.stdout
