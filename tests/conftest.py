"""What every test gets, and what tests with real processes share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.testkit.leaks import no_leaks

BOUND_S = 20.0


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(no_leaks: None) -> None:
    """Fail a test that leaves an actor, process, thread or file descriptor."""


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[Any]:
    """A cluster of two workers that the tests of a module share."""
    from scaler import LocalCluster

    with LocalCluster(workers=2) as made:
        settle(made)
        yield made


@pytest.fixture
def cluster(shared_cluster: Any) -> Iterator[Any]:
    """The shared cluster; after the test both its executors are up again."""
    yield shared_cluster
    settle(shared_cluster)


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    """A client of the shared cluster."""
    from scaler import Client

    with Client(cluster) as made:
        yield made


def settle(cluster: Any) -> None:
    """Wait until all workers run tasks at the same time: none is being replaced."""
    from scaler import Client

    with Client(cluster) as client:
        wait_until(lambda: slots_are_back(client))


def slots_are_back(client: Any) -> bool:
    """Tell whether as many processes as there are workers run tasks at the same time."""
    futures = [client.submit(time.sleep, 0.005) for _ in range(client.cluster.slots)]
    for future in futures:
        future.result(BOUND_S)
    return len({future.profiling_info().pid for future in futures}) == len(futures)


@pytest.fixture(scope="module")
def by_value(request: pytest.FixtureRequest) -> Iterator[None]:
    """Send this module's functions by value: executors need not find the tests."""
    import cloudpickle

    cloudpickle.register_pickle_by_value(request.module)
    yield
    cloudpickle.unregister_pickle_by_value(request.module)


def wait_until(condition: Callable[[], Any], bound_s: float = BOUND_S) -> Any:
    """Return the condition's value once it is true."""
    deadline_s = time.monotonic() + bound_s
    while not (value := condition()):
        assert time.monotonic() < deadline_s, f"nothing came within {bound_s:g} s"
        time.sleep(0.001)
    return value


@pytest.fixture
def all_slots_run(cluster: Any) -> Callable[[Any], bool]:
    """`all_slots_run(client)`: no slot of the cluster is lost."""
    return slots_are_back


@pytest.fixture
def until() -> Callable[..., Any]:
    """`until(condition)` waits for it, for a bounded time."""
    return wait_until


class Sign:
    """A file through which a task says that it runs. Only `path` travels to the task."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def text(self) -> str:
        """What the task wrote last."""
        try:
            return Path(self.path).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def wait(self) -> str:
        """Return what the task wrote, once it has."""
        return wait_until(self.text)

    def pid(self) -> int:
        """Return the first number the task wrote, once it has."""
        return int(self.wait().split()[0])


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


@pytest.fixture
def alive() -> Callable[[int], bool]:
    """`alive(pid)`."""
    return is_alive


@pytest.fixture
def sign(tmp_path: Path) -> Sign:
    """One sign for the test."""
    return Sign(tmp_path / "sign")


@pytest.fixture
def new_sign(tmp_path: Path) -> Callable[[], Sign]:
    """Make as many signs as needed."""
    return lambda: Sign(tmp_path / f"sign-{os.urandom(6).hex()}")
