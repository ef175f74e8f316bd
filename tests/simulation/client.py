"""The model of a client and its user: real futures, a real future manager, no threads.

It does what `ClientSession` does, but where that one blocks, this one goes on when the answer is
there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from actors import ActorsError, AskFuture
from scaler.client.cancels import CancelFutures, give_up
from scaler.client.credit import Credit
from scaler.client.future import CancelOutcome, ScalerFuture
from scaler.client.future_manager import ClientFutureManager, CloseManager
from scaler.client.submissions import Submission, Submissions
from scaler.errors import ClientBusyError, ClientClosedError, ObjectStoreFullError
from scaler.limits import CANCEL_TIMEOUT_S, CLIENT_BYTES, CLOSE_GRACE_S, CLOSE_TIMEOUT_S
from scaler.objects.store import ObjectStore
from scaler.protocol.tasks import CLIENT_SHIFT, DEFAULT_POLICY, Function, Task, TaskOutput
from tests.simulation.arguments import Arguments
from tests.simulation.plans import Cancel, TaskPlan
from tests.simulation.runs import is_stuck
from tests.simulation.verdicts import check_cancel, check_future

if TYPE_CHECKING:
    from tests.simulation.world import World

REPLY_MARGIN_S = 10.0
_THREAD_S = 0.0002
"""What another thread of the client's process needs to do its part."""
_AGAIN_S = 0.005
_AGAIN_LATER_S = 0.1
"""The same where tasks wait for room, for seconds."""

FUNCTIONS = tuple(
    Function(bytes([number]) * 16, b"blob", f"module.function_{number}") for number in range(8)
)


class Told:
    """Waits for one future, and sees to it that it is told once."""

    def __init__(self, client: SimClient) -> None:
        self._client = client
        self._times = 0

    def add_result(self, future: ScalerFuture) -> None:
        self._times += 1
        if self._times > 1:
            self._client.world.truth.fail("once", f"{future!r} was resolved again")
        self._client.world.truth.resolved(future.task_id)
        self._client.resolved(future)

    add_exception = add_cancelled = add_result


class CancelCall:
    """One call of `cancel` by a user."""

    def __init__(self, op: Cancel, futures: Sequence[ScalerFuture], now_s: float) -> None:
        self.op = op
        self.futures = [(future, future.done(), future.cancelled()) for future in futures]
        self.began_s = now_s
        self.returned_s: float | None = None


class SimClient:
    """One client: the `Surroundings` of its manager, and the `Canceller` of its futures."""

    def __init__(self, world: World, number: int, node: Any) -> None:
        options = world.script.options
        self.world = world
        self.number = number
        self.node = node
        self.cancel_finished = options.cancel_finished
        self.objects: ObjectStore = world.memory.store
        self.credit = Credit(options.credit_tasks, CLIENT_BYTES)
        self.submissions = Submissions()
        self.open: dict[int, tuple[ScalerFuture, int]] = {}
        self.futures: dict[int, ScalerFuture] = {}
        """What the user holds, by the task's place in the script."""
        self.calls: list[CancelCall] = []
        self.given_up: dict[int, None] = {}
        """Tasks for which `cancel` has returned True."""
        self.unconfirmed: dict[int, None] = {}
        """Tasks that were cancelled from an event loop."""
        self.closing = False
        self.closed = False
        self.gone = False
        self.closes_in_callback = False
        self.gets_credit = True
        """All credit comes back: not to one that was closed while nobody answered."""
        self.broken: Exception | None = None
        self.shown: dict[int, int] = {}
        self._backlog: deque[int] = deque()
        """Tasks, by their places, that wait for credit."""
        self._writing: tuple[Arguments, Iterator[float]] | None = None
        """Those of the first of them, while they are written."""
        self._submitted = 0
        self._callbacks: deque[ScalerFuture] = deque()
        self._shown_s = 0.0
        name = f"future-manager-{number}"
        scheduler = world.scheduler
        self.manager = node.spawn(ClientFutureManager, number, scheduler, self, name=name)

    # --- what the user does -----------------------------------------------------------------

    def submit(self, places: tuple[int, ...]) -> None:
        """Submit tasks, until the credit is used up; the rest later."""
        waits = bool(self._backlog)
        self._backlog += places
        if not waits:
            self._submit_backlog()

    def _submit_backlog(self) -> None:
        while self._backlog:
            plan = self.world.script.tasks[self._backlog[0]]
            if self.closed or self.closing or self.gone:
                self._drop_arguments(plan)
                self._backlog.clear()
                return
            try:
                pause_s = self._write_arguments(plan)
            except ClientBusyError:
                self.world.truth.marks["credit was used up"] += 1
                pause_s = _AGAIN_S if not self.world.memory.is_bounded else _AGAIN_LATER_S
            except ObjectStoreFullError:
                self.world.truth.marks["a user had no room"] += 1
                self._drop_arguments(plan)
                self._backlog.popleft()
                continue
            if pause_s is not None:
                self.world.sim.after(pause_s, self._submit_backlog)
                return
            self._submit_one(self._backlog.popleft(), plan)

    def _write_arguments(self, plan: TaskPlan) -> float | None:
        """Write them, as long as there is room; return for how long to wait for more."""
        if self._writing is None:
            self.credit.acquire(1, plan.payload_bytes, block=False)
            arguments = Arguments(self, plan)
            self._writing = arguments, arguments.write(plan)
        return next(self._writing[1], None)

    def _drop_arguments(self, plan: TaskPlan) -> None:
        """The first task is not submitted."""
        if self._writing is not None:
            self._writing = None
            self.credit.release(1, plan.payload_bytes)

    def _submit_one(self, place: int, plan: TaskPlan) -> None:
        assert self._writing is not None
        (arguments, _), self._writing = self._writing, None
        payload = bytes(plan.payload_bytes)
        self._submitted += 1
        task_id = self.number << CLIENT_SHIFT | self._submitted
        future = ScalerFuture(task_id, self, self.world.sim.now())
        needs = arguments.needs
        needed = tuple([need.task_id for need in needs])
        self.world.truth.submitted(plan, place, task_id, needed, tuple(arguments.names))
        self.futures[place] = future
        if plan.watched:
            future.add_waiter(Told(self))
        if place % 3 == 0:
            future.add_done_callback(partial(self._in_callback, [0]))
        function = FUNCTIONS[plan.function]
        policy = None if plan.policy == DEFAULT_POLICY else plan.policy
        chunked = plan.items > 0
        objects = tuple(arguments.pieces)
        task = Task(task_id, function.function_id, payload, chunked, 1, policy, needed, (), objects)
        self.submissions.waiting.append(Submission(future, function, task, needs))
        self.submissions.announce(self.manager)

    def stop_tasks(self, op: Cancel) -> None:
        """Cancel: `future.cancel()` for one, `client.cancel()` for many."""
        futures = [self.futures[place] for place in op.tasks if place in self.futures]
        if not futures or self.gone:
            return
        if op.unconfirmed:
            for future in futures:
                self._cancel_in_loop(future, op)
            return
        call = CancelCall(op, futures, self.world.sim.now())
        self.calls.append(call)
        for future in futures:
            self.world.truth.wanted(future.task_id, force=op.force, at_once=op.grace_s == 0)
        own = [future for future in futures if not future.done()]
        if not own or self.closed:
            self._returned(call, own, None)
            return
        newest_first = tuple(sorted(own, key=lambda future: -future.task_id))
        request = CancelFutures(newest_first, op.force, op.timeout_s, op.grace_s)
        try:
            answer = self.manager.ask(request, op.timeout_s + REPLY_MARGIN_S)
        except ActorsError:
            give_up(own, op.force)
            self._returned(call, own, None)
        else:
            answer.add_done_callback(partial(self._returned, call, own))

    def _cancel_in_loop(self, future: ScalerFuture, op: Cancel) -> None:
        at_once = op.grace_s == 0
        self.world.truth.wanted(future.task_id, force=op.force, at_once=at_once)
        if future.done() or not future.set_cancel_confirmed(CancelOutcome.UNCONFIRMED):
            future.cancel_done()
        elif not self.closed:
            self.unconfirmed[future.task_id] = None
            self.world.truth.marks["a cancel did not wait"] += 1
            request = CancelFutures((future,), op.force, CANCEL_TIMEOUT_S, op.grace_s, True)
            self.manager.tell(request)

    def _returned(
        self, call: CancelCall, own: list[ScalerFuture], answer: AskFuture | None
    ) -> None:
        """The call of `cancel` returns to the user."""
        if self.gone:
            return
        if answer is not None and self.world.has_failed(answer):
            give_up(own, call.op.force)
        call.returned_s = self.world.sim.now()
        for future, was_done, _ in call.futures:
            if was_done:
                future.cancel_done()
        check_cancel(self, call)

    def drop(self, places: tuple[int, ...]) -> None:
        """Let futures go."""
        for place in places:
            self.futures.pop(place, None)

    def read(self, places: tuple[int, ...]) -> None:
        """Look at results that are there."""
        for future in [self.futures[place] for place in places if place in self.futures]:
            if future.done():
                check_future(self, future)
                self.was_read(future)

    def close(self) -> None:
        """Close the client, as `ClientSession.close` does."""
        if self.closing or self.gone:
            return
        self.closing = True
        self.credit.close()
        if self.closed:  # broken off before
            self._closed(self.world.sim.now(), None)
            return
        self._want_all_stopped()
        now_s = self.world.sim.now()
        try:
            answer = self.manager.ask(CloseManager(CLOSE_GRACE_S), 2 * CLOSE_TIMEOUT_S)
        except ActorsError:
            self._closed(now_s, None)
        else:
            answer.add_done_callback(partial(self._closed, now_s))

    def _closed(self, began_s: float, answer: AskFuture | None) -> None:
        if self.gone:
            return
        self.closed = True
        self._end_open(ClientClosedError("the client was closed"))
        truth, now_s = self.world.truth, self.world.sim.now()
        if now_s - began_s > 2 * CLOSE_TIMEOUT_S + self.world.slack_s:
            truth.fail("close", f"closing client {self.number} took {now_s - began_s} s")
        answered = answer is not None and not self.world.has_failed(answer)
        self.gets_credit = answered
        if answered and now_s - began_s < CLOSE_TIMEOUT_S and now_s < truth.broken_s:
            for task_id in self._own_tasks():
                runs = truth.tasks[task_id].runs
                if not (runs and is_stuck(runs[-1])):  # one that cannot be killed was told so
                    truth.promised(task_id, "its client has closed")

    def leave(self) -> None:
        """The client's process ends without a word."""
        if not self.closed and not self.gone:
            self.gone = True
            self._want_all_stopped(at_once=True)
            self.node.crash()
            self.forget()

    def forget(self) -> None:
        """The user lets all go: futures, and what was to be submitted."""
        self.futures.clear()
        self.calls.clear()
        self.open.clear()
        self.submissions.waiting.clear()
        self._writing = None
        self._callbacks.clear()

    def _want_all_stopped(self, *, at_once: bool = False) -> None:
        for task_id in self._own_tasks():
            self.world.truth.wanted(task_id, force=True, at_once=at_once)

    def _own_tasks(self) -> list[int]:
        tasks = self.world.truth.tasks
        return [task_id for task_id in tasks if task_id >> CLIENT_SHIFT == self.number]

    # --- what the manager needs -------------------------------------------------------------

    def release_credit(self, tasks: int, size_bytes: int) -> None:
        self.credit.release(tasks, size_bytes)

    def run_callbacks(self, futures: list[ScalerFuture]) -> None:
        for future in futures:
            self.call_back(future)

    def show(self, future: ScalerFuture, output: TaskOutput) -> None:
        if self.closed:
            return
        if future.done() and not future.cancelled() and self.broken is None:
            self.world.truth.fail("output", f"{output} comes after the end of {future!r}")
        self.shown[output.task_id] = self.shown.get(output.task_id, 0) + 1

    def after_shown(self, then: Callable[[], None]) -> None:
        now_s = self.world.sim.now()
        self._shown_s = max(self._shown_s, now_s + _THREAD_S * self.world.sim.random.random())
        self.world.sim.after(self._shown_s - now_s, then)

    def break_off(self, error: Exception) -> None:
        if self.gone:
            return
        self.broken = self.broken or error
        self.closed = True
        self.credit.close()
        self._end_open(error)

    def _end_open(self, error: Exception) -> None:
        for future, _ in list(self.open.values()):
            future.set_error(error)
        for submission in self.submissions.take_all():
            submission.future.set_error(error)

    # --- what futures need ------------------------------------------------------------------

    def call_back(self, future: ScalerFuture) -> None:
        self._callbacks.append(future)
        self.world.sim.after(_THREAD_S * self.world.sim.random.random(), self._call_next)

    def _call_next(self) -> None:
        if self._callbacks and not self.gone:
            self._callbacks.popleft()._invoke_callbacks()

    def _in_callback(self, times: list[int], future: ScalerFuture) -> None:
        times[0] += 1
        if times[0] > 1 or not future.done():
            self.world.truth.fail("once", f"{future!r} was called back {times[0]} times")
        if self.closes_in_callback:
            self.world.truth.marks["a client was closed in a callback"] += 1
            self.close()

    def resolved(self, future: ScalerFuture) -> None:
        """A future that somebody waits for has got its answer: looked at when this event ends."""
        self.world.resolved.append((self, future))

    def was_read(self, future: ScalerFuture) -> None:
        """The user has looked at a result, and may need it no more."""
        place = self.world.truth.tasks[future.task_id].place
        if self.world.script.tasks[place].lets_go:
            self.futures.pop(place, None)

    def cancel(self, *arguments: Any) -> bool:
        raise NotImplementedError

    def cancel_soon(self, *arguments: Any) -> None:
        raise NotImplementedError

    async def acancel(self, *arguments: Any) -> bool:
        raise NotImplementedError

    def check_may_wait(self) -> None:
        """Nobody waits here for what is not there."""
