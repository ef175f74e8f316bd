"""Bugs in the actors' own ground: asks, timers, watches."""

from __future__ import annotations

from typing import Final

from tests.simulation.planted.mutant import Mutant

_CORE: Final = "actors/core/"

GROUND: Final = (
    Mutant(
        "an ask is answered twice",
        _CORE + "context.py",
        "            self._asker.deliver(Reply(self._request, message))\n",
        "            self._asker.deliver(Reply(self._request, message))\n"
        "            self._asker.deliver(Reply(self._request, message))\n",
    ),
    Mutant(
        "an ask whose time is up is never ended",
        _CORE + "node.py",
        "            self._answer(number, ask, late_error(ask.target))\n",
        "            continue\n",
    ),
    Mutant(
        "a cancelled timer fires",
        _CORE + "timers.py",
        "        if cell.timers.pop(key, None) is not None:\n"
        "            self._live -= 1\n\n    def cancel_all",
        "        return\n\n    def cancel_all",
    ),
    Mutant(
        "who watched an actor on a lost node is not told",
        _CORE + "watches.py",
        "            for watcher in self._remote.pop(ref):\n",
        "            for watcher in ():\n",
    ),
    Mutant(
        "who watches an actor is not told of its end",
        _CORE + "cell.py",
        "            watcher.deliver(Envelope(terminated, self.ref))\n",
        "            pass\n",
    ),
    Mutant(
        "an ask that was answered stays open",
        _CORE + "asks.py",
        "        return self._open.pop(number, None)\n",
        "        return self._open.get(number)\n",
    ),
)
