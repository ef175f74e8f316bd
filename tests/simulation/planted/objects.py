"""Bugs in the shared memory: what is freed too early, too late, or twice."""

from __future__ import annotations

from typing import Final

from tests.simulation.planted.mutant import Mutant

_STORE: Final = "scaler/objects/store.py"
_LEDGER: Final = "scaler/objects/ledger.py"
_PORT: Final = "scaler/worker/objects.py"
_EXECUTOR: Final = "scaler/executor/objects.py"
_FUTURE: Final = "scaler/client/future.py"

OBJECTS: Final = (
    Mutant(
        "an object is freed while a lease is left",
        _LEDGER,
        "        if entry.leases:\n",
        "        if entry.leases > 1:\n",
    ),
    Mutant(
        "leases of an object that is known are not counted",
        _LEDGER,
        "            new.leases += 1\n",
        "            new.leases = new.leases or 1\n",
    ),
    Mutant(
        "the last lease does not free its object",
        _STORE,
        "                freed.append((lease.home, entry))\n",
        "                freed = freed or [(lease.home, entry)]\n",
    ),
    Mutant(
        "an object is freed twice",
        _STORE,
        "                freed.append((lease.home, entry))\n",
        "                freed.append((lease.home, entry))\n                freed = freed * 2\n",
    ),
    Mutant(
        "what was dropped is told once and never again",
        _STORE,
        "        self._is_told = False\n        for home, entry",
        "        for home, entry",
    ),
    Mutant(
        "what a task that was taken back may read stays pinned",
        _PORT,
        "            self._unpin(ordinal)\n        return ordinals\n",
        "            self._sent.get(ordinal)\n        return ordinals\n",
    ),
    Mutant(
        "what a task that has ended may read stays pinned",
        _PORT,
        "        self._unpin(frame.row.ordinal)\n",
        "        self._sent.get(frame.row.ordinal)\n",
    ),
    Mutant(
        "what an executor wrote is given back where it died, needed or not",
        _LEDGER,
        "        for home in [*kept, (number + 1) << RANGE_SHIFT]:\n",
        "        for home in [*kept[1:], (number + 1) << RANGE_SHIFT]:\n",
    ),
    Mutant(
        "what an executor wrote stays when it has died",
        _LEDGER,
        "            if home > first:\n",
        "            if home > first and home in self.objects:\n",
    ),
    Mutant(
        "what is freed after the death of its executor keeps its memory",
        _STORE,
        "        else:\n            self._holes.add(self.file, home, whole_pages(size_bytes))\n",
        "        else:\n            self.ledger.objects[home] = StoredObject(size_bytes)\n",
    ),
    Mutant(
        "the objects of a row are not held",
        _PORT,
        "            self.store.lease(frame.row.objects, Holder.RESULT)\n",
        "            self.store.lease(frame.row.objects[1:], Holder.RESULT)\n",
    ),
    Mutant(
        "what an executor has mapped is not held",
        _PORT,
        "        for home in frame.kept:\n",
        "        for home in frame.kept[1:]:\n",
    ),
    Mutant(
        "what an executor has mapped is held for ever",
        _PORT,
        "            del self._kept[home]\n",
        "            pass\n",
    ),
    Mutant(
        "what an executor had mapped is held after its death",
        _PORT,
        "        self._kept.clear()\n        self.taken_back(",
        "        self.taken_back(",
    ),
    Mutant(
        "an executor is told of the last object that was freed only",
        _PORT,
        "        self._freed.append(-home if is_cold else home)\n",
        "        self._freed = [home]\n",
    ),
    Mutant(
        "an executor is told twice of what was freed",
        _PORT,
        "        freed, self._freed = tuple(self._freed), []\n",
        "        freed = tuple(self._freed)\n",
    ),
    Mutant(
        "the range of an executor that is gone is not given back",
        _PORT,
        "        if number:\n            self.store.leave(number)\n",
        "        if number and not self._freed:\n            self.store.leave(number)\n",
    ),
    Mutant(
        "what an interrupted task has written stays",
        _EXECUTOR,
        "        if self.count != len(self._told):",
        "        if not self.count:",
    ),
    Mutant(
        "an executor frees what it has just told",
        _EXECUTOR,
        "                    self._told[piece.home] = None\n",
        "                    self._told = {piece.home: None}\n",
    ),
    Mutant(
        "an executor does not tell what it keeps beside what it kept",
        _EXECUTOR,
        "            if not holds:\n                kept.append(home)\n",
        "            if len(self._kept) == 1:\n                kept.append(home)\n",
    ),
    Mutant(
        "a view is passed on as an object that was not written",
        "scaler/objects/memory.py",
        "        return self.views.find(buffer) or (yield from self._writing(buffer))\n",
        "        found = self.views.find(buffer)\n"
        "        if found is not None:\n"
        "            return Piece(self._arena.take(buffer.nbytes)[0], buffer.nbytes)\n"
        "        return (yield from self._writing(buffer))\n",
    ),
    Mutant(
        "a future that was given up keeps the objects of its row",
        _FUTURE,
        "                    self._drop_payload(row)\n            return self.cancelled()",
        "                    self._ran, self._row = row, None\n            return self.cancelled()",
    ),
    Mutant(
        "a future that was given up keeps what a task has needed",
        _FUTURE,
        "                if (row := self._row or self._ran) is not None:",
        "                if (row := self._row) is not None:",
    ),
    Mutant(
        "a future that was opened keeps its objects",
        _FUTURE,
        "        if (row.objects or len(row.payload) > _SMALL_BYTES) and not keep:\n",
        "        if len(row.payload) > _SMALL_BYTES and not keep:\n",
    ),
    Mutant(
        "a result that cannot be opened is no argument any more",
        _FUTURE,
        "                keep = self._is_input or self._exception is not None  # not opened here\n",
        "                keep = self._is_input\n",
    ),
    Mutant(
        "what a view is of is forgotten",
        "scaler/objects/views.py",
        "        self._views[number] = _View(piece, address, watched)\n",
        "        part = Piece(piece.home, piece.size_bytes)\n"
        "        self._views[number] = _View(part, address, watched)\n",
    ),
    Mutant(
        "a result by reference is passed on without its objects",
        "scaler/scheduler/inputs.py",
        "Body(row.payload, row.objects)",
        "Body(row.payload, row.objects[1:])",
    ),
)
