"""Futures as arguments, on the client: the scheduler is told what it does not know any more.

A task that needs results waits at the scheduler, which hears of most of them first. One that had
ended before the task came is known here alone: its row is on its future, or was just told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from actors import ActorsError, AskTimeoutError
from scaler.client.future import ScalerFuture
from scaler.client.rows import input_row
from scaler.errors import ClientError
from scaler.limits import INPUTS_TIMEOUT_S
from scaler.protocol.tasks import AwaitInputs, InputGiven
from scaler.serialization.inputs import FutureMetError, collecting

if TYPE_CHECKING:
    from scaler.client.future_manager import ClientFutureManager
    from scaler.client.outcome import Canceller
    from scaler.client.submissions import Submission


def dumped(dump: Callable[..., bytes], *values: Any) -> tuple[bytes, tuple[ScalerFuture, ...]]:
    """Return `dump(*values)`, and the futures among the values, in the order of their places."""
    try:
        return dump(*values), ()
    except FutureMetError:  # only now: calls without futures pay nothing
        with collecting() as futures:
            return dump(*values), tuple(futures)


def check_own(futures: Iterable[ScalerFuture], session: Canceller) -> None:
    """Raise if a future is of another client.

    Raises:
        ClientError: which it is.
    """
    for future in futures:
        if future.session is not session:
            raise ClientError(
                f"{future!r} is of another client, whose tasks this one does not know; pass its "
                "result() instead"
            )


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
