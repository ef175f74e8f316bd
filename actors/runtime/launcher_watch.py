"""`LauncherWatch`: a launcher that is frozen is killed, so that nobody waits for it without end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.limits import LAUNCHER_PRELOAD_S, LAUNCHER_SILENT_S

if TYPE_CHECKING:
    from actors.runtime.launcher import Launcher


class LauncherWatch:
    """Asks a launcher that owes an answer for a sign of life, again and again."""

    def __init__(self) -> None:
        self._launcher: Launcher | None = None
        """It owes an answer, and has been silent."""
        self._words = 0
        self._silent_from_s = 0.0

    def check(self, launcher: Launcher, now_s: float) -> None:
        """Look at the present launcher; to be called about once a second.

        Args:
            launcher: it belongs to this thread.
            now_s: on a clock that stands still while this process is stalled.
        """
        was_silent = launcher is self._launcher and launcher.words == self._words
        self._launcher = launcher if launcher.ping() else None
        patience_s = LAUNCHER_SILENT_S if launcher.has_started else LAUNCHER_PRELOAD_S
        if not was_silent:
            self._words, self._silent_from_s = launcher.words, now_s
        elif self._launcher and now_s - self._silent_from_s > patience_s:
            launcher.give_up(f"silent for {patience_s:g} s, it was killed")
