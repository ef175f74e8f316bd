"""Preloaded by a launcher: its first fork fails, as on a machine with too many processes."""

from __future__ import annotations

import errno
import os

_fork = os.fork


def _fail() -> int:
    os.fork = _fork
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


os.fork = _fail
