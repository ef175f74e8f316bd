"""How clients are told what became of their tasks: many results in one message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaler.protocol.tasks import TaskResult

if TYPE_CHECKING:
    from actors import DeferredReply
    from scaler.protocol.tasks import TaskRow
    from scaler.scheduler.records import ClientEntry, TaskRecord
    from scaler.scheduler.scheduler import Scheduler


class Deliveries:
    """The rows of tasks that have ended in this turn, on their way to their clients."""

    def __init__(self, scheduler: Scheduler) -> None:
        """Serve `scheduler`, whose context and inputs this uses."""
        self._scheduler = scheduler
        self._inputs = scheduler.inputs
        self._told: dict[int, ClientEntry] = {}

    def deliver(
        self, record: TaskRecord, waiting: list[DeferredReply] | None, row: TaskRow
    ) -> None:
        """Answer who waits for a cancel with the row; if nobody does, it goes with the others."""
        client = record.client
        if waiting:
            for reply in waiting:
                reply.send(TaskResult((row,)))
        elif client.leaving is None:
            client.rows.append(row)
            self._told[client.number] = client
        if self._inputs.wanted:
            self._inputs.ended(record, row)

    def tell(self) -> None:
        """Send what has not been sent, one message for each client."""
        for client in self._told.values():
            rows, client.rows = client.rows, []
            self._scheduler.context.tell(client.ref, TaskResult(tuple(rows)))
        self._told.clear()
