"""What Linux lets a process ask for about its parent and its orphans. Elsewhere: nothing."""

import ctypes
import os
import sys

AVAILABLE = sys.platform == "linux"
"""Whether the functions here do anything."""

_SET_PDEATHSIG = 1
_SET_CHILD_SUBREAPER = 36
_prctl = ctypes.CDLL(None, use_errno=True).prctl if AVAILABLE else None
if _prctl is not None:
    _prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)


def die_with_parent(signum: int, parent: int) -> None:
    """Get the signal `signum` when the thread that created this process ends.

    Ends this process at once if its parent is not `parent` any more.
    """
    if _prctl is not None:
        _prctl(_SET_PDEATHSIG, signum, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    if _prctl is not None:
        _prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
