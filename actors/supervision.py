"""What happens to an actor whose handler raised: a value given to `spawn`, decided here."""

from __future__ import annotations

from typing import Any

import msgspec


class Stop(msgspec.Struct, frozen=True):
    """The actor ends; its watchers are told the cause. The default."""


class Restart(msgspec.Struct, frozen=True):
    """A new instance takes over the mailbox; the message that failed is not handled again.

    After `times` restarts `within_s` seconds the actor is stopped instead (as in OTP, where the
    default intensity is one restart in five seconds).
    """

    times: int = 3
    within_s: float = 60.0

    def __post_init__(self) -> None:
        """Refuse what would do harm only when an actor fails.

        Raises:
            TypeError: a field is no number.
            ValueError: a field is negative, or not a number.
        """
        times: Any = self.times
        within_s: Any = self.within_s
        if not (isinstance(times, int) and isinstance(within_s, int | float)):
            raise TypeError(f"the fields of a Restart must be numbers, got {self!r}")
        if not (times >= 0 and within_s >= 0):
            raise ValueError(f"the fields of a Restart must be >= 0, got {self!r}")


Supervision = Stop | Restart


def may_restart(supervision: Supervision, restarts_s: list[float], now_s: float) -> bool:
    """Whether an actor that failed now is restarted; if so, that is noted.

    Args:
        supervision: the actor's strategy.
        restarts_s: when it was restarted before; entries too old to count are dropped.
        now_s: the time of the failure.
    """
    if not isinstance(supervision, Restart):
        return False
    restarts_s[:] = [at for at in restarts_s if now_s - at < supervision.within_s]
    if len(restarts_s) >= supervision.times:
        return False
    restarts_s.append(now_s)
    return True
