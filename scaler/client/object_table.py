"""What `client.objects()` returns: the objects of the host, and who holds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from scaler.client.displayed import html_rows
from scaler.objects.ledger import Holder
from scaler.objects.store import ObjectStore

_HEADS = ("id", "name", "bytes", "held by", "state")


class ObjectInfo(NamedTuple):
    """One object in shared memory."""

    id: int
    """Its number, unique while it lives."""
    name: str
    """Of the reference that names it; empty: none does."""
    size_bytes: int
    holders: dict[str, int]
    """How many of each kind: `argument` (of a task in flight), `result` (a future, or a row on its
    way), `reference`, `view` (a mapped value in this process), `executor` (mapped there)."""
    pinned: bool
    """Somebody reads it, or is about to: it stays where it is."""
    spilled: bool
    """It is on disk."""

    def _cells(self) -> tuple[str, ...]:
        held = ", ".join(f"{count} {kind}" for kind, count in self.holders.items())
        states = [word for word in ("pinned", "spilled") if getattr(self, word)]
        return hex(self.id), self.name, f"{self.size_bytes:,}", held, ", ".join(states)


class ObjectTable(tuple[ObjectInfo, ...]):
    """Objects, the largest first. Shows itself as a table in terminals and notebooks."""

    __slots__ = ()

    def __repr__(self) -> str:
        total = sum(info.size_bytes for info in self)
        rows = [_HEADS, *(info._cells() for info in self)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if head == "bytes" else cell.ljust(width)
                for head, cell, width in zip(_HEADS, row, widths, strict=True)
            ).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, f"{len(self)} objects, {total:,} bytes"])

    def _repr_html_(self) -> str:
        return html_rows("Objects", _HEADS, [info._cells() for info in self])


def table_of(store: ObjectStore, names: Iterable[tuple[int, str]]) -> ObjectTable:
    """Return what is stored.

    Args:
        store: of the host.
        names: home of an object, and the name of a reference to it.
    """
    called = dict(names)
    held: dict[int, Counter[str]] = {}
    objects, holders = store.ledger.listed()
    holders += [(home, Holder.VIEW) for home in store.views.homes()]
    for home, holder in holders:
        held.setdefault(home, Counter())[holder.value] += 1
    infos = [
        ObjectInfo(
            home,
            called.get(home, ""),
            entry.size_bytes,
            dict(held.get(home, ())),
            bool(entry.pins) or Holder.VIEW.value in held.get(home, ()),
            entry.spilled is not None,
        )
        for home, entry in objects
    ]
    return ObjectTable(sorted(infos, key=lambda info: -info.size_bytes))
