"""The claim pipe: each token is read once, by one side."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from scaler.protocol.executor import TOKEN
from scaler.serialization.values import dump_arguments
from scaler.worker.claims import ClaimPipe


@pytest.fixture
def claims() -> Iterator[ClaimPipe]:
    pipe = ClaimPipe()
    yield pipe
    pipe.close()


def claim(pipe: ClaimPipe) -> int:
    ordinal: int = TOKEN.unpack(os.read(pipe.read_fd, TOKEN.size))[0]
    return ordinal


def test_tokens_come_out_in_the_order_in_which_they_went_in(claims):
    claims.push([1, 2])
    claims.push([3])
    assert [claim(claims) for _ in range(3)] == [1, 2, 3]


def test_what_was_claimed_cannot_be_taken_back(claims):
    claims.push([1, 2, 3])
    assert claim(claims) == 1
    assert claims.take_back({1: 0, 2: 0}) == [2]
    assert claim(claims) == 3
    assert claims.take_back({1: 0, 2: 0, 3: 0}) == []


def test_those_not_wanted_keep_their_order(claims):
    claims.push(range(1, 101))
    assert claims.take_back(dict.fromkeys(range(1, 101, 2))) == list(range(1, 101, 2))
    assert [claim(claims) for _ in range(50)] == list(range(2, 101, 2))


def test_tokens_that_find_no_room_wait_and_can_be_taken_back(claims):
    ordinals = list(range(1, 20_001))
    claims.push(ordinals)
    assert claims.unwritten
    claims.push([20_001])
    assert claims.take_back({20_000: 0, 1: 0}) == [1, 20_000]
    seen = []
    while len(seen) < 19_999:
        seen += [claim(claims) for _ in range(min(1_000, 19_999 - len(seen)))]
        claims.flush()
    assert seen == [*range(2, 20_000), 20_001]


def test_each_task_gives_one_row_or_was_taken_back_never_both_never_neither(executor):
    def note(number: int) -> int:
        return number

    generator = random.Random(7)
    total, chunk = 20_000, 500
    taken: dict[int, None] = {}
    executor.run(note, 0)
    ordinals: list[int] = []
    bench = executor.bench
    while len(ordinals) < total:
        ordinals += executor.send(note, [dump_arguments((n,), {}) for n in range(chunk)])
        while len(executor.rows) - 1 + len(taken) < len(ordinals) - 1_000:
            # Mostly of those that are still outstanding: there the two sides meet.
            wanted = [
                generator.choice(ordinals[-1_000:]) for _ in range(generator.choice((1, 20, 50)))
            ]
            for ordinal in executor.port.take_back(wanted):
                assert ordinal in wanted
                assert ordinal not in taken
                taken[ordinal] = None
            bench.poller.poll(0)
    bench.until(lambda: len(executor.rows) - 1 + len(taken) >= total)
    executor.run(note, 0)  # whatever else there is has come before this
    assert not taken.keys() & executor.rows.keys()
    assert sorted([*taken, *executor.rows])[1:-1] == ordinals
    assert len(taken) > 100
    assert len(executor.rows) > 100
