"""Frames with file descriptors over a unix stream socket: how a launcher and its owner talk.

A frame is a header (kind, number of file descriptors, number of the child, size of the body) and a
body. The file descriptors travel with the first byte of their frame, and in its order, so a queue
of them is enough to give each frame its own. A stream, not SOCK_SEQPACKET: a payload may be larger
than any packet.

Neither end ever waits for the other: what the socket does not take stays in a queue.
"""

import _socket
import errno
import os
import struct
from collections import deque
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

FDS_MAX = 250
"""File descriptors in one frame; the kernel takes 253."""

_HEADER = struct.Struct("<BBII")
_INT_BYTES = 4
_READ_BYTES = 256 * 1024
_READS_MAX = 64
_ANCILLARY_BYTES = _socket.CMSG_SPACE((FDS_MAX + 3) * _INT_BYTES)
_CLOEXEC = getattr(_socket, "MSG_CMSG_CLOEXEC", 0)
_NOSIGNAL = getattr(_socket, "MSG_NOSIGNAL", 0)


class Kind(IntEnum):
    """What a frame says."""

    LAUNCH = 1
    """Start a child. Body: entry, NUL, payload."""
    KILL = 2
    """Kill a child and all it started."""
    SIGNAL = 3
    """Send a signal. Body: its number, one byte."""
    STARTED = 4
    """The child runs. Body: pid, 4 bytes; with its pidfd, where there are pidfds."""
    EXITED = 5
    """The child was reaped, and all it started is gone. Body: wait status, 4 bytes."""
    FAILED = 6
    """The child could not be started, and is gone. Body: why."""
    BROKEN = 7
    """The launcher could not be set up, and ends. Body: why."""
    ENDING = 8
    """The launcher ends, which its owner has not asked for, and kills its children. Body: why."""
    PING = 9
    """Say something. To the launcher, and back."""


class Frame(NamedTuple):
    """One frame, complete. Who takes it owns its file descriptors."""

    kind: int
    number: int
    body: bytes
    fds: tuple[int, ...]
    fds_lost: bool
    """This process had no numbers left for all of its file descriptors, so it got none."""


class Channel:
    """One end of the socket, never blocking. One thread uses it."""

    def __init__(self, sock: _socket.socket) -> None:
        """Take over `sock`."""
        sock.setblocking(False)
        self._socket = sock
        self._unsent: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        self._received = bytearray()
        self._fds: deque[tuple[int, ...]] = deque()  # of one frame each
        self.ended = False
        """No more frames will come: the peer closed its end, or died."""

    def fileno(self) -> int:
        """The socket's file descriptor, -1 when closed."""
        return self._socket.fileno()

    @property
    def unsent(self) -> bool:
        """Whether frames wait for the socket: call `flush` when it is writable."""
        return bool(self._unsent)

    def send(self, kind: Kind, number: int, body: bytes = b"", fds: Sequence[int] = ()) -> None:
        """Send a frame, or keep it until `flush`. The caller may close `fds` right after.

        To a peer that is gone nothing is sent; `receive` finds that out.

        Raises:
            OSError: one of `fds` is not open, or cannot be copied.
        """
        self.send_bytes(_HEADER.pack(kind, len(fds), number, len(body)) + body, fds)

    def send_bytes(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send what is not a frame: the owner's first words, before there is a peer's channel."""
        sent = 0 if self._unsent else self._write(memoryview(data), fds)
        if sent < len(data):
            copies = () if sent else _duplicate(fds)
            self._unsent.append((memoryview(data)[sent:], copies))

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it."""
        while self._unsent:
            data, fds = self._unsent[0]
            sent = self._write(data, fds)
            if sent == 0:
                return
            close_all(fds)
            if sent == len(data):
                self._unsent.popleft()
            else:
                self._unsent[0] = (data[sent:], ())

    def receive(self) -> list[Frame]:
        """Return the frames that are complete by now. Sets `ended` at the end."""
        for _ in range(_READS_MAX):
            if not self._read():
                break
        frames = []
        while (frame := self._next_frame()) is not None:
            frames.append(frame)
        return frames

    def end_sending(self) -> None:
        """Tell the peer that no more frames come, also when a fork holds a copy of the socket."""
        try:
            self._socket.shutdown(_socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        """Close the socket and every file descriptor that waits here. Twice is fine."""
        self._socket.close()
        for _, fds in self._unsent:
            close_all(fds)
        self._unsent.clear()
        while self._fds:
            close_all(self._fds.popleft())

    def _write(self, data: memoryview, fds: Sequence[int]) -> int:
        ancillary = []
        if fds:
            packed = struct.pack(f"{len(fds)}i", *fds)
            ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)]
        try:
            return self._socket.sendmsg([data], ancillary, _NOSIGNAL)
        except BlockingIOError:
            return 0
        except ConnectionError:
            return len(data)
        except OSError as error:
            if error.errno == errno.ETOOMANYREFS:  # too many on their way; the peer takes them
                return 0
            raise

    def _read(self) -> bool:
        """Read once. Return whether there may be more."""
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(
                _READ_BYTES, _ANCILLARY_BYTES, _CLOEXEC
            )
        except BlockingIOError:
            return False
        except ConnectionError:  # it died with frames of ours unread
            data, ancillary, flags = b"", [], 0
        fds = [fd for item in ancillary for fd in _unpack(*item)]
        # One read never passes the file descriptors of two frames.
        if fds or flags & _socket.MSG_CTRUNC:
            self._fds.append(tuple(fds))
        self._received += data
        self.ended = self.ended or not data
        return bool(data)

    def _next_frame(self) -> Frame | None:
        if len(self._received) < _HEADER.size:
            return None
        kind, fd_count, number, size = _HEADER.unpack_from(self._received)
        end = _HEADER.size + size
        if len(self._received) < end:
            return None
        body = bytes(memoryview(self._received)[_HEADER.size : end])
        del self._received[:end]
        fds = self._fds.popleft() if fd_count else ()
        if len(fds) != fd_count:
            close_all(fds)
            return Frame(kind, number, body, (), fds_lost=True)
        return Frame(kind, number, body, fds, fds_lost=False)


def close_all(fds: Sequence[int]) -> None:
    """Close each of `fds`."""
    for fd in fds:
        os.close(fd)


def _duplicate(fds: Sequence[int]) -> tuple[int, ...]:
    copies: list[int] = []
    try:
        copies.extend(os.dup(fd) for fd in fds)
    except OSError:
        close_all(copies)
        raise
    return tuple(copies)


def _unpack(level: int, kind: int, packed: bytes) -> tuple[int, ...]:
    if level != _socket.SOL_SOCKET or kind != _socket.SCM_RIGHTS:
        return ()
    count = len(packed) // _INT_BYTES
    fds: tuple[int, ...] = struct.unpack(f"{count}i", packed[: count * _INT_BYTES])
    if not _CLOEXEC:
        for fd in fds:
            os.set_inheritable(fd, False)
    return fds
