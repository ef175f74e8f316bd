"""`Overseer`: the actor of a cluster that notices its end, and what was dropped unclosed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from actors import Actor, ActorRef, LocalMessage, Terminated, handles
from scaler.errors import ClusterBrokenError
from scaler.limits import DROPPED_CHECK_S
from scaler.protocol.tasks import Remains

if TYPE_CHECKING:
    from scaler.client.session import ClientSession

_log = logging.getLogger("scaler")


class Dropped(LocalMessage, frozen=True):
    """Nobody holds a cluster, or a client, any more, and it was not closed."""

    end: Callable[[], None]
    """Closes it. Blocks."""
    session: ClientSession | None = None
    """The client's; it is let alone while somebody waits for a future of it."""

    def remains(self) -> Remains:
        """Keep neither."""
        return Remains("Dropped", ())


class CheckDisplayed(LocalMessage, frozen=True):
    """Time to look for clusters that are displayed only."""


class Overseer(Actor):
    """Watches the scheduler and the workers: when one ends by itself, the cluster is broken.

    Ends what was dropped without being closed.
    """

    def __init__(
        self,
        break_off: Callable[[Exception], None],
        watched: Sequence[ActorRef],
        close_displayed: Callable[[], None] | None,
    ) -> None:
        """Make it.

        Args:
            break_off: breaks the cluster.
            watched: the scheduler and the workers.
            close_displayed: in a notebook: has older clusters closed that are displayed only.
        """
        self._break_off = break_off
        self._close_displayed = close_displayed
        self._watched = watched

    def on_start(self) -> None:
        """Watch them."""
        for ref in self._watched:
            self.context.watch(ref)
        if self._close_displayed is not None:
            self.context.start_timer("displayed", DROPPED_CHECK_S, CheckDisplayed())

    @handles(CheckDisplayed)
    def on_check_displayed(self, message: CheckDisplayed) -> None:
        """Look again: the cell that made this cluster has put it in the place of an older one."""
        if self._close_displayed is not None:
            self._close_displayed()

    @handles(Terminated)
    def on_terminated(self, message: Terminated) -> None:
        """Break the cluster, with the cause."""
        why = message.cause or message.reason.value
        self._break_off(ClusterBrokenError(f"{message.ref.name} has ended: {why}"))

    @handles(Dropped)
    def on_dropped(self, message: Dropped) -> None:
        """Close it on a thread of its own, which can wait for this one."""
        session = message.session
        if session is not None and session.is_awaited():
            self.context.start_timer(("dropped", session.number), DROPPED_CHECK_S, message)
            return
        try:
            threading.Thread(
                target=_end_dropped, args=(message.end,), name="scaler-closing", daemon=True
            ).start()
        except RuntimeError:  # the interpreter is about to end, which closes everything
            return


def _end_dropped(end: Callable[[], None]) -> None:
    try:
        end()
    except Exception as error:
        _log.warning("a client or cluster that was dropped did not close well: %r", error)
