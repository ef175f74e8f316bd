"""`Roles`: scheduler, workers and overseer on one node, in a thread of this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actors import ActorRef, ActorSystem, AskFuture, NodeThread
from scaler.limits import FREED_BYTES, WARM_BYTES
from scaler.objects.keeper import ObjectKeeper
from scaler.objects.opening import open_store
from scaler.overseer import Dropped, Overseer
from scaler.protocol.tasks import AwaitWorker
from scaler.scheduler.scheduler import Scheduler
from scaler.settings import ExecutorLimits, StoreLimits
from scaler.worker.objects import PortObjects
from scaler.worker.options import WorkerOptions
from scaler.worker.process import ExecutorProcess
from scaler.worker.worker import Worker

if TYPE_CHECKING:
    from scaler.client.session import ClientSession


class Roles:
    """The actors of a local cluster. Thread-safe once made."""

    def __init__(
        self,
        thread: NodeThread,
        slots: int,
        limits: ExecutorLimits,
        store: StoreLimits,
        break_off: Callable[[Exception], None],
        close_displayed: Callable[[], None] | None,
    ) -> None:
        """Start the actors, and with the workers their executors; wait for the actors only.

        Args:
            thread: the node to live on, its launcher started.
            slots: how many workers.
            limits: when executors are stopped, ended, replaced.
            store: how much memory objects may take, and where else they go.
            break_off: called when one of them has ended by itself.
            close_displayed: in a notebook: closes older clusters that are displayed only.

        Raises:
            LaunchError: the thread did not come up.
            OSError: there is no memory to share, or no place to spill.
        """
        self._pid = os.getpid()
        self.system = system = ActorSystem(thread=thread)
        self.scheduler = system.spawn(Scheduler, name="scheduler")
        poller = system.poller
        self.objects = objects = open_store(store.bytes, store.spill_directory)
        keeper = system.spawn(ObjectKeeper, objects, name="objects")
        warm_bytes = max(WARM_BYTES // slots, FREED_BYTES)

        def make_executor(number: int, worker: str, tell: Any) -> ExecutorProcess:
            # The launcher of this moment: one that died is replaced.
            part = PortObjects(objects, warm_bytes)
            return ExecutorProcess(number, worker, poller, system.launcher, tell, part)

        options = WorkerOptions(limits.cancel_grace, limits.max_tasks, limits.max_memory)
        workers = [
            system.spawn(Worker, name, self.scheduler, make_executor, options, name=name)
            for name in (f"worker-{number}" for number in range(1, slots + 1))
        ]
        watched = (self.scheduler, keeper, *workers)
        self._overseer: ActorRef = system.spawn(
            Overseer, break_off, watched, close_displayed, name="overseer"
        )

    def executor_up(self, timeout_s: float) -> AskFuture:
        """Return a future that ends when the first executor is up."""
        return self.scheduler.ask(AwaitWorker(), timeout_s)

    def client_dropped(self, session: ClientSession, end: Callable[[], None]) -> None:
        """Have `end` called when nobody waits for the client. Takes no lock, waits for nothing."""
        self._overseer.tell(Dropped(end, session))

    def dropped(self, end: Callable[[], None] | None = None) -> None:
        """Nobody holds the cluster: have it closed. A finalizer: no lock, no waiting."""
        if os.getpid() == self._pid:
            self._overseer.tell(Dropped(end or self.close))

    def close(self) -> None:
        """End the actors, the executors, the launcher and the thread. Bounded; twice is fine."""
        self.system.close()
        self.objects.close()
