"""Preloaded by a launcher: a module whose import takes long."""

from __future__ import annotations

import time

time.sleep(60)
