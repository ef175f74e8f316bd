"""Clusters started and closed again and again; a thousand: `-m tests.reliability.cycles 1000`."""

from __future__ import annotations

import random

from tests.reliability.cycles import KINDS, run


def test_clusters_that_come_and_go_leave_nothing_and_close_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    cycles = [*run(len(KINDS) + 5, seed)]
    assert len({cycle.kind for cycle in cycles}) == len(KINDS)
    assert [*tmp_path.iterdir()] == []
    grown_bytes = cycles[-1].rss_bytes - cycles[len(KINDS)].rss_bytes
    assert grown_bytes < 10 << 20
