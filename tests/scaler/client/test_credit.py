"""Credit: taken in order, waited for, given back, never lost."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
from typing import Any

import pytest

from scaler.client.credit import Credit
from scaler.errors import ClientBusyError, ClientClosedError

BOUND_S = 10.0


def test_credit_is_taken_and_given_back():
    credit = Credit(3, 100)
    credit.acquire(1, 40)
    credit.acquire(2, 60)
    assert credit.in_flight() == (3, 100)
    assert repr(credit) == "<Credit 3/3 tasks 100/100 bytes>"
    credit.release(3, 100)
    assert credit.in_flight() == (0, 0)


@pytest.mark.parametrize(
    ("tasks", "size_bytes", "wrong"),
    [(0, 1, "credit_tasks"), (1, 0, "credit_bytes"), (-1, 5, "credit_tasks")],
)
def test_there_must_be_some(tasks, size_bytes, wrong):
    with pytest.raises(ValueError, match=f"^{wrong} must be at least 1"):
        Credit(tasks, size_bytes)


@pytest.mark.parametrize("wrong", [float("nan"), 1.5, "3"])
def test_credit_is_counted_in_integers(wrong):
    with pytest.raises(TypeError, match=r"^credit_tasks must be an integer"):
        Credit(wrong, 1)
    with pytest.raises(TypeError, match=r"^credit_bytes must be an integer"):
        Credit(1, wrong)


@pytest.mark.parametrize(("tasks", "size_bytes"), [(1, 1), (0, 50), (5, 0)])
def test_either_budget_is_a_limit(tasks, size_bytes):
    credit = Credit(4, 60)
    credit.acquire(4, 20) if size_bytes < 50 else credit.acquire(1, 20)
    with pytest.raises(ClientBusyError, match="in flight, of 4 and 60; wait for results"):
        credit.acquire(tasks, size_bytes, block=False)
    assert credit.in_flight()[1] == 20


def test_what_is_larger_than_all_credit_goes_alone(in_thread, wait_until):
    credit = Credit(10, 100)
    credit.acquire(1, 5000)
    assert credit.in_flight() == (1, 5000)
    with pytest.raises(ClientBusyError):
        credit.acquire(1, 1, block=False)
    credit.release(1, 5000)
    credit.acquire(1, 1)
    with pytest.raises(ClientBusyError):
        credit.acquire(1, 5000, block=False)
    taken = threading.Event()
    in_thread(lambda: (credit.acquire(50, 5000), taken.set()))
    wait_until(lambda: credit._queue)
    assert not taken.is_set()
    credit.release(1, 1)
    assert taken.wait(BOUND_S)
    assert credit.in_flight() == (50, 5000)


def test_who_waits_is_served_in_order_and_a_small_one_does_not_overtake(in_thread, wait_until):
    credit = Credit(4, 1000)
    credit.acquire(4, 0)
    order: list[int] = []

    def take(tasks: int) -> None:
        credit.acquire(tasks, 0)
        order.append(tasks)

    for tasks in (3, 2, 1):
        waiting = len(credit._queue)
        in_thread(take, tasks)
        wait_until(lambda waiting=waiting: len(credit._queue) == waiting + 1)
    credit.release(1, 0)
    with pytest.raises(ClientBusyError):
        credit.acquire(1, 0, block=False)
    assert order == []
    credit.release(2, 0)
    wait_until(lambda: order == [3])
    credit.release(1, 0)
    assert order == [3]
    credit.release(2, 0)
    wait_until(lambda: sorted(order[1:]) == [1, 2])
    credit.release(3, 0)
    assert credit.in_flight() == (1 + 2 - 2, 0)


def test_closing_wakes_who_waits_and_refuses_who_comes(in_thread, wait_until):
    credit = Credit(1, 1)
    credit.acquire(1, 0)
    refused: list[Any] = []

    def take() -> None:
        with pytest.raises(ClientClosedError, match="make a new one"):
            credit.acquire(1, 0)
        refused.append(True)

    for _ in range(3):
        in_thread(take)
    wait_until(lambda: len(credit._queue) == 3)
    credit.close()
    wait_until(lambda: len(refused) == 3)
    credit.release(1, 0)
    with pytest.raises(ClientClosedError):
        credit.acquire(1, 0)
    credit.close()


def test_ctrl_c_interrupts_and_takes_nothing(in_thread, wait_until):
    credit = Credit(1, 100)
    credit.acquire(1, 50)

    def press() -> None:
        wait_until(lambda: credit._queue)
        os.kill(os.getpid(), signal.SIGINT)

    in_thread(press)
    with pytest.raises(KeyboardInterrupt):
        credit.acquire(1, 50)
    assert not credit._queue
    assert credit.in_flight() == (1, 50)
    credit.release(1, 50)
    credit.acquire(1, 50, block=False)


def test_credit_granted_while_interrupted_goes_to_the_next(in_thread, wait_until):
    credit = Credit(1, 100)
    credit.acquire(1, 0)
    taken = threading.Event()

    def press() -> None:
        wait_until(lambda: credit._queue)
        in_thread(lambda: (credit.acquire(1, 0), taken.set()))
        wait_until(lambda: len(credit._queue) == 2)
        with credit._lock:  # so that the main thread meets both, in whatever order
            os.kill(os.getpid(), signal.SIGINT)
            credit.release(1, 0)

    in_thread(press)
    with pytest.raises(KeyboardInterrupt):
        credit.acquire(1, 0)
        credit.release(1, 0)
        wait_until(taken.is_set)
        wait_until(lambda: False)
    assert taken.wait(BOUND_S)
    assert credit.in_flight() == (1, 0)


# Event loops.


def test_a_coroutine_is_refused_at_the_limit_and_served_below_it():
    credit = Credit(1, 100)

    async def main() -> None:
        credit.acquire(1, 0)
        with pytest.raises(ClientBusyError, match="asubmit"):
            credit.acquire(1, 0)

    asyncio.run(main())
    assert credit.in_flight() == (1, 0)


def test_waiting_in_a_coroutine(in_thread, wait_until):
    credit = Credit(1, 100)
    credit.acquire(1, 0)

    async def main() -> None:
        in_thread(lambda: (wait_until(lambda: credit._queue), credit.release(1, 0)))
        await asyncio.wait_for(credit.wait_async(1, 100), BOUND_S)
        assert credit.in_flight() == (1, 100)
        credit.release(1, 100)
        await credit.wait_async(1, 5)

    asyncio.run(main())
    assert credit.in_flight() == (1, 5)


def test_a_cancelled_wait_takes_nothing():
    credit = Credit(1, 100)
    credit.acquire(1, 0)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(credit.wait_async(1, 0), 0.01)
        assert not credit._queue
        # Granted and cancelled in one step of the loop.
        task = asyncio.ensure_future(credit.wait_async(1, 0))
        while not credit._queue:
            await asyncio.wait([task], timeout=0.001)
        credit.release(1, 0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert credit.in_flight() == (0, 0)


def test_closing_wakes_coroutines():
    credit = Credit(1, 100)
    credit.acquire(1, 0)

    async def main() -> None:
        task = asyncio.ensure_future(credit.wait_async(1, 0))
        while not credit._queue:
            await asyncio.wait([task], timeout=0.001)
        credit.close()
        with pytest.raises(ClientClosedError):
            await asyncio.wait_for(task, BOUND_S)

    asyncio.run(main())


def test_a_loop_that_was_closed_keeps_no_credit():
    credit = Credit(1, 100)
    credit.acquire(1, 0)
    loop = asyncio.new_event_loop()
    task = loop.create_task(credit.wait_async(1, 0))
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert len(credit._queue) == 1
    credit.release(1, 0)
    assert credit.in_flight() == (0, 0)
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    task.get_coro().close()  # type: ignore[union-attr]


def test_many_threads_take_and_give_back_and_the_bound_holds(in_thread):
    credit = Credit(5, 500)
    most = [0, 0]

    def work(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(300):
            tasks, size_bytes = draw.randint(1, 3), draw.randint(0, 200)
            credit.acquire(tasks, size_bytes)
            in_flight = credit.in_flight()
            most[:] = [max(pair) for pair in zip(most, in_flight, strict=True)]
            credit.release(tasks, size_bytes)

    for thread in [in_thread(work, seed) for seed in range(6)]:
        thread.join(BOUND_S)
    assert credit.in_flight() == (0, 0)
    assert not credit._queue
    assert most[0] <= 5
    assert most[1] <= 500
