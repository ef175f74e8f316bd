"""`Delays`: how long messages travel, how late nodes are, how soon a crash is noticed."""

from __future__ import annotations

from math import inf
from random import Random

import msgspec


class Delays(msgspec.Struct, frozen=True):
    """The timing of a simulation; every value is drawn between two bounds, in seconds.

    Messages of one sender to one receiver never overtake each other, whatever is drawn.

    Raises:
        ValueError: bounds are no pair of seconds, lower first, or a share is not from 0 to 1.
    """

    local_s: tuple[float, float] | None = (0.0, 0.0005)
    """To an actor of the same node; `None`: at once, within the turn."""
    remote_s: tuple[float, float] = (0.0001, 0.005)
    """To an actor of another node."""
    slow_share: float = 0.01
    """Share of messages that take longer, by what `slow_s` says."""
    slow_s: tuple[float, float] = (0.0, 0.5)
    stall_share: float = 0.02
    """Share of messages at whose arrival the node is busy: it handles all that comes in at once,
    in one turn, when `stall_s` is over."""
    stall_s: tuple[float, float] = (0.0, 0.02)
    detect_s: tuple[float, float] = (0.0, 0.2)
    """From the crash of a node until another one notices."""
    cut_share: float = 0.25
    """Share of crashes, for each other node, that lose the last of what was on its way there."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name.endswith("_share"):
                if not 0 <= value <= 1:
                    raise ValueError(f"{name} must be between 0 and 1, got {value!r}")
            elif not (value is None and name == "local_s") and not _are_bounds(value):
                raise ValueError(
                    f"{name} must be two numbers of seconds, lower first, got {value!r}"
                )

    @classmethod
    def drawn(cls, random: Random) -> Delays:
        """Return delays of a drawn character: from a quiet host to a slow network."""
        remote_s = 10 ** random.uniform(-3.5, -0.5)
        return cls(
            local_s=(0.0, random.choice((0.00005, 0.0005, 0.005))),
            remote_s=(remote_s * random.choice((0.05, 0.5)), remote_s),
            slow_share=random.choice((0.0, 0.0, 0.01, 0.1)),
            slow_s=(0.0, random.choice((0.05, 0.5, 5.0))),
            stall_share=random.choice((0.0, 0.02, 0.2)),
            stall_s=(0.0, random.choice((0.005, 0.05, 0.4))),
            detect_s=(0.0, random.choice((0.01, 0.2, 3.0))),
        )

    def travel(self, random: Random, *, local: bool) -> float:
        """Draw how long a message travels."""
        low, high = self.local_s if local and self.local_s else self.remote_s
        delay_s = low + (high - low) * random.random()
        if self.slow_share and random.random() < self.slow_share:
            low, high = self.slow_s
            delay_s += low + (high - low) * random.random()
        return delay_s


def _are_bounds(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and 0 <= value[0] <= value[1] < inf
