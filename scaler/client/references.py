"""Who else holds an object: what is dropped without a word shall be noticed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any


def references(holder: Mapping[Any, Any] | tuple[Any, ...], key: Any) -> int:
    """Return how many references there are to `holder[key]`, the holder's own included."""
    value = holder[key]
    return sys.getrefcount(value) - _BY_LOOKING


_BY_LOOKING = 0
_BY_LOOKING = references((object(),), 0) - 1
"""References that looking makes itself: they depend on the interpreter's version."""
