"""What a future may have become, and what `cancel` may have returned, by what really happened."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from scaler.client.future import CancelOutcome, ScalerFuture
from scaler.errors import (
    ClientClosedError,
    ClusterBrokenError,
    InputFailedError,
    ObjectStoreFullError,
    SerializationError,
    TaskTimeoutError,
    WorkerDiedError,
)
from scaler.limits import BLAMELESS_LOSSES, CANCEL_TIMEOUT_S
from scaler.limits import EXECUTOR_VAIN_DEATHS as VAIN
from tests.simulation.memory import names_in
from tests.simulation.payloads import PlannedError, value_of
from tests.simulation.plans import FINAL, HIDDEN, Ending
from tests.simulation.runs import How, TaskTruth, is_stuck
from tests.simulation.truth import BLAMED, Truth

if TYPE_CHECKING:
    from tests.simulation.client import CancelCall, SimClient

Outcome = CancelOutcome

EPSILON_S = 1e-6
END_NOTICED_S = 10.0
"""A caller waits for so much longer than he said, if nobody is there who could answer."""
_BLAMED_IN_VAIN = re.compile(r"on ([\w-]+), pid (\d+)[^\n]*: before the task had begun")
LOSSES = (*BLAMED, How.LOST, How.TOO_LARGE)


def check_future(client: SimClient, future: ScalerFuture) -> None:
    """A future is done: was it entitled to what it became?"""
    truth = client.world.truth
    task = truth.tasks[future.task_id]
    if future.cancelled():
        _check_cancelled(client, future, task)
        return
    error = future.exception(0)
    forget_frames(error)
    if error is None:
        _check_value(truth, future, task)
    elif isinstance(error, SerializationError) and "came back damaged" in str(error):
        _check_damaged(truth, error, task)
    elif isinstance(error, (PlannedError, SerializationError, ObjectStoreFullError)):
        _check_own_error(truth, error, task)
    elif isinstance(error, WorkerDiedError):
        _check_died(truth, error, task)
    elif isinstance(error, TaskTimeoutError):
        _check_timeout(truth, error, task)
    elif isinstance(error, InputFailedError):
        _check_input_failed(truth, error, task)
    elif isinstance(error, ClusterBrokenError):
        unheard = client.world.has_long_pause and "does not take this client" in str(error)
        if truth.now() < truth.broken_s and not unheard:
            truth.fail("broken", f"{error!r} in a cluster that is not: {task}")
    elif not (isinstance(error, ClientClosedError) and client.closing):
        truth.fail("errors", f"{error!r} for {task}")


def forget_frames(error: BaseException | None) -> None:
    """Let go of the frames of an error: those of the simulation are below, and hold messages."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def check_on_time(client: SimClient, future: ScalerFuture) -> None:
    """A future has just become done: not long after its deadline."""
    truth = client.world.truth
    task = truth.tasks[future.task_id]
    deadline_s = task.plan.policy.deadline_s
    if deadline_s is None or client.closing or truth.broken_s <= truth.now():
        return
    late_s = truth.now() - task.submitted_s - deadline_s
    if late_s > truth.stop_s + client.world.slack_s:
        truth.fail("deadline", f"{future!r} came {late_s} s late: {task}")


def check_timer(client: SimClient, task_id: int) -> None:
    """A timer of a task fires: it must not have ended before."""
    truth = client.world.truth
    task = truth.tasks[task_id]
    future = client.futures.get(task.place)
    if future is None or client.closing or client.gone or truth.broken_s <= truth.now():
        return
    # Cancelled without waiting for the confirm, and perhaps the task goes on all the same.
    goes_on = future.cancel_outcome in (Outcome.TIMEOUT, Outcome.UNCONFIRMED, Outcome.FAILED)
    if task.resolved_s < truth.now() and not goes_on:
        truth.fail("timers", f"a timer fires at {truth.now()} for {future!r}: {task}")


def _check_value(truth: Truth, future: ScalerFuture, task: TaskTruth) -> None:
    run = task.runs[-1] if task.runs else None
    value = future.result(0)
    if run is not None and run.names:
        truth.marks["a value has objects"] += 1
        value = (*value[:2], *names_in(value[2:]))
    if run is None or run.how is not How.VALUE or value != (*value_of(run), *run.names):
        truth.fail("value", f"{value!r} is no result of {task}")


def _check_own_error(truth: Truth, error: BaseException, task: TaskTruth) -> None:
    """It raised, and no retry was left (or a cancel or the deadline left none)."""
    run = task.runs[-1] if task.runs else None
    hidden = isinstance(error, SerializationError)
    if run is None or run.how not in (How.RAISED, How.VALUE) or hidden != (run.ending in HIDDEN):
        truth.fail("value", f"{error!r} was not raised by {task}")
    if isinstance(error, ObjectStoreFullError) != (run.ending is Ending.NO_ROOM):
        truth.fail("value", f"{error!r} was not raised by {task}")
    policy = task.plan.policy
    is_last = run.ending in FINAL or task.count(How.RAISED) > policy.retries
    if not is_last and policy.deadline_s is None and not task.is_asked_to_stop:
        truth.fail("retries", f"{error!r} was delivered with retries left: {task}")


def _check_damaged(truth: Truth, error: BaseException, task: TaskTruth) -> None:
    """It returned what came back damaged from the disk."""
    run = task.runs[-1] if task.runs else None
    if run is None or run.how is not How.VALUE or not any(n in truth.damaged for n in run.names):
        truth.fail("disk", f"{error!r} for {task}")
    truth.marks["a value came back damaged"] += 1


def _check_died(truth: Truth, error: BaseException, task: TaskTruth) -> None:
    """Its executors died under it, as often as it may be, and the error names each time."""
    lost = [run for run in task.runs if run.how in LOSSES]
    if truth.broken_s <= truth.now():
        return
    # By the deaths themselves: the rows that tell of them may be looked at after this.
    pids = _BLAMED_IN_VAIN.findall(str(error))
    if any(truth.vain_number.get((worker, int(pid)), 0) <= VAIN for worker, pid in pids):
        truth.fail("innocent", f"{error!r}, but it has not begun: {task}")
    allowed, vain = task.plan.policy.max_attempts, len(pids)
    blamed = task.count(*BLAMED, How.TOO_LARGE) + vain
    often = blamed >= allowed or task.count(How.LOST) >= BLAMELESS_LOSSES
    if task.runs and is_stuck(task.runs[-1]):
        return  # it hangs in the kernel, and is not run again
    ended = bool(lost) and lost[-1] is task.runs[-1]
    if not (ended or vain) or not (often or allowed == 1):
        truth.fail("innocent", f"{error!r} for {task}")
    missing = [run for run in lost if f"attempt {run.attempt}" not in str(error)]
    if missing:
        truth.fail("causes", f"{error!r} does not tell of {missing}: {task}")


def _check_input_failed(truth: Truth, error: BaseException, task: TaskTruth) -> None:
    """It never ran, and a task that it needs did not return, or somebody gave that one up."""
    needed = [truth.tasks[task_id] for task_id in task.needs]
    gone = [one for one in needed if one.is_asked_to_stop or one.result is None]
    if task.runs or not any(f"task {one.task_id} " in str(error) for one in gone):
        truth.fail("inputs", f"{error!r} for {task}, which needs {needed}")


def _check_timeout(truth: Truth, error: BaseException, task: TaskTruth) -> None:
    """It ran or waited for longer than it may."""
    policy, now_s = task.plan.policy, truth.now()
    is_late = policy.deadline_s is not None and now_s - task.submitted_s >= policy.deadline_s
    run = task.runs[-1] if task.runs else None
    ran_s = 0.0
    if run is not None:  # a death that is not known yet is no end to those who wait
        ran_s = (now_s if run.how in LOSSES else min(run.ended_s, now_s)) - run.began_s
    is_slow = policy.timeout_s is not None and ran_s >= policy.timeout_s - EPSILON_S
    if not is_late and not is_slow:
        truth.fail("timeout", f"{error!r}, too soon: {task}")
    if run is not None and run.how is None and not is_stuck(run):
        truth.fail("timeout", f"{error!r}, and it runs on: {task}")


def _check_cancelled(client: SimClient, future: ScalerFuture, task: TaskTruth) -> None:
    truth = client.world.truth
    outcome = future.cancel_outcome
    in_loop = task.task_id in client.unconfirmed  # cancelled first, whatever the answer is
    if outcome in (None, Outcome.FINISHED) or (outcome is Outcome.FAILED and not in_loop):
        truth.fail("cancel", f"{future!r} is cancelled with outcome {outcome}")
    if not task.is_asked_to_stop:
        truth.fail("cancel", f"{future!r}, and nobody has asked for it: {task}")
    if outcome is Outcome.CANCELED:
        truth.promised(task.task_id, "its future says Canceled")
    works = truth.now() < truth.broken_s and not client.closing
    if outcome is Outcome.NOT_FOUND and works and not _answer_was_late(client, future):
        truth.fail("cancel", f"{future!r}, in a cluster that works: {task}")
    if outcome is Outcome.TIMEOUT and not _has_waited(client, future):
        truth.fail("cancel", f"{future!r}, and nobody has waited so long: {task}")


def _has_waited(client: SimClient, future: ScalerFuture) -> bool:
    """Whether somebody's patience may have come to an end."""
    now_s = client.world.sim.now()
    return (
        client.closing
        or future.task_id in client.unconfirmed
        or any(
            now_s >= call.began_s + call.op.timeout_s - EPSILON_S
            for call in client.calls
            if any(future is one for one, _, _ in call.futures)
        )
    )


def _answer_was_late(client: SimClient, future: ScalerFuture) -> bool:
    """Whether the answer to a batch, in which it was, came after its time: then nobody heard it."""
    now_s = client.world.sim.now()
    return client.world.has_long_pause or any(
        len(call.futures) > 1 and now_s >= call.began_s + call.op.timeout_s
        for call in client.calls
        if any(future is one for one, _, _ in call.futures)
    )


def check_cancel(client: SimClient, call: CancelCall) -> None:
    """`cancel` returns: is each future what the table says?"""
    truth = client.world.truth
    took_s = truth.now() - call.began_s
    patience_s = min(call.op.timeout_s, truth.stop_s if call.op.force else math.inf)
    if truth.broken_s <= truth.now():
        patience_s = call.op.timeout_s + END_NOTICED_S
    if took_s > patience_s + client.world.slack_s:
        truth.fail("asks", f"{call.op} took {took_s} s")
    for future, was_done, was_cancelled in call.futures:
        outcome = future.cancel_outcome
        story = f"{call.op} of {future!r} ({outcome}): {truth.tasks[future.task_id]}"
        if future.cancelled():
            client.given_up[future.task_id] = None
            if was_cancelled or not was_done or client.cancel_finished:
                continue
            truth.fail("cancel", f"a finished future was cancelled by {story}")
        if was_cancelled:
            truth.fail("cancel", f"a cancelled future came back after {story}")
        if was_done:
            if client.cancel_finished or outcome is not Outcome.FINISHED:
                truth.fail("cancel", f"a finished future was not given up by {story}")
        elif call.op.force and client.cancel_finished and not _may_resist(client, future, took_s):
            truth.fail("cancel", f"not cancelled by {story}")
        elif not future.done() and not _may_have_begun(client, future):
            truth.fail("cancel", f"refused, though it had not begun, by {story}")
        truth.marks[f"not cancelled: {outcome.value if outcome else 'broken'}"] += 1


def _may_have_begun(client: SimClient, future: ScalerFuture) -> bool:
    """Whether a task has begun, or is about to, or was when its executor died, or nobody knows."""
    truth = client.world.truth
    task = truth.tasks[future.task_id]
    return (
        bool(task.runs)
        or client.world.has_long_pause
        or truth.marks["an executor died with claims"] > 0
        or any(executor.claims(task.task_id) for executor in truth.alive.values())
    )


def _may_resist(client: SimClient, future: ScalerFuture, took_s: float) -> bool:
    """Whether a forced cancel may fail: the cluster or the client has ended, nobody answers, or
    the process hangs in the kernel.
    """
    truth = client.world.truth
    runs = truth.tasks[future.task_id].runs
    if runs and is_stuck(runs[-1]):
        return True
    return truth.broken_s <= truth.now() or client.closing or took_s >= CANCEL_TIMEOUT_S


def check_at_end(client: SimClient) -> None:
    """All has ended: what every future has come to, also those that nobody waited for."""
    truth = client.world.truth
    if client.gone:  # its futures went with its process
        return
    for future in client.futures.values():
        if not future.done():
            truth.fail("lost", f"{future!r} never ends: {truth.tasks[future.task_id]}")
        if future.task_id in client.given_up and not future.cancelled():
            truth.fail("cancel", f"cancel() returned True, and then came {future!r}")
        if future.cancel_outcome is Outcome.UNCONFIRMED and not client.closed:
            truth.fail("cancel", f"the answer of {future!r} never came")
        check_future(client, future)
        truth.marks[_in_words(future)] += 1
        shown = client.shown.get(future.task_id, 0)
        _check_output(client, future, shown)
    waiting = [call.op for call in client.calls if call.returned_s is None]
    if waiting:
        truth.fail("asks", f"{waiting} never returned")


def _in_words(future: ScalerFuture) -> str:
    """What a future has become."""
    if future.cancelled():
        return f"cancelled: {future.cancel_outcome.value if future.cancel_outcome else None}"
    error = future.exception(0)
    return "a value" if error is None else f"a future raised {type(error).__name__}"


def _check_output(client: SimClient, future: ScalerFuture, shown: int) -> None:
    """What a task printed in the run that counts has been shown, but to one who has left."""
    task = client.world.truth.tasks[future.task_id]
    if client.closing:
        return
    if future.cancelled() or not task.runs or task.runs[-1].how is not How.VALUE:
        return
    if future.exception(0) is None and shown < task.plan.prints:
        client.world.truth.fail("output", f"{shown} outputs of {task.plan.prints}: {task}")
