"""The real executor behind its port: results, stopping, dying."""

from __future__ import annotations

from scaler.protocol.tasks import RowStatus
from scaler.serialization.values import load_value
from scaler.worker.port import ExecutorRows, ExecutorUp


def test_a_task_runs_and_its_row_tells_how(executor):
    row = executor.run(divmod, 17, 5)
    assert row.status is RowStatus.SUCCEEDED
    assert load_value(row.payload) == (3, 2)
    assert (row.worker, row.pid, row.task_id) == ("worker-1", executor.pid, 1001)
