"""`ObjectMemory`: what one process writes to the shared memory, and reads from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from scaler.errors import SerializationError
from scaler.limits import INLINE_BYTES, MAP_BYTES
from scaler.objects.arena import Arena
from scaler.objects.file import SharedFile
from scaler.objects.views import Views
from scaler.objects.waiting import Steps, finish
from scaler.objects.windows import Windows, mapping
from scaler.protocol.objects import RANGE_SHIFT, Body, Piece, Spilled
from scaler.serialization.buffers import Buffers, Opened, Payload, let_go

_NO_BUFFERS: Final[Opened] = ()


class ObjectMemory:
    """A range to write, and views of all of the file. Thread-safe."""

    def __init__(
        self,
        file: SharedFile,
        number: int,
        warm_bytes_max: int,
        disk: SharedFile | None = None,
        view_bytes: int = MAP_BYTES,
        warm_one_max: int = 0,
    ) -> None:
        """Use the memory of a host.

        Args:
            file: the memory.
            number: of the range to write.
            warm_bytes_max: see `Arena`.
            disk: where spilled objects are; `None`: there are none.
            view_bytes: of smaller objects this process gets copies.
            warm_one_max: see `Arena`.
        """
        self.file = file
        self.views = Views(file, disk, view_bytes)
        self._arena = Arena(number << RANGE_SHIFT, warm_bytes_max, warm_one_max)
        self._windows = Windows(file, writable=True)

    def pack(self, payload: bytes, buffers: Buffers, *, by_content: bool = False) -> Body:
        """Put what is large of a value into shared memory; let go of the buffers in any case.

        Args:
            payload: the pickle.
            buffers: what it leaves out.
            by_content: what is equal to something that is there is not written again.

        Raises:
            ObjectStoreFullError: there is no room.
        """
        return finish(self.packing(payload, buffers, by_content=by_content))

    def packing(self, payload: bytes, buffers: Buffers, *, by_content: bool = False) -> Steps[Body]:
        """Do what `pack` does; whoever drives this waits for room."""
        try:
            objects: list[Piece] = []
            for buffer in buffers:
                objects += ((yield from self._keeping(buffer, by_content=by_content)),)
            if len(payload) < INLINE_BYTES:
                return Body(payload, tuple(objects))
            first = yield from self._keeping(memoryview(payload), by_content=by_content)
            return Body(b"", (first, *objects))
        finally:
            let_go(buffers)

    def unpack(
        self, payload: bytes, objects: Sequence[Piece], *, copy: bool = False
    ) -> tuple[Payload, Opened]:
        """Return the pickle of a value, and the buffers that it leaves out.

        Args:
            payload: of the `Body`.
            objects: of the `Body`.
            copy: give copies that may be written, where else there are read-only views.

        Raises:
            SerializationError: this process has no room for them, or has them no more.
        """
        if not objects:
            return payload, _NO_BUFFERS
        try:
            opened = [self._open(piece, copy=copy) for piece in objects]
        except (OSError, MemoryError) as error:
            size = sum(piece.size_bytes for piece in objects)
            raise SerializationError(
                f"{size} bytes of shared memory cannot be opened in this process: {error}"
            ) from error
        return (payload, opened) if payload else (opened[0], opened[1:])

    def _open(self, piece: Piece, *, copy: bool) -> bytes | bytearray | memoryview:
        return self.views.open(piece, piece.spilled, copy=copy)

    def keep(self, buffer: memoryview) -> Piece:
        """Return the piece that holds these bytes: one that does already, or a new one.

        Raises:
            ObjectStoreFullError: there is no room.
        """
        return finish(self._keeping(buffer))

    def _keeping(self, buffer: memoryview, *, by_content: bool = False) -> Steps[Piece]:
        return self.views.find(buffer) or (yield from self._writing(buffer))

    def _enter(self, piece: Piece) -> None:
        """Note a piece that was just made; its bytes are not there yet."""

    def _written(self, piece: Piece) -> None:
        """Its bytes are there."""

    def _writing(self, buffer: memoryview) -> Steps[Piece]:
        yield from self._await_room(buffer.nbytes)
        home, piece = -1, None
        try:
            home, is_warm = self._arena.take(buffer.nbytes)
            piece = Piece(home, buffer.nbytes)
            self._enter(piece)
            if not (is_warm and self._copy_in(buffer, home)):
                self.file.write(buffer, home)
            self._written(piece)
        except BaseException:  # Ctrl-C, too
            try:
                if home >= 0:
                    self._give_up(home)  # while the piece is there: who frees it does so once
            finally:
                piece = None  # a traceback that somebody keeps must not keep the object
            raise
        return piece

    def _copy_in(self, buffer: memoryview, home: int) -> bool:
        """Write where there is memory already; whether it could be done.

        A large object so takes a third of the time of `pwrite`. With a small one this thread lets
        go of no GIL, for which it would have to wait again.
        """
        try:
            window, start = self._windows.find(home, buffer.nbytes)
        except OSError:  # no room in the address space
            return False
        window.buffer[start : start + buffer.nbytes] = buffer
        return True

    def _is_equal(self, home: int, size_bytes: int, place: Spilled | None, address: int) -> bool:
        """Return whether what was written to this range, and is at `place`, is at `address`, too.

        Raises:
            OSError: it cannot be read.
        """
        if place is not None:
            there = memoryview(self.views.open(Piece(home, size_bytes), place, copy=True))
            return bool(mapping().is_equal(mapping().address_of(there), address, size_bytes))
        window, start = self._windows.find(home, size_bytes)
        return bool(mapping().is_equal(window.address + start, address, size_bytes))

    def _await_room(self, size_bytes: int) -> Steps[None]:
        return self._waits(size_bytes, time.monotonic)

    def _waits(self, size_bytes: int, now: Callable[[], float]) -> Steps[None]:
        """End when so much may be written, see `Room.waits`; memory by itself has no bound."""
        yield from ()

    def _give_up(self, home: int) -> None:
        """Free an object that was not written; `_enter` may have been called, or not."""
        self.free(home)

    def free(self, home: int, *, is_cold: bool = False) -> None:
        """Give the place of an object of this range back: nobody looks at it any more.

        Args:
            home: where it is.
            is_cold: its memory was given back before, when it was spilled.
        """
        hole = self._arena.free(home, is_cold=is_cold)
        if hole is not None:
            self._give_back(hole)

    def _give_back(self, hole: tuple[int, int]) -> None:
        """Give the memory of a free place back; only then may somebody take it and write there."""
        self.file.punch(*hole)
        self._cooled(hole)

    def _cooled(self, hole: tuple[int, int]) -> None:
        self._windows.drop(*hole)
        self._arena.cooled(*hole)

    @property
    def count(self) -> int:
        """How many objects there are in this range."""
        return len(self._arena.taken)

    def free_others(self, kept: Mapping[int, object]) -> None:
        """Free all objects of this range but for these."""
        for home in list(self._arena.taken):
            if home not in kept:
                self.free(home)

    def cool(self) -> None:
        """Give back what was kept to be used again, memory and mappings: this is the end."""
        self.views.close()
        self._windows.close()
        while (hole := self._arena.cool()) is not None:
            self._give_back(hole)
