"""A signal at each point of a call at which the interpreter looks for signals."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import count
from types import FrameType
from typing import Any


def ctrl_c() -> None:
    """Do what Python does at Ctrl-C."""
    raise KeyboardInterrupt


def interruptions(
    call: Callable[[], object],
    handler: Callable[[], object] = ctrl_c,
    within: tuple[str, ...] = ("/actors/", "/scaler/"),
) -> Iterator[str]:
    """Call again and again, interrupted at one point later each time; yield where that was.

    Signals are looked for when a Python function is entered and when a C function has returned;
    here, in files whose path has one of `within` in it. Ends with the first call that is over
    before its turn comes.
    """
    for point in count(1):
        where = _interrupt(call, handler, within, point)
        if not where:
            return
        yield where


def _interrupt(
    call: Callable[[], object], handler: Callable[[], object], within: tuple[str, ...], point: int
) -> str:
    seen = 0
    where = ""

    def profile(frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal seen, where
        file = frame.f_code.co_filename
        if event in ("call", "c_return") and any(part in file for part in within):
            seen += 1
            if seen == point:
                sys.setprofile(None)
                where = f"{frame.f_code.co_qualname}, line {frame.f_lineno}"
                handler()

    sys.setprofile(profile)
    try:
        call()
    except KeyboardInterrupt:
        if not where:
            raise
    finally:
        sys.setprofile(None)
    return where
