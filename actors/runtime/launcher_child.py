"""The first steps of a launched child, from the fork to the end of its entry function."""

import os
import signal
import struct
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

from actors.runtime.prctl import adopt_orphans, die_with_parent

FAULT = struct.Struct("<IH")
"""Head of a fault: number of the child, bytes of text that follow."""

_FAULT_TEXT_BYTES_MAX = 3000
"""Head and text are one atomic write to a pipe."""

_FD_DIRECTORY = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"

CAUGHT = (signal.SIGCHLD, signal.SIGTERM)
"""Signals that the launcher handles: blocked around a fork, default in the child."""


class Order(NamedTuple):
    """What one child is to do."""

    number: int
    entry: str
    payload: bytes
    fds: tuple[int, ...]


def run_child(order: Order, *, launcher: int, faults: int, kept: Sequence[int]) -> NoReturn:
    """Be the child: called right after the fork, never returns.

    The child ends when the entry function does: threads it left running do not keep it, and what
    was registered with `atexit` is not run. What the function raises is printed; exit code 1.

    Args:
        order: what to run.
        launcher: pid of the parent.
        faults: pipe to which it is written why the entry cannot be loaded.
        kept: file descriptors that stay open beside those of `order` and the standard ones.
    """
    status = 1
    try:
        os.setsid()
        die_with_parent(signal.SIGKILL, launcher)
        adopt_orphans()  # what this child leaves behind comes up when it has died, not before
        _restore_signals()
        close_others((*kept, *order.fds, faults))
        function = _load(order, faults)
        if function is not None:
            os.close(faults)
            status = _run(function, order)
    except BaseException as error:  # whatever it is, it must not get into the launcher's loop
        print_traceback(error)
    finally:
        _flush()
        os._exit(status)


def close_others(kept: Sequence[int]) -> None:
    """Close every file descriptor from 3 on that is not in `kept`."""
    for fd in open_fds():
        if fd > 2 and fd not in kept:
            os.close(fd)


def open_fds() -> list[int]:
    """The open file descriptors of this process."""
    listed = [int(name) for name in os.listdir(_FD_DIRECTORY)]
    return [fd for fd in listed if is_open(fd)]  # without the one that listed them


def is_open(fd: int) -> bool:
    """Whether a file descriptor is open."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _restore_signals() -> None:
    signal.set_wakeup_fd(-1)
    for signum in CAUGHT:
        signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, CAUGHT)


def _load(order: Order, faults: int) -> Callable[[bytes, tuple[int, ...]], Any] | None:
    module, _, name = order.entry.partition(":")
    try:
        function: Callable[[bytes, tuple[int, ...]], Any] = getattr(import_module(module), name)
        return function
    except BaseException as error:
        print_traceback(error)
        reason = f"{order.entry!r} cannot be loaded: {type(error).__name__}: {error}"
        text = reason.encode(errors="replace")[:_FAULT_TEXT_BYTES_MAX]
        os.write(faults, FAULT.pack(order.number, len(text)) + text)
        return None


def _run(function: Callable[[bytes, tuple[int, ...]], Any], order: Order) -> int:
    try:
        function(order.payload, order.fds)
    except SystemExit as error:
        return _exit_code(error)
    return 0


def _exit_code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    sys.stderr.write(f"{error.code}\n")
    return 1


def print_traceback(error: BaseException) -> None:
    """Print the traceback on stderr, whatever becomes of it."""
    try:
        sys.__excepthook__(type(error), error, error.__traceback__)
    except BaseException:
        pass


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # closed, or nobody reads it
            pass
