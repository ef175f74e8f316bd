"""The kernel kills for memory, in a control group made for it: an executor, and that is told."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.reliability.programs import Program, joined

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="has control groups")

BOUND_S = 60.0
LIMIT_MIB = 150
GROUPS = Path("/sys/fs/cgroup")


class Files(NamedTuple):
    """What the files of a memory group are called."""

    limit: str
    swap: str
    swap_limit: str
    """What is written there, so that nothing is swapped."""
    kills: str


VERSION_1 = Files(
    limit="memory.limit_in_bytes",
    swap="memory.memsw.limit_in_bytes",  # of memory and swap together
    swap_limit=str(LIMIT_MIB << 20),
    kills="memory.oom_control",
)
VERSION_2 = Files(limit="memory.max", swap="memory.swap.max", swap_limit="0", kills="memory.events")


class MemoryGroup:
    """A control group whose processes have little memory, and no swap."""

    def __init__(self) -> None:
        """Make it.

        Raises:
            OSError: that cannot be done here.
        """
        is_version_1 = Path(GROUPS, "memory", VERSION_1.limit).exists()
        self._files = VERSION_1 if is_version_1 else VERSION_2
        top = GROUPS / "memory" if is_version_1 else GROUPS
        self.path = top / f"scaler-test-{os.getpid()}-{os.urandom(4).hex()}"
        self.path.mkdir()
        try:
            # No mode that creates: files that are missing there are a reason to give up.
            (self.path / self._files.limit).open("r+").close()
            (self.path / "cgroup.procs").open("r+").close()
            (self.path / self._files.limit).write_text(str(LIMIT_MIB << 20))
            if (self.path / self._files.swap).exists():  # else this kernel does not count it
                (self.path / self._files.swap).write_text(self._files.swap_limit)
        except OSError:
            self.path.rmdir()
            raise

    def kills(self) -> int:
        """Return how many processes of the group were killed for memory."""
        lines = (self.path / self._files.kills).read_text().splitlines()
        return int(dict(line.split() for line in lines)["oom_kill"])

    def is_removed(self) -> bool:
        """Remove it, if its last process has been reaped."""
        try:
            self.path.rmdir()
        except OSError:
            return False
        return True


@pytest.fixture
def group(until: Callable[..., Any]) -> Iterator[MemoryGroup]:
    try:
        made = MemoryGroup()
    except OSError as error:
        pytest.skip(f"no control group of memory can be made here: {error}")
    yield made
    until(made.is_removed)


EATS = """
    import sys
    from pathlib import Path

    Path(sys.argv[1], "cgroup.procs").write_text("0")

    from scaler import Client, WorkerDiedError

    def eat():
        eaten = []
        while True:
            eaten.append(bytearray(b"x") * (1 << 20))

    with Client(workers=1) as client:
        client.submit(pow, 2, 3).result()
        once = client.options(max_attempts=1)
        for _ in range(3):
            error = once.submit(eat).exception()
            assert type(error) is WorkerDiedError, repr(error)
            print(str(error).partition(": killed")[2].partition("\\n")[0])
            print(client.submit(pow, 2, 10).result())
"""


def test_a_task_that_takes_all_memory_is_killed_for_it_and_nobody_else(group):
    with Program(EATS, str(group.path)) as program:
        code, out, err = program.ends(BOUND_S)
    assert code == 0, err
    cause = (
        " by SIGKILL: out of memory (the kernel's OOM killer; "
        f"limit {LIMIT_MIB} MiB of its control group /{group.path.name})"
    )
    assert out.splitlines() == [cause, "1024"] * 3
    assert group.kills() == 3


MOVES = """
    from pathlib import Path
    Path({path!r}, "cgroup.procs").write_text("0")
"""

RECEIVES = """
    import sys
    sys.path.insert(0, sys.argv[1])

    from scaler import Client, WorkerDiedError

    with Client(workers=1, preload=["moves_launcher"]) as client:
        data = bytes(int(sys.argv[2]))
        large = client.submit(lambda: len(data))  # functions travel in the pipe, whole
        behind = [client.submit(pow, 2, number) for number in range(10)]
        error = large.exception()
        assert type(error) is WorkerDiedError, repr(error)
        print(str(error).count("before the task had begun: killed by SIGKILL: out of memory"))
        print(sum(future.result() for future in behind))
        print(client.submit(pow, 2, 10).result())
"""


def test_a_task_too_large_to_be_received_ends_and_those_behind_it_run(group, tmp_path):
    (tmp_path / "moves_launcher.py").write_text(joined(MOVES.format(path=str(group.path))))
    with Program(RECEIVES, str(tmp_path), str(LIMIT_MIB << 20)) as program:
        code, out, err = program.ends(BOUND_S)
    assert code == 0, err
    assert out.splitlines() == ["3", "1023", "1024"]
    assert group.kills() == 6, "the first three may be by chance: nobody is blamed"
