"""Supervision as a value."""

from __future__ import annotations

from actors import Restart, Stop
from actors.supervision import may_restart


def test_stop_never_restarts():
    log_s = []
    assert not may_restart(Stop(), log_s, 0.0)
    assert log_s == []


def test_restarts_are_bounded_within_their_time():
    log_s = []
    rule = Restart(times=2, within_s=10.0)
    assert [may_restart(rule, log_s, at) for at in (0.0, 1.0, 2.0)] == [True, True, False]
    assert log_s == [0.0, 1.0], "one that was refused is not noted"


def test_restarts_that_are_too_old_do_not_count():
    log_s = [0.0, 1.0]
    assert may_restart(Restart(times=2, within_s=10.0), log_s, 10.0)
    assert log_s == [1.0, 10.0]


def test_a_restart_of_zero_times_is_a_stop():
    assert not may_restart(Restart(times=0), [], 0.0)
