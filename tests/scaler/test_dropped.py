"""A client or cluster that was dropped without a word is closed, and loses nobody's answer."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from actors.testkit.processes import new_processes, running_processes
from scaler import CancelOutcome, Client, LocalCluster, SerializationError

BOUND_S = 10.0


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """What is dropped goes at once, not when the collector happens to look."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def gone() -> Callable[[], bool]:
    """Whether all processes that the test has started end within the bound."""
    before = running_processes()

    def wait() -> bool:
        deadline_s = time.monotonic() + BOUND_S
        while new_processes(before):
            if time.monotonic() > deadline_s:
                return False
            threading.Event().wait(0.005)
        return True

    return wait


def test_a_dropped_client_takes_its_cluster_along(gone: Callable[[], bool]) -> None:
    client = Client(workers=1)
    assert client.submit(pow, 2, 3).result() == 8
    del client
    assert gone()


def test_a_view_holds_its_client(gone: Callable[[], bool]) -> None:
    client = Client(workers=1)
    view = client.options(name="named")
    del client
    assert view.submit(pow, 2, 3).result() == 8
    del view
    assert gone()


def test_a_future_outlives_its_dropped_client(gone: Callable[[], bool]) -> None:
    assert Client(workers=1).submit(pow, 2, 3).result() == 8
    future = Client(workers=1).submit(time.sleep, 0.5)
    assert future.result() is None
    assert gone()


def test_a_dropped_future_of_a_dropped_client_is_cancelled(gone: Callable[[], bool]) -> None:
    future = Client(workers=1).submit(time.sleep, 600)
    assert not future.done()
    del future
    assert gone()


def test_a_callback_is_called_though_client_and_future_were_dropped(
    gone: Callable[[], bool],
) -> None:
    called = threading.Event()
    Client(workers=1).submit(time.sleep, 0.5).add_done_callback(lambda _: called.set())
    assert called.wait(BOUND_S)
    assert gone()


def test_a_coroutine_may_await_a_future_of_a_dropped_client(gone: Callable[[], bool]) -> None:
    async def awaits() -> None:
        await Client(workers=1).submit(time.sleep, 0.5)

    asyncio.run(awaits())
    assert gone()


def test_a_future_of_a_dropped_client_can_be_cancelled(gone: Callable[[], bool]) -> None:
    future = Client(workers=1).submit(time.sleep, 600)
    assert future.cancel()
    assert future.cancel_outcome is CancelOutcome.CANCELED
    assert gone()


def test_a_dropped_client_leaves_a_cluster_that_it_does_not_own(gone: Callable[[], bool]) -> None:
    cluster = LocalCluster(1)
    client = Client(cluster)
    assert client.submit(pow, 2, 3).result() == 8
    session = client._session
    del client
    deadline_s = time.monotonic() + BOUND_S
    while not session.closed and time.monotonic() < deadline_s:
        threading.Event().wait(0.005)
    assert session.closed
    assert Client(cluster).submit(pow, 2, 3).result() == 8
    del cluster, session
    assert gone()


def test_a_dropped_cluster_lives_as_long_as_a_client_of_it(gone: Callable[[], bool]) -> None:
    cluster = LocalCluster(1)
    client = Client(cluster)
    del cluster
    assert client.submit(pow, 2, 3).result() == 8
    del client
    assert gone()


def test_a_reference_cycle_of_the_users_is_no_hindrance(gone: Callable[[], bool]) -> None:
    holder = {"client": Client(workers=1)}
    holder["self"] = holder  # type: ignore[assignment]
    del holder
    gc.collect()
    assert gone()


def test_a_client_lives_while_its_imap_is_read(gone: Callable[[], bool]) -> None:
    assert list(Client(workers=1).imap(abs, [-1, -2])) == [1, 2]
    values = Client(workers=1).imap(abs, [-1, -2, -3])
    assert next(values) == 1
    assert next(values) == 2
    del values
    assert gone()


def test_a_traceback_that_is_kept_does_not_keep_the_client(gone: Callable[[], bool]) -> None:
    """An interactive interpreter keeps the last one."""
    cells = {"client": Client(workers=1), "lock": threading.Lock()}
    kept = []
    for cell in (
        "client.map(divmod, [1], [0])",
        "client.starmap(divmod, [(1, 0)])",
        "client.submit(print, lock)",
        "client.submit(divmod, 1, 0).result()",
    ):
        with pytest.raises((ZeroDivisionError, SerializationError)) as raised:
            eval(cell, cells)
        kept.append(raised)
    del cells["client"]
    assert gone()


def test_dropping_waits_for_nothing() -> None:
    """Also on the cluster's own thread, where a collector may run as anywhere else."""
    client = Client(workers=1)
    client.submit(time.sleep, 600)
    cluster, session = client.cluster, client._session
    begun_s = time.monotonic()
    held = [client]
    del client
    cluster._roles.system.call(held.clear)  # type: ignore[attr-defined]
    assert time.monotonic() - begun_s < 1.0
    deadline_s = time.monotonic() + BOUND_S
    while not session.closed and time.monotonic() < deadline_s:
        threading.Event().wait(0.005)
    assert session.closed


def test_closing_leaves_nothing_for_the_finalizers() -> None:
    with Client(workers=1) as client:
        dropped = client._dropped, client.cluster._dropped  # type: ignore[attr-defined]
        assert all(finalizer.alive for finalizer in dropped)
    assert not any(finalizer.alive for finalizer in dropped)
