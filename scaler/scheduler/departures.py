"""Clients that leave: all that they have here is cancelled before they are forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors import DeferredReply
from scaler.protocol.tasks import ClientDisconnect

if TYPE_CHECKING:
    from scaler.scheduler.records import ClientEntry
    from scaler.scheduler.scheduler import Scheduler


class Departures:
    """The scheduler's side of a client's end, asked for or not."""

    def __init__(self, scheduler: Scheduler) -> None:
        """Serve `scheduler`, whose records and context this uses."""
        self._scheduler = scheduler

    def dismiss(self, client: ClientEntry, reply: DeferredReply | None, grace_s: float) -> None:
        """Cancel a client's tasks, newest first: no queued one starts in place of another.

        Args:
            client: who leaves.
            reply: answered when none of its tasks is left; `None` if the client has died.
            grace_s: from interrupt to kill, for those that run.
        """
        leaving = client.leaving is not None
        client.leaving = client.leaving or []
        if reply is not None:
            client.leaving.append(reply)
        if not leaving:
            records = self._scheduler.records.values()
            for record in reversed([record for record in records if record.client is client]):
                self._scheduler.cancels.request(record, None, True, grace_s)
        self.farewell(client)

    def farewell(self, client: ClientEntry) -> None:
        """Forget a leaving client once none of its tasks is left."""
        if client.leaving is None or client.open:
            return
        self._scheduler.clients.pop(client.number, None)
        self._scheduler.context.unwatch(client.ref)
        for reply in client.leaving:
            reply.send(ClientDisconnect(client.number, 0.0))
