"""The lock around the states of all futures, and the standard library's way through it.

`concurrent.futures.wait` and `as_completed` take the condition of each future, look at the states
and leave a note, then let go. They do it in a loop, so Ctrl-C in the middle leaves conditions that
nobody will ever let go of. With the standard library's own futures that stops one pool; here the
thread that resolves all futures of a process would stop for good.

So what they take is not the lock itself but a `Section`: while a thread is in it, no future
changes. Whoever has to wait for its end looks whether the code that began it is still on its
thread's stack; if not, it was interrupted, and the section is over.
"""

from __future__ import annotations

import os
import sys
from threading import Condition, RLock, get_ident
from types import FrameType
from typing import Any, Final

LOCK: Final = RLock()
"""Held for moments, by `with LOCK` alone, which no signal can tear apart. Re-entrant: a finalizer
may run anywhere and read a future."""

# A thread that held it at a fork does not exist in the child, where nobody would let go of it.
os.register_at_fork(after_in_child=LOCK._at_fork_reinit)  # type: ignore[attr-defined]

_LOOK_S: Final = 0.02
"""How often one who waits looks whether the section was interrupted, seconds."""


class Section:
    """Excludes changes of all futures; one thread at a time, re-entrant.

    `acquire`, `release` and the `with` statement are those of a lock: for the standard library.
    Changes of state hold `LOCK` and call `await_end` first if there is a `holder`.
    """

    def __init__(self) -> None:
        self.holder = 0
        """The thread that is in the section, 0: none."""
        self._depth = 0
        self._caller: FrameType | None = None
        self._frame: FrameType | None = None
        self._ended = Condition(LOCK)

    def is_mine(self) -> bool:
        """Tell whether this thread is in the section."""
        return self.holder == get_ident()

    def acquire(self) -> bool:
        """Enter, once more if this thread is in it already."""
        caller = sys._getframe(1)
        if caller is self._caller:  # a loop over many futures
            self._depth += 1
            return True
        with LOCK:
            self.await_end()
            if self.holder and self._goes_on():
                self._depth += 1
            else:
                self._depth = 1
                self._caller = caller
                self._frame = _with_statement_of(caller)
                self.holder = get_ident()
        return True

    def release(self) -> None:
        """Leave once; with the last time the section ends."""
        self._depth -= 1
        if self._depth <= 0:
            with LOCK:
                self._end()

    __enter__ = acquire

    def __exit__(self, *error: object) -> None:
        self.release()

    def notify_all(self) -> None:
        """Do nothing: who waits for a future is told by its waiters."""

    def await_end(self) -> None:
        """Wait until no other thread is in the section, `LOCK` being held."""
        me = get_ident()
        while self.holder not in (0, me):
            if not self._goes_on():
                self._end()
                return
            self._ended.wait(_LOOK_S)

    def _goes_on(self) -> bool:
        frame = sys._current_frames().get(self.holder)
        while frame is not None and frame is not self._frame:
            frame = frame.f_back
        return frame is not None

    def _end(self) -> None:
        self.holder = 0
        self._caller = self._frame = None
        self._ended.notify_all()


def _with_statement_of(frame: FrameType) -> FrameType:
    """Return the frame whose `with` statement this is, `frame` being in its `__enter__` perhaps."""
    outer: Any = frame
    while outer.f_code.co_name == "__enter__" and outer.f_back is not None:
        outer = outer.f_back
    return outer  # type: ignore[no-any-return]


SECTION: Final = Section()
"""The one of this process."""
