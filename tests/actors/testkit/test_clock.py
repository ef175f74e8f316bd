from __future__ import annotations

import pytest

from actors.testkit import ManualClock


def test_a_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock()
    assert clock.now() == 0.0
    clock.advance(1.5)
    clock.advance(0.0)
    assert clock.now() == 1.5
    assert repr(clock) == "<ManualClock at 1.5 s>"


def test_a_clock_never_runs_backwards() -> None:
    clock = ManualClock(10.0)
    clock.move_to(5.0)
    assert clock.now() == 10.0
    clock.move_to(12.0)
    assert clock.now() == 12.0
    with pytest.raises(ValueError, match=r"not by -1\.0 s"):
        clock.advance(-1.0)
