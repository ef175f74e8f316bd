"""Bugs planted into the product, to see the simulator find them.

A mutant is an edit of one file. It is compiled in place of the file when that is imported, so each
mutant needs an interpreter of its own: `python -m tests.simulation.planting NAME SEED SEEDS`.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType

import msgspec

from tests.simulation.mutants import MUTANTS
from tests.simulation.planted.mutant import Mutant

ROOT = Path(__file__).parents[2]


class Verdict(msgspec.Struct, frozen=True):
    """What came of the search for one mutant."""

    mutant: str
    seed: int | None
    """The first that fails; `None`: it survived."""
    tried: int
    invariant: str = ""
    detail: str = ""
    seconds: float = 0.0


class _PlantedLoader(importlib.machinery.SourceFileLoader):
    """Compiles the edited source."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._source, self.path, "exec", dont_inherit=True)


class _Planter(importlib.abc.MetaPathFinder):
    """Finds one module, and gives it the edited source."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = mutant.file.removesuffix(".py").replace("/", ".")
        self._path = str(ROOT / mutant.file)
        self._source = edited(mutant)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        loader = _PlantedLoader(fullname, self._path, self._source)
        return importlib.util.spec_from_file_location(fullname, self._path, loader=loader)


def edited(mutant: Mutant) -> str:
    """Return the source with the bug in it.

    Raises:
        ValueError: the place is not there exactly once: the product has changed.
    """
    source = (ROOT / mutant.file).read_text()
    if source.count(mutant.right) != 1:
        raise ValueError(
            f"mutant {mutant.name!r}: its place is {source.count(mutant.right)} times in "
            f"{mutant.file}; the product has changed, so change tests/simulation/mutants.py"
        )
    return source.replace(mutant.right, mutant.wrong)


def search(name: str, start: int, seeds: int) -> Verdict:
    """Look in an interpreter of its own for the first seed that fails with a mutant.

    Raises:
        RuntimeError: the interpreter failed.
        ValueError: there is no such mutant, or no place for it.
    """
    command = [sys.executable, "-m", "tests.simulation.planting", name, str(start), str(seeds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"mutant {name!r} could not be run:\n{done.stderr}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Verdict)


def plant(mutant: Mutant) -> None:
    """From now on, the module is imported with the bug in it. It must not be imported yet."""
    name = mutant.file.removesuffix(".py").replace("/", ".")
    if name in sys.modules:
        raise RuntimeError(f"{name} is imported already: plant in a fresh interpreter")
    sys.meta_path.insert(0, _Planter(mutant))


def _search_here(mutant: Mutant, start: int, seeds: int) -> Verdict:
    plant(mutant)
    from tests.simulation.runner import run_seed

    began_s = time.perf_counter()

    def verdict(seed: int | None, tried: int, invariant: str = "", detail: str = "") -> Verdict:
        seconds = time.perf_counter() - began_s
        return Verdict(mutant.name, seed, tried, invariant, detail[:300], seconds)

    for tried, seed in enumerate(range(start, start + seeds), 1):
        try:
            failure = run_seed(seed).failure
        except Exception as error:  # the bug made the models' own code fail: found as well
            return verdict(seed, tried, type(error).__name__, str(error))
        if failure is not None:
            return verdict(seed, tried, failure.invariant, failure.detail)
    return verdict(None, seeds)


if __name__ == "__main__":
    planted = {mutant.name: mutant for mutant in MUTANTS}[sys.argv[1]]
    print(msgspec.json.encode(_search_here(planted, int(sys.argv[2]), int(sys.argv[3]))).decode())
