"""Futures as arguments, on the client: the scheduler is told what it does not know any more.

A task that needs results waits at the scheduler, which hears of most of them first. One that had
ended before the task came is known here alone: its row is on its future, or was just told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from actors import ActorsError, AskTimeoutError
from scaler.client.future import ScalerFuture
from scaler.client.object_reference import ObjectReference
from scaler.client.rows import input_row
from scaler.errors import ClientClosedError, ClientError
from scaler.limits import INLINE_BYTES, INPUTS_TIMEOUT_S
from scaler.objects.ledger import Holder
from scaler.objects.memory import ObjectMemory
from scaler.objects.waiting import Steps, afinish, finish
from scaler.protocol.objects import Body, Pieces
from scaler.protocol.tasks import AwaitInputs, InputGiven, RowStatus
from scaler.serialization.buffers import Buffers
from scaler.serialization.inputs import FutureMetError, collecting

if TYPE_CHECKING:
    from scaler.client.future_manager import ClientFutureManager
    from scaler.client.outcome import Canceller
    from scaler.client.submissions import Submission


Need = ScalerFuture[Any] | ObjectReference
"""What stands among arguments for a value."""

Arguments = tuple[bytes, Pieces, tuple[Need, ...]]
"""A pickle and what is in shared memory (see `Body`), and what stands for values in it, in the
order of their places."""


class ByContent:
    """Memory in which values of equal content are stored once, for those who write. Thread-safe."""

    def __init__(self, objects: ObjectMemory) -> None:
        """Write to `objects`."""
        self._objects = objects
        self.file = objects.file

    def packing(self, payload: bytes, buffers: Buffers) -> Steps[Body]:
        """See `ObjectMemory.packing`."""
        return self._objects.packing(payload, buffers, by_content=True)


Packing = ObjectMemory | ByContent
"""Where values are put."""


def dumped(objects: Packing, dump: Callable[..., bytes], *values: Any) -> Arguments:
    """Return what `dump(*values, buffers)` makes, with what is large put into `objects`.

    Raises:
        ClientClosedError: that happened meanwhile.
        ObjectStoreFullError: there is no room.
    """
    buffers: Buffers = []
    payload, needs = _pickled(dump, values, buffers)
    if not buffers and len(payload) < INLINE_BYTES:
        return payload, (), needs
    body = finish(packing(objects, payload, buffers))
    return body.payload, body.objects, needs


async def adumped(objects: Packing, dump: Callable[..., bytes], *values: Any) -> Arguments:
    """Do what `dumped` does; let the event loop run while there is no room."""
    buffers: Buffers = []
    payload, needs = _pickled(dump, values, buffers)
    if not buffers and len(payload) < INLINE_BYTES:
        return payload, (), needs
    body = await afinish(packing(objects, payload, buffers))
    return body.payload, body.objects, needs


def _pickled(
    dump: Callable[..., bytes], values: tuple[Any, ...], buffers: Buffers
) -> tuple[bytes, tuple[Need, ...]]:
    try:
        return dump(*values, buffers), ()
    except FutureMetError:  # only now: calls without futures pay nothing
        with collecting() as futures:
            payload = dump(*values, buffers)
        return payload, tuple(futures)


def packing(objects: Packing, payload: bytes, buffers: Buffers) -> Steps[Body]:
    """Do what `objects.packing` does.

    Raises:
        ClientClosedError: the client was closed meanwhile.
        ObjectStoreFullError: there is no room.
    """
    try:
        return (yield from objects.packing(payload, buffers))
    except OSError as error:
        if objects.file.fd >= 0:
            raise
        raise ClientClosedError("the client was closed meanwhile") from error


def given_inputs(
    needs: Sequence[Need], session: Canceller
) -> tuple[tuple[int, ...], tuple[Body | None, ...], tuple[ScalerFuture, ...]]:
    """Return the ids of these, the values of those that are known, and which are not.

    Raises:
        ClientError: a future is of another client, a reference of another cluster, or deleted.
    """
    ids = tuple([need.task_id for need in needs])
    bodies = tuple([_given(need, session) for need in needs])
    unknown = [
        need
        for need, body in zip(needs, bodies, strict=True)
        if body is None and isinstance(need, ScalerFuture)
    ]
    return ids, bodies, tuple(unknown)


def _given(need: Need, session: Canceller) -> Body | None:
    if isinstance(need, ScalerFuture):
        if need.session is not session:
            raise ClientError(
                f"{need!r} is of another client, whose tasks this one does not know; pass its "
                "result() instead"
            )
        row = input_row(need)
        is_there = row is not None and row.status is RowStatus.SUCCEEDED
        return Body(row.payload, row.objects) if row is not None and is_there else None
    if need.session.objects is not session.objects:
        raise ClientError(f"{need!r} is of another cluster; pass client.get() of it instead")
    return session.objects.share(need.body(), Holder.ARGUMENT)


class Inputs:
    """The future manager's side of tasks that need the results of others."""

    def __init__(self, manager: ClientFutureManager) -> None:
        """Serve `manager`, whose context this uses."""
        self._manager = manager

    def await_for(self, submissions: Sequence[Submission]) -> None:
        """These were submitted: ask which of the results they need the scheduler has not."""
        needing = [submission for submission in submissions if submission.needs]
        if not needing:
            return
        needs = {
            (submission.task.task_id, future.task_id): future
            for submission in needing
            for future in submission.needs
        }
        self._ask(tuple([submission.task.task_id for submission in needing]), needs)

    def _ask(self, task_ids: tuple[int, ...], needs: dict[tuple[int, int], ScalerFuture]) -> None:
        self._manager.context.ask(
            self._manager.scheduler,
            AwaitInputs(task_ids),
            then=partial(self._answered, task_ids, needs),
            timeout_s=INPUTS_TIMEOUT_S,
        )

    def _answered(
        self, task_ids: tuple[int, ...], needs: dict[tuple[int, int], ScalerFuture], answer: Any
    ) -> None:
        if isinstance(answer, AskTimeoutError):
            self._ask(task_ids, needs)  # until the scheduler ends, or answers
            return
        if isinstance(answer, ActorsError):
            return  # the scheduler ended: `Terminated` follows
        manager = self._manager
        manager.resolve()  # what has arrived in this turn
        for pair in answer.pairs:
            future = needs[pair]
            row = manager.printed.get(future.task_id) or input_row(future)
            manager.context.tell(manager.scheduler, InputGiven(pair[0], pair[1], future.name, row))
