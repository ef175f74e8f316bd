"""What the benchmarks measure is what they say: their own machinery, at small sizes."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.faults import Figure, executor_kills
from benchmarks.scale import LARGE, SMALL, Scale, Stage, cpu_us


@pytest.mark.parametrize("workers", [1, 30, 3_000])
def test_the_scheduler_on_the_stage_brings_every_task_to_its_end(workers):
    stage = Stage(workers)
    stage.submit(1_000)
    stage.work(1_000)
    scheduler: Any = stage.scheduler.actor
    client: Any = stage.client.actor
    assert client.results == 1_000
    assert (len(scheduler.records), scheduler.placement.queued) == (0, 0)
    assert not any(worker.outstanding for worker in scheduler.workers.values())
    assert stage.cpu_s > 0


def test_the_cost_of_a_task_is_some_microseconds():
    assert 0.5 < cpu_us(10, 2_000) < 500


def test_the_verdicts_compare_the_best_rounds():
    figures = {str(SMALL[0]): {str(SMALL[1]): [3.0, 2.0]}, str(LARGE[0]): {str(LARGE[1]): [5.0]}}
    scale = Scale({}, figures, [240.0])
    assert [(figure, bound) for _, figure, _, bound in scale.verdicts()] == [
        (5.0, 6.0),
        (2.5, 2.5),
        (240.0, 500.0),
    ]


def test_a_killed_executor_is_measured():
    figure = executor_kills(3)
    assert len(figure.each_ms) == 3
    assert all(0 < each < 5_000 for each in figure.each_ms)


def test_what_is_bounded_is_a_percentile_or_the_largest():
    each = [float(number) for number in range(1, 102)]
    assert Figure("", each, 99, 0.0).bounded_ms == 100.0
    assert Figure("", each, 100, 0.0).bounded_ms == 101.0
