"""What makes a state of a small world: all that decides what may happen next, but no times.

Two moments that differ only in what the clocks say count as one state. Which timers run, and in
which order they are due, does count.
"""

from __future__ import annotations

import math
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from actors import DeferredReply
from scaler.client.future import ScalerFuture
from scaler.scheduler.records import TaskRecord

if TYPE_CHECKING:
    from actors.testkit import SimulatedNode
    from scaler.client.future_manager import ClientFutureManager
    from scaler.scheduler.scheduler import Scheduler
    from scaler.worker.worker import Worker
    from tests.simulation.client import SimClient
    from tests.simulation.process import SimProcess
    from tests.simulation.truth import Truth
    from tests.simulation.world import World


def timeless(value: Any) -> Any:
    """Return what of a message counts: all but times."""
    if isinstance(value, float):
        return value if value in (0.0, math.inf) else "time"
    if isinstance(value, msgspec.Struct):
        fields = [timeless(getattr(value, name)) for name in value.__struct_fields__]
        return (type(value).__name__, fields)
    if isinstance(value, (tuple, list)):
        return [timeless(item) for item in value]
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, ScalerFuture):
        return value.task_id
    if isinstance(value, (DeferredReply, Exception)):
        return type(value).__name__
    return value


def state_of_world(world: World) -> bytes:
    """Return what makes a state."""
    state = (
        _scheduler(world.main.actor(world.scheduler)),
        [
            _worker(world.host_of(number).node.actor(ref))
            for number, ref in enumerate(world.workers)
        ],
        [_executor(executor) for host in world.hosts for executor in host.executors],
        [(host.failing, host.refusing) for host in world.hosts],
        [_client(client) for client in world.clients],
        [_node(node) for node in world.sim.nodes.values()],
        _truth(world.truth),
    )
    return msgspec.msgpack.encode(state, enc_hook=repr)


def _scheduler(scheduler: Scheduler) -> Any:
    placement = scheduler.placement
    return (
        [
            (
                record.task.task_id,
                record.task.attempt,
                record.state,
                record.worker.name if record.worker else "",
                record.force,
                -1 if record.cancels is None else len(record.cancels),
                timeless(record.past),
            )
            for record in scheduler.records.values()
        ],
        [(needed, list(waiting)) for needed, waiting in scheduler.inputs.wanted.items()],
        [(task_id, list(there)) for task_id, there in scheduler.inputs.there.items()],
        list(placement._queue._ids),
        placement.queued,
        [worker.name for worker in placement._idle],
        [worker.name for worker in placement._busy],
        [
            (worker.name, list(worker.outstanding), worker.blocked, worker.load_us, worker.credit)
            for worker in scheduler.workers.values()
        ],
        [
            (client.open, len(client.rows), client.leaving is None)
            for client in scheduler.clients.values()
        ],
    )


def _worker(worker: Worker) -> Any:
    watch, ledger = worker.watch, worker.ledger
    return (
        worker.number,
        worker.pid > 0,
        worker.starts.failures,
        worker.connected,
        worker.accepting,
        worker.dying,
        worker.abandoned,
        timeless(worker.verdict),
        [
            (ordinal, entry.task.task_id, entry.task.attempt, entry.due_s < math.inf)
            for ordinal, entry in ledger.sent.items()
        ],
        (ledger.ordinals, ledger.used, ledger._last, len(ledger._known), ledger._dropped),
        list(worker.held),
        [(ordinal, timeless(order)) for ordinal, order in worker.cancels.orders.items()],
        timeless(worker.cancels._requests),
        (watch._due_s < math.inf, watch._is_far, watch._deadline_s < math.inf, watch._reported),
    )


def _executor(executor: SimProcess) -> Any:
    step = executor._step
    return (
        executor.worker,
        executor.number,
        executor.stage.value,
        executor.is_closed,
        list(executor._bodies),
        executor._begun,
        (executor._running, executor._answered, executor._ended, executor._wish, executor._armed),
        timeless(executor._pipe),
        executor._is_read,
        executor._doom.value if executor._doom else "",
        "" if step is None or step.cancelled else executor._step_does.__name__,
    )


def _client(client: SimClient) -> Any:
    return (
        list(client.open),
        [
            (place, future.done(), future.cancelled(), future.running(), future.cancel_outcome)
            for place, future in client.futures.items()
        ],
        [
            (timeless(call.op), [was[1:] for was in call.futures], call.returned_s is None)
            for call in client.calls
        ],
        (list(client.given_up), list(client.unconfirmed), client.closing, client.closed),
        (client.credit.in_flight(), len(client.submissions), len(client._callbacks)),
        [
            _manager(cell.actor)
            for cell in client.node.core.cells.values()
            if cell.ref == client.manager
        ],
    )


def _manager(manager: ClientFutureManager) -> Any:
    return (
        [
            (task_id, cancel.force, [(one.force, one.timer is None) for one in cancel.callers])
            for task_id, cancel in manager.cancels._open.items()
        ],
        [(task_id, row is None) for task_id, row in manager.printed.items()],
        (manager.leaving, manager.broken is None, len(manager._resolved)),
    )


def _node(node: SimulatedNode) -> Any:
    core = node.core
    live = sorted(
        (due_s, serial, cell.ref.name, key)
        for due_s, serial, cell, key in core.timers._heap
        if cell.timers.get(key, (0,))[0] == serial
    )
    return (
        core.crashed,
        [(name, repr(key)) for _, _, name, key in live],
        [(ask.target.name, _continuation(ask.then)) for ask in core.asks._open.values()],
        [len(cell.deferred) for cell in core.cells.values()],
        [len(cell.mailbox.queue) for cell in core.cells.values()],
    )


def _continuation(then: Any) -> Any:
    """Return what is called with an answer: a method, perhaps with arguments."""
    if not isinstance(then, partial):
        return getattr(then, "__qualname__", "")
    arguments = [one.task.task_id if isinstance(one, TaskRecord) else one for one in then.args]
    kept = [timeless(one) for one in arguments if isinstance(one, (bool, int, float, tuple))]
    return (then.func.__name__, kept)


def _truth(truth: Truth) -> Any:
    return (
        [
            (
                [
                    (run.worker, run.how and run.how.value, run.interrupted, run.left_behind)
                    for run in task.runs
                ],
                task.forced_s < math.inf,
                task.is_asked_to_stop,
                task.no_more_since,
            )
            for task in truth.tasks.values()
        ],
        truth.broken_s < math.inf,
    )
