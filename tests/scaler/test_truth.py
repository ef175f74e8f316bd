"""What the futures say against what really ran.

Every task leaves stamps in shared memory. A stress test that only waits for all futures passes on
a system that runs tasks twice and lets cancelled ones act; this one does not.
"""

import random
import threading
import time
from collections import Counter
from concurrent.futures import CancelledError, wait
from pathlib import Path

import pytest

from scaler import CancelOutcome, Client, ScalerFuture
from scaler.protocol.tasks import GetStatus
from tests.scaler.truth_tasks import Stamps, act

TASKS = 20_000
CANCELLERS = 4
LONG_SHARE = 0.05
LONG_S = 0.03


@pytest.fixture
def client():
    with Client(workers=2) as client:
        yield client


def test_nothing_acts_after_its_confirm_runs_twice_or_is_lost(
    client: Client, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    stamps = Stamps(str(tmp_path), TASKS)
    durations = [
        draw.uniform(0, LONG_S) if draw.random() < LONG_SHARE else 0.0 for _ in range(TASKS)
    ]
    futures = [
        client.submit(act, str(tmp_path), index, duration)
        for index, duration in enumerate(durations)
    ]
    victims = draw.sample(range(TASKS), TASKS // 5)
    confirmed = _cancel_at_random_moments(futures, victims, draw)
    assert not wait(futures, timeout=100).not_done

    begins = Counter(stamps.begins())
    outcomes = Counter()
    for index, future in enumerate(futures):
        outcomes[_check(index, future, confirmed.get(index), begins[index], stamps)] += 1
    stamps.close()

    assert max(begins.values()) == 1, "a task ran twice"
    assert sum(outcomes.values()) == TASKS
    assert outcomes[CancelOutcome.CANCELED] > TASKS // 50, f"hardly a cancel: {outcomes}"
    _check_at_rest(client)


def _cancel_at_random_moments(
    futures: list[ScalerFuture], victims: list[int], draw: random.Random
) -> dict[int, int]:
    """Cancel from several threads while tasks run; return when each cancel had returned True."""
    confirmed: dict[int, int] = {}

    def cancel_some(share: list[int], draw: random.Random, follow: bool) -> None:
        for index in share:
            if follow:  # a little ahead of what runs now
                wait([futures[max(0, index - draw.randrange(2_000))]])
            if futures[index].cancel(force=draw.random() < 0.9):
                confirmed[index] = time.monotonic_ns()

    # Half of the threads follow the tasks, half strike anywhere: cancels meet tasks in all states.
    shares = [victims[n::CANCELLERS] for n in range(CANCELLERS)]
    for share in shares[::2]:
        share.sort()
    threads = [
        threading.Thread(
            target=cancel_some, args=(share, random.Random(draw.random()), number % 2 == 0)
        )
        for number, share in enumerate(shares)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return confirmed


def _check(
    index: int, future: ScalerFuture, confirmed_ns: int | None, begins: int, stamps: Stamps
) -> CancelOutcome | None:
    outcome = future.cancel_outcome
    if confirmed_ns is None:
        assert future.result(60) == -index
        assert begins == 1, f"task {index} began {begins} times"
        return outcome
    assert future.cancelled()
    with pytest.raises(CancelledError):
        future.result()
    assert outcome in (CancelOutcome.CANCELED, CancelOutcome.RESULT, CancelOutcome.RELEASED)
    late_ns = stamps.last_alive_ns(index) - confirmed_ns
    assert late_ns < 0, f"task {index} acted {late_ns} ns after its {outcome}"
    return outcome


def _check_at_rest(client: Client) -> None:
    """All books are back at zero."""
    status = client.cluster.scheduler.ask(GetStatus()).result(10)
    assert (status.queued, status.running, status.canceling) == (0, 0, 0)
    assert [(worker.outstanding, worker.load_us) for worker in status.workers] == [(0, 0)] * 2
    assert "0 tasks and 0 bytes in flight" in repr(client)
