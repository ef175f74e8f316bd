"""Bugs in spilling, and in waiting for room."""

from __future__ import annotations

from typing import Final

from tests.simulation.planted.mutant import Mutant

_STORE: Final = "scaler/objects/store.py"
_LEDGER: Final = "scaler/objects/ledger.py"
_SPILLING: Final = "scaler/objects/spilling.py"
_ROOM: Final = "scaler/objects/room.py"

SPILLING: Final = (
    Mutant(
        "an object is spilled that somebody has begun to read",
        _LEDGER,
        "        if entry.pins or home in mapped:\n",
        "        if home in mapped:\n",
    ),
    Mutant(
        "an object is spilled that was mapped while it was copied",
        _LEDGER,
        "        if entry.pins or home in mapped:\n",
        "        if entry.pins:\n",
    ),
    Mutant(
        "what the disk did not take is tried again and again",
        _LEDGER,
        "        self.objects[home].is_refused = True\n",
        "        self.objects[home].is_refused = False\n",
    ),
    Mutant(
        "what is on disk counts as in memory",
        _LEDGER,
        "        entry.spilled = place\n        self.used_bytes -= entry.size_bytes\n",
        "        entry.spilled = place\n",
    ),
    Mutant(
        "what is freed on disk counts as freed in memory",
        _LEDGER,
        "            if entry.spilled is None:\n"
        "                self.used_bytes -= entry.size_bytes\n",
        "            self.used_bytes -= entry.size_bytes\n",
    ),
    Mutant(
        "who waits for room is not told what was spilled",
        _STORE,
        "        self.room.tell_used(self.ledger)\n        return is_used, is_enough\n",
        "        return is_used, is_enough\n",
    ),
    Mutant(
        "a freed object keeps its place on disk",
        _STORE,
        "            if entry.spilled is not None and self._spiller is not None:\n",
        "            if entry.spilled is not None and self._spiller is None:\n",
    ),
    Mutant(
        "an object may be freed while it is copied to disk",
        _STORE,
        "            piece = self.hold_if(home, entry, Holder.SPILL)\n",
        "            piece = Piece(home, entry.size_bytes)\n",
    ),
    Mutant(
        "a client reads where a spilled object was",
        _STORE,
        "            return self.views.open(piece, entry.spilled, copy=copy)\n",
        "            return self.views.open(piece, piece.spilled, copy=copy)\n",
    ),
    Mutant(
        "an executor reads where a spilled object was",
        _STORE,
        "Piece(piece.home, piece.size_bytes, spilled)\n",
        "Piece(piece.home, piece.size_bytes)\n",
    ),
    Mutant(
        "objects beyond the bound wait until somebody needs their room",
        _STORE,
        "        if self.ledger.used_bytes > self.room.limit_bytes:\n",
        "        if self.ledger.used_bytes > 2 * self.room.limit_bytes:\n",
    ),
    Mutant(
        "no more is spilled than is beyond the bound",
        _STORE,
        "            self._spiller.wake(max(0, self.room.limit_bytes - size_bytes))\n",
        "            self._spiller.wake(self.room.limit_bytes)\n",
    ),
    Mutant(
        "only the last of those who wait for room gets any",
        _SPILLING,
        "        return min(taken, default=None)\n",
        "        return taken[-1] if taken else None\n",
    ),
    Mutant(
        "a copy on disk that is not used stays",
        _SPILLING,
        "            if not is_used:\n",
        "            if is_used is None:\n",
    ),
    Mutant(
        "a copy on disk that is used is freed",
        _SPILLING,
        "            if not is_used:\n",
        "            if is_used:\n",
    ),
    Mutant(
        "what is on disk keeps its memory",
        _SPILLING,
        "            store.file.punch(piece.home, whole_pages(piece.size_bytes))\n",
        "            store.file.punch(piece.home, 0)\n",
    ),
    Mutant(
        "a copy that is not used costs the memory",
        _SPILLING,
        "        if is_used:\n            yield\n",
        "        if place:\n            yield\n",
    ),
    Mutant(
        "what the disk took a part of keeps its place",
        "scaler/objects/spill.py",
        "            self.free(offset)\n            raise\n",
        "            raise\n",
    ),
    Mutant(
        "nobody looks whether what was on disk is damaged",
        "scaler/objects/views.py",
        "    if checksum != place.checksum:\n",
        "    if not place.checksum:\n",
    ),
    Mutant(
        "who waits for room gives up at once",
        _ROOM,
        "        end_s = press_s + ROOM_WAIT_S\n",
        "        end_s = press_s\n",
    ),
    Mutant(
        "what a task has written counts for ever as unknown to the store",
        "scaler/executor/objects.py",
        "        self._untold_bytes = 0\n        if row.objects:\n",
        "        if row.objects:\n",
    ),
    Mutant(
        "a worker keeps tasks back while its executor waits for room",
        "scaler/worker/worker.py",
        "        if message.number == self.number:\n            self.give_back()\n",
        "        if message.number == self.number and not self.ledger.sent:\n"
        "            self.give_back()\n",
    ),
    Mutant(
        "what an executor has spilled and freed is taken for no object of it",
        "scaler/executor/objects.py",
        "            self.free(abs(home), is_cold=home < 0)\n",
        "            self.free(max(home, 0), is_cold=home < 0)\n",
    ),
)
