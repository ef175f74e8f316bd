"""What a task may change for those after it, put back when it ends."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from scaler.executor.grants import Grants
from scaler.executor.interrupt import Interrupter
from scaler.executor.output import TaskPrinter
from scaler.protocol.executor import INTERRUPT_SIGNAL

# Those of `signal` turn numbers into enums and back: 2 us instead of 0.02.
_getsignal: Callable[[int], Any] = _signal.getsignal
_set_mask: Callable[[int, Iterable[int]], Any] = _signal.pthread_sigmask
_SIG_SETMASK: Final = int(signal.SIG_SETMASK)


_HANDLED: Final = tuple(
    int(signum)
    for signum in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGALRM,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGCHLD,
        signal.SIGPIPE,
        signal.SIGVTALRM,
        signal.SIGPROF,
    )
)
_LOOK_EVERY_NS: Final = 1_000_000
_FUNCTIONS_LOOKED_AFTER: Final = 1_000


class Surroundings:
    """What tasks share: directory, environment, signals, streams, and the kernel's `Grants`.

    The state of Python modules is not put back: to keep it is what a process is used again for.
    """

    def __init__(self, interrupter: Interrupter, printer: TaskPrinter) -> None:
        """Remember the process as it is now."""
        self._interrupter = interrupter
        self._printer = printer
        self._mask: Iterable[int] = tuple(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ())))
        self._handlers = tuple(map(_getsignal, _HANDLED))
        self._environ = os.environ
        self._environment = os.environ.copy()
        self._encoded = dict(_encoded_environment())
        self._modules = len(sys.modules)
        """How many had been imported when it was last looked."""
        flags = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            self._directory = os.open(".", flags)
        except OSError:  # it was removed, or may not be read: then tasks keep what they have
            self._directory = -1
        self._grants = Grants()
        self._looked_ns = 0
        self._looked_after: dict[bytes, None] = {}
        """Functions after whose first task it was looked."""
        self.is_behind = False
        """It was not looked after the last task: see `catch_up`."""

    def put_back(self, function_id: bytes) -> bool:
        """Undo what a task of this function changed; return whether all of it could be.

        Unconditional where asking would cost more than setting. What takes microseconds is looked
        at after the first task of each function, and else once in a millisecond.
        """
        if _getsignal(INTERRUPT_SIGNAL) is not self._interrupter.handler:
            self._interrupter.install()
        _set_mask(_SIG_SETMASK, self._mask)
        if self._directory >= 0:
            try:
                os.fchdir(self._directory)
            except OSError:  # it may not be entered any more
                self._directory = -1
        self._printer.install()
        now_ns = time.monotonic_ns()
        if now_ns - self._looked_ns < _LOOK_EVERY_NS and function_id in self._looked_after:
            self.is_behind = True
            return True
        if len(self._looked_after) >= _FUNCTIONS_LOOKED_AFTER:
            self._looked_after.clear()
        self._looked_after[function_id] = None
        return self._look(now_ns)

    def catch_up(self, now_ns: int) -> bool:
        """Before a task, if `is_behind`: look now if the last look is no longer recent.

        What a task changed would else stay until after the next one, which may come much later.
        """
        return now_ns - self._looked_ns < _LOOK_EVERY_NS or self._look(now_ns)

    def _look(self, now_ns: int) -> bool:
        self._looked_ns = now_ns
        self.is_behind = False
        os.environ = self._environ  # noqa: B003 - the object, which a task replaced
        if tuple(map(_getsignal, _HANDLED)) != self._handlers:
            self._put_handlers_back()
        if _encoded_environment() != self._encoded:
            self._put_environment_back()
        self._modules = len(sys.modules)
        return self._grants.put_back()

    def _put_handlers_back(self) -> None:
        for signum, handler in zip(_HANDLED, self._handlers, strict=True):
            if handler is not None:  # None: not Python's
                signal.signal(signum, handler)

    def _put_environment_back(self) -> None:
        for name in os.environ.keys() - self._environment.keys():
            if self._modules == len(sys.modules):
                del os.environ[name]
            else:  # it may be an import's, which counts on it, and does not happen again
                self._environment[name] = os.environ[name]
        for name, value in self._environment.items():
            if os.environ.get(name) != value:
                os.environ[name] = value
        self._encoded = dict(_encoded_environment())


def _encoded_environment() -> dict[Any, Any]:
    """Return the environment as `os.environ` keeps it: comparing that is ten times as fast."""
    encoded: dict[Any, Any] = os.environ._data  # type: ignore[attr-defined]
    return encoded
