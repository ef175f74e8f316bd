"""What must be left when all has ended: nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors import DeadLetterReason
from scaler.errors import ClusterBrokenError
from tests.simulation.leases import check_dropped, objects_left

if TYPE_CHECKING:
    from actors.testkit.simulation import SimulatedNode
    from tests.simulation.world import World

NODE_ENDED = ClusterBrokenError("the cluster's thread has ended")


def check_idle(world: World) -> None:
    """All tasks have ended, and nobody was closed for that: every table is as at the start."""
    left: dict[str, object] = {}
    _look_at_scheduler(world, left)
    _look_at_workers(world, left)
    for client in world.clients:
        if not client.gone:
            _look_at_client(client, left)
    for node in world.sim.nodes.values():
        if node.alive:
            _look_at_node(node, left)
    left["answers that nobody had asked for"] = _late_answers(world)
    left.update(objects_left(world))
    left = {what: found for what, found in left.items() if found}
    if left:
        world.truth.fail("rest", f"left at rest: {left}")


def _late_answers(world: World) -> int:
    """How many answers came to no open ask, beyond those that came too late."""
    marks = world.truth.marks
    if marks["Leave"] or marks["Close"]:  # who ends forgets what it has asked
        return 0
    letters = [
        letter
        for node in (world.sim.outside, *world.sim.nodes.values())
        for letter in node.core.dead_letters.kept
        if letter.reason is DeadLetterReason.LATE_REPLY
    ]
    return max(0, len(letters) - marks["an ask met its deadline"])


def check_closed(world: World) -> None:
    """All clients are closed: the scheduler knows none, all credit is back."""
    left: dict[str, object] = {}
    for client in world.clients:
        if client.gone:
            continue
        if not client.closed:
            left[f"client {client.number}"] = "not closed"
        left[f"submissions of client {client.number}"] = len(client.submissions)
        if client.broken is None and client.gets_credit:
            left[f"credit of client {client.number}"] = any(client.credit.in_flight())
    if world.truth.now() < world.truth.broken_s:
        left["clients"] = world.main.actor(world.scheduler).clients
    left = {what: found for what, found in left.items() if found}
    if left:
        world.truth.fail("rest", f"left when all was closed: {left}")


def check_stopped(world: World) -> None:
    """All nodes have ended: no executor outlives them."""
    alive = [executor for executor in world.truth.alive.values() if executor.is_alive]
    if alive:
        world.truth.fail("orphans", f"{alive} outlive their workers")
    check_dropped(world)


def _look_at_scheduler(world: World, left: dict[str, object]) -> None:
    scheduler: Any = world.main.actor(world.scheduler)
    left["records"] = scheduler.records
    left["queue"] = scheduler.placement.queued
    left["needs"] = scheduler.inputs.wanted
    left["inputs"] = scheduler.inputs.there
    for ref, worker in scheduler.workers.items():
        left[f"outstanding at {ref.name}"] = worker.outstanding
        left[f"load of {ref.name}"] = worker.load_us
        left[f"{ref.name} blocked"] = worker.blocked
        left[f"batch of {ref.name}"] = worker.batch
    for client in scheduler.clients.values():
        left[f"tasks of client {client.number}"] = client.open
        left[f"rows of client {client.number}"] = client.rows
    idle = len({id(worker) for worker in scheduler.placement._idle})
    left["workers not idle"] = len(scheduler.workers) - idle


def _look_at_workers(world: World, left: dict[str, object]) -> None:
    for number, ref in enumerate(world.workers):
        host = world.host_of(number)
        worker: Any = host.node.actor(ref)
        left[f"ledger of {ref.name}"] = worker.ledger.sent
        left[f"ordinals of {ref.name}"] = worker.ledger.ordinals
        left[f"held by {ref.name}"] = worker.held
        left[f"orders of {ref.name}"] = worker.cancels.orders
        left[f"requests of {ref.name}"] = worker.cancels._requests
        executor = world.truth.alive[ref.name]
        left[f"tasks of {executor}"] = executor.has_claims
        left[f"another executor than {executor}"] = worker.executor is not executor


def _look_at_client(client: Any, left: dict[str, object]) -> None:
    left[f"credit of client {client.number}"] = client.gets_credit and any(
        client.credit.in_flight()
    )
    left[f"open at client {client.number}"] = client.open
    left[f"callbacks of client {client.number}"] = len(client._callbacks)
    if client.closed:
        return
    manager: Any = client.node.actor(client.manager)
    left[f"printed at client {client.number}"] = manager.printed
    left[f"cancels of client {client.number}"] = manager.cancels._open
    left[f"batch of client {client.number}"] = manager._resolved


def _look_at_node(node: SimulatedNode, left: dict[str, object]) -> None:
    core = node.core
    left[f"asks of {node.name}"] = len(core.asks)
    for cell in core.cells.values():
        name = f"{node.name}/{cell.ref.name}"
        left[f"timers of {name}"] = list(cell.timers)
        left[f"replies owed by {name}"] = len(cell.deferred)
        left[f"messages for {name}"] = len(cell.mailbox.queue)
    left[f"unhandled on {node.name}"] = [
        letter for letter in core.dead_letters.kept if letter.reason is DeadLetterReason.UNHANDLED
    ]
