"""Preloaded by a launcher: when it should end, it hangs."""

from __future__ import annotations

import time
from typing import Any

from actors.runtime.launcher_main import _Keeper


def _hang(keeper: Any) -> None:
    time.sleep(60)


_Keeper._end = _hang  # type: ignore[assignment]
