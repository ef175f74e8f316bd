"""`Room`: how much memory the objects of a host may take, and who has to wait for it.

The first page of the shared file tells all processes how much is in use. One of them writes it, the
store's; a writer looks at it before it writes, and waits while there is no room.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from scaler.errors import ObjectStoreFullError
from scaler.limits import ROOM_WAIT_S
from scaler.objects.arena import PAGE_BYTES
from scaler.objects.file import SharedFile
from scaler.objects.ledger import ObjectLedger
from scaler.objects.waiting import Steps

POLL_S: Final = 0.002
"""Who waits looks again after this."""

_PRESS_S: Final = 0.05
_DISK_FULL: Final = ": spill_directory takes no more, as the log says"


class Room:
    """The bound on one host's objects. Thread-safe."""

    def __init__(self, file: SharedFile, limit_bytes: int) -> None:
        """Look at the first page of `file`, which `make_page` has made."""
        self.limit_bytes = limit_bytes
        self._words = memoryview(file.map(0, PAGE_BYTES, writable=True)).cast("Q")

    def used_bytes(self) -> int:
        """Return what the store knows to be in memory."""
        return self._words[0]

    def tell_used(self, ledger: ObjectLedger) -> None:
        """Tell all processes how much is in memory now. For the store's."""
        self._words[0] = ledger.used_bytes  # looked up here: no call in between

    def tell_disk(self, *, is_full: bool) -> None:
        """Tell all processes whether the disk has refused an object. For the store's."""
        self._words[1] = is_full

    def close(self) -> None:
        """Let go of the page."""
        self._words = memoryview(bytearray(16)).cast("Q")

    def waits(
        self,
        size_bytes: int,
        press: Callable[[int], None],
        now: Callable[[], float],
        untold_bytes: int = 0,
    ) -> Steps[None]:
        """End when there is room.

        Args:
            size_bytes: what is to be written.
            press: called while there is none: have so much spilled or freed.
            now: the clock, in seconds.
            untold_bytes: what the caller has written, and the store does not know yet.

        Raises:
            ObjectStoreFullError: it is larger than all of the store, or nothing went in time.
        """
        limit, needed_bytes = self.limit_bytes, size_bytes + untold_bytes
        if self._words[0] + needed_bytes <= limit:
            return
        if needed_bytes > limit:
            raise ObjectStoreFullError(self._too_large(size_bytes, untold_bytes))
        press_s = now()
        end_s = press_s + ROOM_WAIT_S
        while True:
            if now() >= press_s:
                press(needed_bytes)  # again and again: another one may take what was made
                press_s = now() + _PRESS_S
            yield POLL_S
            if self._words[0] + needed_bytes <= limit:  # or it was closed: see who writes then
                return
            if now() > end_s:
                raise ObjectStoreFullError(
                    f"there is no room for an object of {size_bytes:,} bytes: "
                    f"{self.used_bytes() + untold_bytes:,} of {limit:,} bytes are in use, and "
                    f"within {ROOM_WAIT_S:g} s nothing could be spilled or freed"
                    f"{_DISK_FULL if self._words[1] else ''}. Tasks and mapped "
                    "values pin what they use: drop futures, values and references, or allow "
                    "more with object_store_bytes="
                )

    def _too_large(self, size_bytes: int, untold_bytes: int) -> str:
        what = f"an object of {size_bytes:,} bytes is"
        if untold_bytes:
            what = f"the objects of one task, {size_bytes + untold_bytes:,} bytes up to now, are"
        return (
            f"{what} larger than the object store, which has {self.limit_bytes:,} bytes; allow "
            "more with object_store_bytes="
        )


def make_page(file: SharedFile) -> None:
    """Give the first page memory, once, so that no mapping of it ever lacks it."""
    file.write(memoryview(bytes(PAGE_BYTES)), 0)
