"""What a future promises, with a real cluster."""

from __future__ import annotations

import concurrent.futures
import math
import operator
import threading
import time
from concurrent.futures import CancelledError
from decimal import Decimal
from fractions import Fraction

import pytest

from scaler import CancelOutcome, Client, ClientClosedError, LocalCluster, ScalerFuture
from scaler.client.outcome import check_cancel

pytestmark = pytest.mark.usefixtures("by_value")


def wait_for_file(path: str) -> str:
    with open(path, "a") as file:
        file.write("begun")
    time.sleep(60)
    return "done"


def test_cancel(client, sign):
    running = client.submit(wait_for_file, sign.path)
    sign.wait()
    assert running.cancel()
    assert running.cancelled()
    assert running.done()
    assert running.cancel_outcome is CancelOutcome.CANCELED
    with pytest.raises(CancelledError):
        running.result()
    with pytest.raises(CancelledError):
        running.exception()
    assert running.cancel(), "a second cancel changes nothing"
    assert running.cancel_outcome is CancelOutcome.CANCELED

    finished = client.submit(math.sqrt, 100.0)
    assert finished.result() == 10.0
    assert finished.cancel(), "its value is given up"
    assert finished.cancel_outcome is CancelOutcome.RELEASED
    with pytest.raises(CancelledError):
        finished.result()


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("x", None), TypeError, "cancel: timeout must be a number of seconds, got 'x'"),
        ((True, None), TypeError, "cancel: timeout must be a number of seconds, got True"),
        ((1, "x"), TypeError, "cancel: grace must be a number of seconds, got 'x'"),
        ((1, [1]), TypeError, "cancel: grace must be a number of seconds"),
        ((math.nan, None), ValueError, "the timeout must be 0 or more seconds"),
        ((10**400, None), ValueError, "the timeout must be 0 or more seconds"),
        ((math.inf, None), ValueError, "timeout=inf): nothing waits without a bound; at most"),
        ((1e300, None), ValueError, "nothing waits without a bound; at most 1e+09 s"),
        ((1, math.nan), ValueError, "the grace must be 0 or more seconds"),
    ],
)
def test_a_cancel_says_what_is_wrong_with_its_arguments(arguments, error, text):
    with pytest.raises(error) as caught:
        check_cancel(*arguments)
    assert text in str(caught.value)


def test_a_cancel_takes_numbers_of_any_kind(client, sign):
    assert check_cancel(Decimal("1.5"), math.inf) == 1.5  # type: ignore[arg-type]
    running = client.submit(wait_for_file, sign.path)
    sign.wait()
    assert running.cancel(timeout=Fraction(10), grace=Decimal(3))
    assert running.cancel_outcome is CancelOutcome.CANCELED


def test_callback(client):
    told = threading.Semaphore(0)
    seen: list[tuple[ScalerFuture, str]] = []

    def note(future: ScalerFuture) -> None:
        seen.append((future, threading.current_thread().name))
        told.release()

    futures = [client.submit(math.sqrt, number) for number in range(50)]
    slow = client.submit(time.sleep, 60)
    futures.append(slow)
    for future in futures:
        future.add_done_callback(note)
    concurrent.futures.wait(futures[:-1], timeout=20)
    slow.cancel()
    for _ in futures:
        assert told.acquire(timeout=20)
    assert {id(future) for future, _ in seen} == {id(future) for future in futures}
    assert len(seen) == len(futures)
    late: list[ScalerFuture] = []
    futures[0].add_done_callback(late.append)
    assert late == [futures[0]], "a future that is done calls at once"


def test_as_completed(client):
    futures = [client.submit(math.sqrt, number**2) for number in range(100)]
    results = [future.result() for future in concurrent.futures.as_completed(futures, timeout=20)]
    assert sorted(results) == list(range(100))

    slow = client.submit(time.sleep, 60)
    fast = client.submit(math.sqrt, 4)
    done, open_ = concurrent.futures.wait(
        [slow, fast], timeout=20, return_when=concurrent.futures.FIRST_COMPLETED
    )
    assert (done, open_) == ({fast}, {slow})
    threading.Timer(0.01, slow.cancel).start()
    assert next(concurrent.futures.as_completed([slow], timeout=20)).cancelled()


def test_state(client, sign, until):
    future = client.submit(wait_for_file, sign.path)
    assert not future.done()
    sign.wait()
    until(future.running)
    assert not future.done()
    assert not future.cancelled()
    with pytest.raises(TimeoutError):
        future.result(timeout=0.01)
    with pytest.raises(TimeoutError):
        future.exception(timeout=0)
    assert future.running(), "a timeout of result() ends nothing"
    future.cancel()
    assert (future.running(), future.cancelled(), future.done()) == (False, True, True)

    done = client.submit(math.sqrt, 16)
    assert done.result() == 4.0
    assert (done.running(), done.cancelled(), done.done()) == (False, False, True)
    assert done.exception() is None


def test_exception(client):
    future = client.submit(operator.truediv, 1, 0)
    with pytest.raises(ZeroDivisionError):
        future.result(timeout=20)
    assert isinstance(future.exception(), ZeroDivisionError)
    assert (future.done(), future.cancelled()) == (True, False)
    done, _ = concurrent.futures.wait(
        [client.submit(operator.truediv, 1, 0), client.submit(time.sleep, 5)],
        timeout=4,
        return_when=concurrent.futures.FIRST_EXCEPTION,
    )
    assert len(done) == 1


def test_client_disconnected():
    with LocalCluster(workers=2) as cluster:
        client = Client(cluster)
        finished = client.submit(math.sqrt, 4)
        assert finished.result() == 2.0
        unread = client.submit(math.sqrt, 9)
        concurrent.futures.wait([unread], timeout=20)
        open_ = [client.submit(time.sleep, 60) for _ in range(5)]
        client.disconnect()
        assert all(future.cancelled() for future in open_)
        assert {future.cancel_outcome for future in open_} == {CancelOutcome.CANCELED}
        with pytest.raises(CancelledError):
            open_[0].result()
        assert finished.result() == 2.0
        assert unread.result() == 3.0, "what had arrived stays"
        with pytest.raises(ClientClosedError):
            client.submit(math.sqrt, 4)
        with Client(cluster) as another:
            assert another.submit(math.sqrt, 4).result() == 2.0
