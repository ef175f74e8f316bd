"""Whether the shared memory is empty."""

from __future__ import annotations

import gc
from collections.abc import Callable
from itertools import count

from scaler.objects.store import ObjectStore

_COLLECT_EVERY = 25


def at_rest(store: ObjectStore) -> Callable[[], bool]:
    """Return what tells, asked again and again, whether no object is left.

    What only cycles hold is collected now and then: in a full run of the tests that takes long.
    """
    asked = count(1)

    def look() -> bool:
        if store.objects and not next(asked) % _COLLECT_EVERY:
            gc.collect()
        return not store.objects

    return look
