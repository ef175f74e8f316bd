"""Frames on a stream socket: 4 bytes of length, little endian, then the body."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from actors.limits import FRAME_BYTES

if TYPE_CHECKING:
    from actors.runtime.poller import Poller

HEADER: Final = struct.Struct("<I")
_READ_BYTES: Final = 1 << 18
_READS_PER_TURN: Final = 8
_JOIN_BYTES: Final = 1 << 16


class FrameStream:
    """A socket that sends and receives whole frames without blocking; for one thread.

    A peer that is gone or breaks the framing ends the stream: `on_close` is called once, with the
    reason, after every whole frame that arrived was handed over.
    """

    def __init__(
        self,
        sock: socket.socket,
        poller: Poller,
        on_frames: Callable[[list[memoryview]], None],
        on_close: Callable[[str], None],
        frame_bytes_max: int = FRAME_BYTES,
    ) -> None:
        """Take over `sock` and start reading it on `poller`.

        Args:
            sock: a connected stream socket; closed with the stream.
            poller: the node's poller.
            on_frames: gets the whole frames of one read; they are valid during the call only.
            on_close: gets the reason when the stream has ended, not after `close`.
            frame_bytes_max: a longer frame ends the stream.
        """
        sock.setblocking(False)
        self._socket = sock
        self._fd = sock.fileno()
        self._poller = poller
        self._on_frames = on_frames
        self._on_close = on_close
        self._frame_bytes_max = frame_bytes_max
        self._received = bytearray()
        self._unsent: list[memoryview] = []
        self.unsent_bytes = 0
        self.closed = False
        poller.add_reader(self._fd, self.read)

    def send(self, body: bytes) -> None:
        """Send a frame, or keep what the socket does not take now and send it later."""
        if self.closed:
            return
        header = HEADER.pack(len(body))
        if len(body) <= _JOIN_BYTES:
            pieces = [memoryview(header + body)]
        else:
            pieces = [memoryview(header), memoryview(body)]
        writing = bool(self._unsent)
        self._unsent += pieces
        self.unsent_bytes += len(header) + len(body)
        if not writing:
            self._write()
            if self._unsent and not self.closed:
                self._poller.add_writer(self._fd, self._write)

    def read(self) -> None:
        """Read what is there and hand over the whole frames."""
        for _ in range(_READS_PER_TURN):
            if self.closed:
                return
            try:
                data = self._socket.recv(_READ_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:  # a peer that dies with unread data resets the connection
                self._end(f"the connection was cut: {error.strerror}")
                return
            if not data:
                self._end("the peer closed the connection")
                return
            self._take(data)
            if len(data) < _READ_BYTES:
                return

    def close(self) -> None:
        """Stop reading and writing, close the socket. A second call does nothing."""
        if not self.closed:
            self.closed = True
            self._poller.remove_reader(self._fd)
            if self._unsent:
                self._poller.remove_writer(self._fd)
            self._unsent.clear()
            self._socket.close()

    def abandon(self) -> None:
        """Close the socket alone: this process is a fork and shares the poller's fd."""
        self.closed = True
        self._socket.close()

    def _take(self, data: bytes) -> None:
        if self._received:
            self._received += data
            data = bytes(self._received) if self._whole(self._received) else b""
            if not data:
                return
        view = memoryview(data)
        frames, at, size = [], 0, len(data)
        while size - at >= HEADER.size:
            (length,) = HEADER.unpack_from(data, at)
            if length > self._frame_bytes_max:
                self._end(f"a frame of {length} bytes, the bound is {self._frame_bytes_max}")
                return
            if size - at - HEADER.size < length:
                break
            frames.append(view[at + HEADER.size : at + HEADER.size + length])
            at += HEADER.size + length
        self._received = bytearray(view[at:])
        if frames:
            self._on_frames(frames)

    def _whole(self, received: bytearray) -> bool:
        """Whether `received` starts with a whole frame (or with one that is too long)."""
        if len(received) < HEADER.size:
            return False
        length: int = HEADER.unpack_from(received)[0]
        return length > self._frame_bytes_max or len(received) >= HEADER.size + length

    def _write(self) -> None:
        try:
            while self._unsent:
                sent = self._socket.send(self._unsent[0])
                self.unsent_bytes -= sent
                if sent == len(self._unsent[0]):
                    self._unsent.pop(0)
                else:
                    self._unsent[0] = self._unsent[0][sent:]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            # The reader finds the end, behind the frames that arrived before it.
            self._unsent.clear()
            self.unsent_bytes = 0
        self._poller.remove_writer(self._fd)

    def _end(self, reason: str) -> None:
        if not self.closed:
            self.close()
            self._on_close(reason)
