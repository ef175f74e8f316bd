"""`shrink`: the smallest part of a script that still fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def shrink(
    script: Sequence[T], fails: Callable[[list[T]], bool], *, max_tries: int = 1_000
) -> list[T]:
    """Drop what is not needed to make a script fail: halves, quarters, ... then single items.

    Args:
        script: what was done, item by item; it fails.
        fails: does it again with the items given and says whether that fails. To be called a few
            hundred times.
        max_tries: bound of these calls.

    Returns:
        A shortest script found, in its order. Unless `max_tries` was met, none of its items can be
        left out.

    Raises:
        ValueError: the whole script does not fail.
    """
    smallest = list(script)
    if not fails(smallest):
        raise ValueError("the script does not fail: there is nothing to shrink")
    tries = 1
    size = max(len(smallest) // 2, 1)
    while smallest:
        dropped = False
        start = 0
        while start < len(smallest):
            if tries >= max_tries:
                return smallest
            shorter = smallest[:start] + smallest[start + size :]
            tries += 1
            if fails(shorter):
                smallest = shorter
                dropped = True
            else:
                start += size
        if size > 1:
            size //= 2
        elif not dropped:
            break
    return smallest
