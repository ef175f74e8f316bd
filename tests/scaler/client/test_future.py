"""What a task's future adds: cancel with an answer, its profile, its place in a program."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from concurrent.futures import CancelledError
from typing import Any

import msgspec
import pytest

from scaler.client.future import CancelOutcome, ProfilingInfo, resolve_rows
from scaler.errors import (
    ClientError,
    InternalError,
    SerializationError,
    TaskTimeoutError,
    WorkerDiedError,
)
from scaler.protocol.tasks import RowStatus

# The rows of the cancel table.


def test_a_cancel_is_delegated_with_its_arguments(session):
    future = session.future()
    assert future.cancel_outcome is None
    assert future.cancel(force=False, timeout=3, grace=0) is True
    assert session.requests == [(7, False, 3, 0)]
    assert future.cancelled()
    assert future.cancel_outcome is CancelOutcome.CANCELED


def test_the_defaults_of_a_cancel(session):
    session.future().cancel()
    assert session.requests == [(7, True, 30.0, None)]


@pytest.mark.parametrize(
    "outcome",
    [
        CancelOutcome.CANCELED,
        CancelOutcome.NOT_FOUND,
        CancelOutcome.RESULT,
        CancelOutcome.TIMEOUT,
    ],
)
def test_answers_that_cancel(session, outcome):
    session.answer = outcome
    future = session.future()
    future.set_running()
    assert future.cancel() is True
    assert future.cancelled()
    assert future.cancel_outcome is outcome


def test_a_cancel_that_failed_leaves_the_future_waiting(session):
    session.answer = CancelOutcome.FAILED
    future = session.future()
    future.set_running()
    assert future.cancel(force=False) is False
    assert future.running()
    assert future.cancel_outcome is CancelOutcome.FAILED
    future.set_result_ready(session.row("value"))
    assert future.result() == "value"
    assert future.cancel_outcome is CancelOutcome.FAILED


@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize("good", [True, False])
def test_a_done_future_gives_its_value_up(session, opened, good):
    future = session.future()
    future.set_result_ready(session.row("v" * 5000, error=None if good else OSError()))
    if opened:
        future.exception()
    assert future.cancel() is True
    assert future.cancelled()
    assert future.cancel_outcome is CancelOutcome.RELEASED
    for ask in (future.result, future.exception):
        with pytest.raises(CancelledError):
            ask()
    assert session.requests == []
    assert future._result is None
    assert future._row is None
    assert future._ran.payload == b"" or not good
    assert future.profiling_info().worker == "worker-1"


def test_with_cancel_finished_off_a_done_future_keeps_its_value(session):
    session.cancel_finished = False
    future = session.future()
    future.set_result_ready(session.row("value"))
    assert future.cancel() is False
    assert future.cancel_outcome is CancelOutcome.FINISHED
    assert future.result() == "value"
    assert session.requests == []


@pytest.mark.parametrize("cancel_finished", [True, False])
def test_a_cancelled_future_stays_as_it_is(session, cancel_finished):
    session.cancel_finished = cancel_finished
    future = session.future()
    future.set_cancel_confirmed(CancelOutcome.TIMEOUT)
    assert future.cancel() is True
    assert future.cancel_outcome is CancelOutcome.TIMEOUT
    assert session.requests == []
    future.set_cancel_confirmed(CancelOutcome.CANCELED)
    future.set_cancel_refused()
    assert not future.set_result_ready(session.row(1))
    assert future.cancel_outcome is CancelOutcome.TIMEOUT
    with pytest.raises(CancelledError):
        future.result()


@pytest.mark.parametrize("done", [True, False])
def test_wrong_arguments_of_a_cancel(session, done):
    future = session.future()
    if done:
        future.set_result_ready(session.row(1))
    with pytest.raises(ValueError, match="without a bound"):
        future.cancel(timeout=None)
    with pytest.raises(ValueError, match="timeout must be 0 or more"):
        future.cancel(timeout=-1)
    with pytest.raises(ValueError, match="timeout must be 0 or more"):
        future.cancel(timeout=float("nan"))
    with pytest.raises(ValueError, match="grace must be 0 or more"):
        future.cancel(grace=-0.5)
    with pytest.raises(ValueError, match="without a bound"):
        asyncio.run(future.acancel(timeout=None))
    assert session.requests == []
    assert future.cancel_outcome is None


def test_a_cancel_in_a_loops_callback_is_unconfirmed_until_the_answer(session, wait_until):
    future = session.future()
    called: list[Any] = []
    future.add_done_callback(called.append)
    returned: list[bool] = []

    async def main() -> None:
        gone = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: returned.append(future.cancel(force=False, grace=2)))
        loop.call_soon(gone.set)
        await asyncio.wait_for(gone.wait(), 10)

    asyncio.run(main())
    assert returned == [True]
    assert session.requests == []
    assert session.sent == [(7, False, 2)]
    assert future.cancel_outcome is CancelOutcome.UNCONFIRMED
    wait_until(lambda: called)
    assert not future.set_cancel_confirmed(CancelOutcome.NOT_FOUND)
    assert future.cancel_outcome is CancelOutcome.NOT_FOUND
    future.set_cancel_confirmed(CancelOutcome.CANCELED)
    assert future.cancel_outcome is CancelOutcome.NOT_FOUND
    assert called == [future]


def test_an_unconfirmed_cancel_may_turn_out_to_have_failed(session):
    future = session.future()
    future.set_cancel_confirmed(CancelOutcome.UNCONFIRMED)
    future.set_cancel_refused()
    assert future.cancelled()
    assert future.cancel_outcome is CancelOutcome.FAILED


def test_an_unconfirmed_cancel_that_nobody_will_answer_has_timed_out(session):
    future = session.future()
    future.set_cancel_confirmed(CancelOutcome.UNCONFIRMED)
    assert not future.set_error(ClientError("the cluster has ended"))
    assert future.cancelled()
    assert future.cancel_outcome is CancelOutcome.TIMEOUT
    future.set_error(ClientError("again"))
    assert future.cancel_outcome is CancelOutcome.TIMEOUT


def test_a_done_future_is_released_in_a_loops_callback_too(session):
    future = session.future()
    future.set_result_ready(session.row(1))

    async def main() -> None:
        gone = asyncio.Event()
        asyncio.get_running_loop().call_soon(lambda: (future.cancel(), gone.set()))
        await asyncio.wait_for(gone.wait(), 10)

    asyncio.run(main())
    assert future.cancel_outcome is CancelOutcome.RELEASED
    assert session.sent == []


def test_a_cancel_in_a_coroutine_asks(session):
    future = session.future()

    async def main() -> bool:
        return future.cancel()

    assert asyncio.run(main())
    assert session.requests == [(7, True, 30.0, None)]


def test_acancel_asks_or_decides_itself(session):
    future = session.future()
    assert asyncio.run(future.acancel(force=False, timeout=1, grace=2))
    assert session.requests == [(7, False, 1, 2)]
    assert asyncio.run(future.acancel())
    done = session.future()
    done.set_result_ready(session.row(1))
    assert asyncio.run(done.acancel())
    assert done.cancel_outcome is CancelOutcome.RELEASED
    assert len(session.requests) == 1


def test_many_threads_cancel_one_future_and_callbacks_are_told_once(session, in_thread):
    for _ in range(100):
        future = session.future()
        called: list[Any] = []
        future.add_done_callback(called.append)
        start, returned = threading.Barrier(5), []

        def cancel(
            future: Any = future, start: Any = start, returned: list[bool] = returned
        ) -> None:
            start.wait(10)
            returned.append(future.cancel())

        threads = [in_thread(cancel) for _ in range(4)]
        start.wait(10)
        session.callbacks.call(resolve_rows([(future, session.row(1))]))
        for thread in threads:
            thread.join(10)
        assert returned == [True] * 4
        assert future.cancelled()
    assert session.callbacks.close(10)
    assert called == [future]


# Rows.


def test_a_batch_tells_which_have_callbacks_and_skips_those_that_are_done(session):
    futures = session.futures(5)
    futures[1].add_done_callback(lambda _: None)
    futures[2].set_cancel_confirmed()
    futures[3].add_done_callback(lambda _: None)
    futures[3].set_cancel_confirmed()
    rows = [(future, session.row(future.task_id)) for future in futures]
    assert resolve_rows([*rows, *rows]) == [futures[1]]
    assert [future.cancelled() for future in futures] == [False, False, True, True, False]
    assert futures[4].result() == 4


def test_an_interrupted_attempt_is_a_cancel(session):
    future = session.future()
    future.set_result_ready(session.row(status=RowStatus.INTERRUPTED, payload=b""))
    assert future.cancelled()
    assert future.cancel_outcome is CancelOutcome.CANCELED
    with pytest.raises(CancelledError):
        future.result()
    assert future.profiling_info().pid == 42


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (RowStatus.WORKER_DIED, WorkerDiedError),
        (RowStatus.LOST, WorkerDiedError),
        (RowStatus.TIMED_OUT, TaskTimeoutError),
        (RowStatus.INTERNAL, InternalError),
    ],
)
def test_what_was_not_the_tasks_doing_is_an_error_of_ours(session, status, error):
    future = session.future()
    future.name = "module.f"
    future.set_result_ready(session.row(status=status, payload=b"killed by SIGKILL: \xff"))
    with pytest.raises(error) as caught:
        future.result()
    assert str(caught.value) == "module.f: killed by SIGKILL: \ufffd"
    assert not isinstance(caught.value, TimeoutError), "that is `result(timeout=...)`'s"


def test_a_task_that_timed_out_while_it_waited_has_no_profile(session):
    future = session.future()
    row = msgspec.structs.replace(session.row(status=RowStatus.TIMED_OUT, payload=b"late"), pid=0)
    future.set_result_ready(row)
    for _ in range(2):
        with pytest.raises(ClientError, match="no run of it came to an end"):
            future.profiling_info()
        assert isinstance(future.exception(), TaskTimeoutError)


def test_a_profile_tells_which_attempt_it_was(session):
    future = session.future()
    future.set_result_ready(msgspec.structs.replace(session.row(1), attempt=3))
    assert future.profiling_info().attempt == 3


def test_a_value_that_does_not_open_is_an_error_of_that_future(session):
    good, bad = session.futures(2)
    resolve_rows([(good, session.row(1)), (bad, session.row(payload=b"no pickle"))])
    assert good.result() == 1
    with pytest.raises(SerializationError) as caught:
        bad.result()
    assert "worker-1 (pid 42)" in caught.value.__notes__[0]
    assert bad.exception() is caught.value


class Interrupts:
    """Unpickling it is interrupted once by Ctrl-C."""

    def __reduce__(self) -> Any:
        return _interrupt, ()


_interruptions = [0]


def _interrupt() -> str:
    _interruptions[0] += 1
    if _interruptions[0] == 1:
        raise KeyboardInterrupt
    return "opened"


def test_ctrl_c_while_a_value_is_opened_loses_nothing(session):
    _interruptions[0] = 0
    future = session.future()
    future.set_result_ready(session.row(Interrupts()))
    with pytest.raises(KeyboardInterrupt):
        future.result()
    assert future.result() == "opened"


def test_large_payloads_are_dropped_once_opened(session):
    future = session.future()
    future.set_result_ready(session.row("x" * 5000))
    assert len(future.result()) == 5000
    assert future._row is None
    assert future._ran.payload == b""
    assert future.profiling_info().run_s == 2.5


def test_what_was_kept_for_a_task_is_dropped_when_the_future_is_given_up(session):
    future = session.future()
    future._is_input = True
    future.set_result_ready(session.row("x" * 5000))
    assert len(future.result()) == 5000
    assert len(future._ran.payload) > 5000
    assert future.cancel() is True
    assert future._ran.payload == b""


def test_a_future_that_is_given_up_while_it_is_opened_drops_what_was_kept(session, monkeypatch):
    from scaler.client import rows as module

    def load_and_cancel(payload: bytes) -> Any:
        future.cancel()
        return pickle.loads(payload)

    future = session.future()
    future._is_input = True
    future.set_result_ready(session.row("x" * 5000))
    monkeypatch.setattr(module, "load_value", load_and_cancel)
    with pytest.raises(CancelledError):
        future.result()
    assert future._ran.payload == b""
    assert future._result is None


def test_a_value_may_ask_its_own_future_while_it_is_opened(session, monkeypatch):
    from scaler.client import rows as module

    future = session.future()
    future.set_result_ready(session.row("value"))
    inner: list[Any] = []

    def load_and_look(payload: bytes) -> Any:
        if not inner:
            inner.append(None)
            inner[0] = future.result()
        return pickle.loads(payload)

    monkeypatch.setattr(module, "load_value", load_and_look)
    assert future.result() == "value"
    assert inner == ["value"]


class Opening:
    """Stands for a payload that takes its time to open."""

    def __init__(self) -> None:
        self.opened = 0
        self.entered = threading.Event()
        self.go_on = threading.Event()

    def load(self, payload: bytes) -> Any:
        self.opened += 1
        self.entered.set()
        assert self.go_on.wait(10)
        return pickle.loads(payload)


@pytest.fixture
def opening(monkeypatch):
    made = Opening()
    monkeypatch.setattr("scaler.client.rows.load_value", made.load)
    return made


def test_who_asks_while_another_thread_opens_the_value_waits_for_it(
    session, opening, in_thread, wait_until
):
    future = session.future()
    future.set_result_ready(session.row("value"))
    seen: list[Any] = []
    for _ in range(2):
        in_thread(lambda: seen.append(future.result()))
        assert opening.entered.wait(10)
    wait_until(lambda: future._opener < 0)
    assert future.done()
    opening.go_on.set()
    wait_until(lambda: len(seen) == 2)
    assert seen == ["value", "value"]
    assert opening.opened == 1


def test_a_value_given_up_while_it_is_opened_is_never_seen(session, opening, in_thread, wait_until):
    future = session.future()
    future.set_result_ready(session.row("value"))
    cancelled: list[bool] = []

    def look() -> None:
        with pytest.raises(CancelledError):
            future.result()
        cancelled.append(True)

    in_thread(look)
    assert opening.entered.wait(10)
    assert future.cancel()
    opening.go_on.set()
    wait_until(lambda: cancelled)
    assert future._result is None
    assert future.cancel_outcome is CancelOutcome.RELEASED


def test_a_result_that_comes_as_a_loops_callback_cancels_is_released(session, monkeypatch):
    future = session.future()

    def arrive() -> bool:
        future.set_result_ready(session.row("value"))
        return True

    monkeypatch.setattr("scaler.client.future.in_loop_callback", arrive)
    assert future.cancel()
    assert future.cancel_outcome is CancelOutcome.RELEASED
    assert session.sent == []


# The rest.


def test_the_profile(session):
    future = session.future(submitted_s=0.5)
    with pytest.raises(ClientError, match="no profile yet"):
        future.profiling_info()
    future.set_result_ready(session.row("value"))
    expected = ProfilingInfo(
        queued_s=1.0,
        started_s=1.5,
        ended_s=4.0,
        run_s=2.5,
        cpu_s=0.25,
        rss_bytes=1000,
        worker="worker-1",
        pid=42,
        attempt=1,
    )
    assert future.profiling_info() == expected
    future.result()
    assert future.profiling_info() == expected


def test_a_task_that_never_ran_has_no_profile(session):
    future = session.future()
    future.cancel()
    with pytest.raises(ClientError, match="no run of it came to an end"):
        future.profiling_info()


def test_the_repr_is_one_line(session):
    future = session.future()
    assert repr(future) == "<ScalerFuture task=7 pending>"
    future.set_running()
    assert repr(future) == "<ScalerFuture task=7 running>"
    future.set_result_ready(session.row(error=OSError("x")))
    assert repr(future) == "<ScalerFuture task=7 failed>"
    future.exception()
    assert repr(future) == "<ScalerFuture task=7 raised OSError>"
    future.cancel()
    assert repr(future) == "<ScalerFuture task=7 cancelled (released)>"
    good = session.future()
    good.set_result_ready(session.row())
    assert repr(good) == "<ScalerFuture task=7 finished>"
    good.result()
    assert repr(good) == "<ScalerFuture task=7 finished>"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_a_future_is_a_clear_error(session, protocol):
    with pytest.raises(ClientError, match=r"Pass its result\(\) instead"):
        pickle.dumps([session.future()], protocol)


def test_copying_a_future_is_a_clear_error(session):
    with pytest.raises(ClientError, match="cannot be pickled"):
        copy.copy(session.future())


def test_an_unused_future_has_no_condition_and_no_dict(session):
    future = session.future()
    resolve_rows([(future, session.row(1))])
    assert future.result() == 1
    future.add_done_callback(lambda _: None)
    assert future.done()
    assert future._listeners == ()
    assert future.__dict__ == {}
