"""Where is this thread: in plain code, in a coroutine, in a callback of an event loop?

`asyncio` is never imported here: who has not imported it runs no loop of it.
"""

from __future__ import annotations

import inspect
import sys
from types import FrameType
from typing import Final

NOTEBOOKS: Final = ("IPython", "ipykernel")
"""Packages that run a user's plain cell inside coroutines of their own."""

LOOPS: Final = ("asyncio", "uvloop")
"""Packages whose frames say that a callback is being run."""

_COROUTINE_FLAGS: Final = (
    inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE | inspect.CO_ASYNC_GENERATOR
)


def loop_is_running() -> bool:
    """Tell whether an asyncio loop runs in this thread."""
    asyncio = sys.modules.get("asyncio")
    get_running_loop = getattr(asyncio, "get_running_loop", None)
    if get_running_loop is None:
        return False
    try:
        get_running_loop()
    except RuntimeError:
        return False
    return True


def in_loop_callback() -> bool:
    """Tell whether a callback of a loop runs here, which nobody may block.

    A coroutine, and a cell of a notebook, has a current task; a callback has none.
    """
    return loop_is_running() and sys.modules["asyncio"].current_task() is None


def in_user_coroutine() -> bool:
    """Tell whether a user's coroutine or callback runs here, as opposed to a plain notebook cell.

    Walks up the stack to the first frame that is a coroutine's or an event loop's; a notebook's own
    does not count. Costs microseconds: ask only when about to block.
    """
    if not loop_is_running():
        return False
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in NOTEBOOKS:
            return False
        if package in LOOPS or frame.f_code.co_flags & _COROUTINE_FLAGS:
            return True
        frame = frame.f_back
    return True
