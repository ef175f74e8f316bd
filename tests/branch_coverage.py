"""Say how many branches of the code that does no I/O the tests took, and fail if too few.

Run by `make coverage`, after the tests. The files and the bound are in `pyproject.toml`.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from coverage import Coverage

ROOT = Path(__file__).parent.parent


def main() -> int:
    """Print a line per file and the sum; the exit status says whether it is enough."""
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["sans-io"]
    coverage = Coverage(config_file=str(ROOT / "pyproject.toml"))
    coverage.load()
    taken_in_all = total_in_all = 0
    for file in sorted(file for pattern in rules["files"] for file in ROOT.glob(pattern)):
        stats = coverage.branch_stats(str(file))
        total = sum(branches for branches, _ in stats.values())
        taken = sum(taken for _, taken in stats.values())
        open_lines = [str(line) for line, (branches, taken) in stats.items() if taken < branches]
        print(f"{taken:4}/{total:<4} {file.relative_to(ROOT)}  {' '.join(open_lines)}".rstrip())
        taken_in_all += taken
        total_in_all += total
    percent = 100 * taken_in_all / max(1, total_in_all)
    print(
        f"{percent:.1f} % of {total_in_all} branches; lines and branches by file: coverage report"
    )
    if percent < rules["branch_coverage_percent"]:
        print(f"fewer than {rules['branch_coverage_percent']} %", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
