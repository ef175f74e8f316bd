"""`Mutant`: one edit of the product."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """One edit."""

    name: str
    file: str
    right: str
    """What stands there, exactly once."""
    wrong: str
    """What stands there instead."""
