"""The end of a program: all is closed to the end, whatever signals come meanwhile."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

LOGGER = logging.getLogger(__name__)

_INTERRUPTIONS: Final = 100
"""After so many the end of one is given up."""


class Closable(Protocol):
    """What can be closed: within a bound, twice, and again after a close was interrupted."""

    def close(self) -> None:
        """Close it."""


def close_all(closables: Iterable[Closable]) -> None:
    """Close each. Says nothing of Ctrl-C: the program ends as it is.

    A signal handler of the user is called as ever; what it raises ends no close.
    """
    with _deaf_to_ctrl_c():
        for closable in list(closables):
            _close(closable.close)


def _close(close: Callable[[], None]) -> None:
    for _ in range(_INTERRUPTIONS):
        try:
            close()
        except Exception:
            LOGGER.exception("a close at the end of the program failed")
        except BaseException:  # of a signal handler: what is closed already does nothing
            continue
        return


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Have Ctrl-C do nothing meanwhile, unless the program has a handler of its own."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    try:
        signal.signal(signal.SIGINT, _ignore)  # not SIG_IGN, which children would inherit
    except ValueError:  # not in the main thread, which alone is interrupted
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _ignore(*_: Any) -> None:
    """Do nothing."""
