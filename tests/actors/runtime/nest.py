"""`Nest`: a launcher on a poller of its own, and what its tests ask of the system."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from actors import Child, ExitStatus, Launcher, Poller

HERE = Path(__file__).parent
BOUND_S = 20.0


class Nest:
    """A launcher with its poller, and what was heard of its children."""

    def __init__(self, *, preload: Sequence[str] = (), **options: object) -> None:
        self.poller = Poller()
        self.launcher = Launcher(preload=preload, **options)  # type: ignore[arg-type]
        self.launcher.attach(self.poller)
        self.exits: list[ExitStatus] = []
        self.lost: list[str] = []
        self.launcher.on_lost = self.lost.append

    def launch(self, entry: str, payload: bytes = b"", fds: Sequence[int] = ()) -> Child:
        return self.launcher.launch(
            f"launched:{entry}" if ":" not in entry else entry,
            payload,
            fds,
            on_exit=self.exits.append,
        )

    def start(self, entry: str, payload: bytes = b"") -> tuple[Child, list[int]]:
        """Launch one that says pids, and wait until all that it starts have."""
        reader, writer = os.pipe()
        child = self.launch(entry, payload, [writer])
        os.close(writer)
        count = 5 if entry == "family" else 1
        said = self.read(reader, lambda said: said.count(b"\n") == count)
        os.close(reader)
        return child, [int(pid) for pid in said.split()]

    def ask(self, entry: str, payload: bytes = b"") -> bytes:
        """Launch one, and return all that it writes."""
        reader, writer = os.pipe()
        self.launch(entry, payload, [writer])
        os.close(writer)
        said = self.read(reader, lambda said: False)
        os.close(reader)
        return said

    def read(self, fd: int, enough: Callable[[bytes], bool]) -> bytes:
        said = bytearray()
        ended = []

        def read() -> None:
            data = os.read(fd, 65536)
            said.extend(data)
            if not data:
                ended.append(True)

        self.poller.add_reader(fd, read)
        self.until(lambda: bool(ended) or enough(bytes(said)))
        self.poller.remove_reader(fd)
        return bytes(said)

    def until(self, condition: Callable[[], object]) -> None:
        deadline_s = time.monotonic() + BOUND_S
        while not condition():
            assert time.monotonic() < deadline_s, f"waited in vain; {self.exits} {self.lost}"
            self.poller.poll(0.5)

    def exit(self) -> ExitStatus:
        """Wait for one end, and return it."""
        self.until(lambda: self.exits)
        return self.exits.pop(0)

    def close(self) -> None:
        self.launcher.close()
        self.poller.close()


def is_gone(pid: int) -> bool:
    """Whether a process has ended; it may be a zombie of someone else's."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


def wait_gone(pids: Sequence[int]) -> None:
    deadline_s = time.monotonic() + BOUND_S
    while left := [pid for pid in pids if not is_gone(pid)]:
        assert time.monotonic() < deadline_s, f"still there: {left}"
        os.sched_yield()


def fd_count() -> int:
    return len(os.listdir("/proc/self/fd"))


@contextmanager
def no_descriptor_free() -> Iterator[None]:
    """Let this process open nothing meanwhile."""
    free = os.dup(0)
    os.close(free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
