"""How an executor prepares for its own death: that it is explained, and comes before the user's."""

from __future__ import annotations

import faulthandler
import os
from typing import Final

_STDERR: Final = 2
_OOM_SCORE: Final = "/proc/self/oom_score_adj"
_OOM_SCORE_MORE: Final = 500
_OOM_SCORE_MAX: Final = 1_000


def report_deaths(stderr_fd: int) -> None:
    """Make `stderr_fd` the stderr of this process, and have crashes write their stack there."""
    os.dup2(stderr_fd, _STDERR)
    os.close(stderr_fd)
    faulthandler.enable(_STDERR)


def go_first() -> None:
    """Have the kernel, when memory runs out, prefer this process and its children to the user's."""
    try:
        fd = os.open(_OOM_SCORE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # no Linux, or none of its /proc here
        return
    try:
        score = int(os.read(fd, 16))
        os.write(fd, b"%d" % min(score + _OOM_SCORE_MORE, _OOM_SCORE_MAX))
    except OSError:  # it is forbidden here
        pass
    finally:
        os.close(fd)
