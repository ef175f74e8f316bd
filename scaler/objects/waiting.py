"""Work that has to wait at times, written once for threads and for event loops.

It is a generator: of how long to wait, in seconds, before it goes on; what it returns is what came
of it.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[float, None, T]


def finish(steps: Steps[T]) -> T:
    """Return what comes of it; this thread sleeps meanwhile."""
    try:
        while True:
            time.sleep(next(steps))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()  # now, and not when a traceback that has it goes


async def afinish(steps: Steps[T]) -> T:
    """Return what comes of it; the event loop runs meanwhile."""
    import asyncio  # 25 ms, and who awaits has it

    try:
        while True:  # noqa: ASYNC110
            # What is waited for is told by other processes, in memory.
            await asyncio.sleep(next(steps))  # noqa: TID251
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()
