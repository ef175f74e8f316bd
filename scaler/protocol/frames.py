"""Frames on a pipe: 4 bytes of length, little endian, then MessagePack.

Both ends use this: the executor on its blocking ends, the worker on its non-blocking ones.
"""

from __future__ import annotations

from typing import Final

import msgspec

from scaler.limits import FRAME_BYTES
from scaler.protocol.executor import FRAME_HEADER

READ_BYTES: Final = 65_536
"""To ask of one read: below the size from which malloc returns memory to the kernel each time."""

_encode_into = msgspec.msgpack.Encoder().encode_into
_HEADER_BYTES: Final = FRAME_HEADER.size


class FrameTooLongError(ValueError):
    """The peer announced a frame that no correct peer sends."""


def pack_frame(frame: msgspec.Struct) -> bytearray:
    """Encode `frame` with its length in front, without a second copy of its bodies."""
    buffer = bytearray(_HEADER_BYTES)
    _encode_into(frame, buffer, _HEADER_BYTES)
    FRAME_HEADER.pack_into(buffer, 0, len(buffer) - _HEADER_BYTES)
    return buffer


class FrameCutter:
    """Cuts the bytes of one stream into frames, however they come."""

    def __init__(self) -> None:
        """Start at the first byte of the stream."""
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._needed_bytes = _HEADER_BYTES

    def cut(self, data: bytes) -> list[bytes]:
        """Return the frames that `data` completes, possibly none.

        Raises:
            FrameTooLongError: the peer is broken; do not read on.
        """
        self._rest.append(data)
        self._rest_bytes += len(data)
        if self._rest_bytes < self._needed_bytes:
            return []
        return self._cut_all(b"".join(self._rest) if len(self._rest) > 1 else data)

    def _cut_all(self, data: bytes) -> list[bytes]:
        frames = []
        start, size = 0, len(data)
        while True:
            self._needed_bytes = _HEADER_BYTES
            if size - start < _HEADER_BYTES:
                break
            (length,) = FRAME_HEADER.unpack_from(data, start)
            if length > FRAME_BYTES:
                raise FrameTooLongError(f"a frame of {length} bytes was announced")
            end = start + _HEADER_BYTES + length
            if end > size:
                self._needed_bytes += length
                break
            frames.append(data[start + _HEADER_BYTES : end])
            start = end
        self._rest = [data[start:]] if start < size else []
        self._rest_bytes = size - start
        return frames
