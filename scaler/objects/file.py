"""`SharedFile`: memory of a host that has no name and is gone with the last process that has it.

On Linux a memfd, elsewhere an unlinked temporary file. It is sparse and as large as a file can be;
only what was written takes memory. Written with `pwrite`, which tells that memory is full, where a
mapping would end the process with SIGBUS; read with `pread`, or mapped read-only.
"""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import weakref
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Final

from scaler.errors import ObjectStoreFullError

if TYPE_CHECKING:
    import mmap

FILE_BYTES: Final = 1 << 62
_WRITE_BYTES: Final = 1 << 30
"""One call writes 2 GiB at most."""

_FULL: Final = (errno.ENOSPC, errno.ENOMEM, errno.EDQUOT, errno.EFBIG)
_PUNCH_HOLE: Final = 0x01 | 0x02
"""FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE."""


def open_shared_file() -> SharedFile:
    """Make a new one.

    Raises:
        OSError: no descriptor is left, there is no place for a temporary file, or this process may
            not have so large a one.
    """
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("scaler-objects", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    try:
        os.ftruncate(fd, FILE_BYTES)
    except OSError as error:
        os.close(fd)
        if error.errno != errno.EFBIG:
            raise
        raise OSError(
            f"the shared memory of a cluster is one large file, of which little is used, and "
            f"{_file_limit()}; lift that limit: ulimit -f unlimited"
        ) from error
    return SharedFile(fd)


class SharedFile:
    """One process's hands on the file. Thread-safe: it keeps nothing but the descriptor."""

    def __init__(self, fd: int, directory: str | None = None) -> None:
        """Take over a descriptor.

        Args:
            fd: a copy of one that `open_shared_file` made, or of a file on disk.
            directory: where on disk that is, for people; `None`: it is memory.
        """
        self.fd = fd
        self._directory = directory
        self.is_forked = False
        """This is a fork of the process that opened it."""
        _all_open.add(self)

    def check_open(self) -> None:
        """Raise if the file was closed in this process.

        Raises:
            OSError: it was, or this is a fork of the process that had it open.
        """
        if self.fd < 0:
            raise OSError(errno.EBADF, "it was closed in this process, or this is a fork")

    def write(self, data: memoryview, offset: int) -> None:
        """Write bytes.

        Raises:
            ObjectStoreFullError: this machine, or this control group, has no memory for them, or
                the disk no room.
        """
        written, size = 0, len(data)
        try:
            while written < size:
                with data[written : written + _WRITE_BYTES] as part:
                    written += os.pwrite(self.fd, part, offset + written)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise ObjectStoreFullError(self._full(size, error)) from error

    def _full(self, size_bytes: int, error: OSError) -> str:
        why = _file_limit() if error.errno == errno.EFBIG else error.strerror
        if self._directory is None:
            return (
                f"no memory is left for an object of {size_bytes:,} bytes: {why}; drop futures, "
                "values and references, or give the machine or the control group more"
            )
        state = os.fstatvfs(self.fd)
        return (
            f"the disk of spill_directory {self._directory!r} has no room for {size_bytes:,} bytes "
            f"more: {why}, {state.f_bavail * state.f_frsize:,} bytes are free there; free some, or "
            "name another place with spill_directory="
        )

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Return a copy of bytes.

        Raises:
            OSError: they cannot be read, or the file ends before.
        """
        data = os.pread(self.fd, size_bytes, offset)
        while len(data) < size_bytes:
            more = os.pread(self.fd, size_bytes - len(data), offset + len(data))
            if not more:
                raise _cut_off()
            data += more
        return data

    def read_into(self, buffer: bytearray, offset: int) -> None:
        """Fill `buffer` with a copy of bytes.

        Raises:
            OSError: they cannot be read, or the file ends before.
        """
        view, done = memoryview(buffer), 0
        while done < len(view):
            read = os.preadv(self.fd, [view[done : done + _WRITE_BYTES]], offset + done)
            if not read:
                raise _cut_off()
            done += read

    def map(self, offset: int, size_bytes: int, *, writable: bool = False) -> mmap.mmap:
        """Map whole pages; see `mapping.map_file`."""
        from scaler.objects.mapping import map_file  # ctypes takes 8 ms

        return map_file(self.fd, offset, size_bytes, writable=writable)

    def punch(self, offset: int, size_bytes: int) -> None:
        """Give the memory of a part back; it reads as zeros then."""
        punch = _fallocate()
        if punch is not None:
            punch(self.fd, _PUNCH_HOLE, offset, size_bytes)

    def data_from(self, offset: int) -> int:
        """Return where the first memory is from `offset` on; perhaps it begins before that."""
        try:
            return os.lseek(self.fd, offset, os.SEEK_DATA)  # which nobody reads or writes by
        except OSError as error:  # there is none, or the file system does not tell
            return FILE_BYTES if error.errno == errno.ENXIO else offset

    def close(self) -> None:
        """Close the descriptor; mappings stay. Twice is fine."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def _file_limit() -> str:
    import resource

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return f"the files of this process may have {limit:,} bytes at most (ulimit -f, RLIMIT_FSIZE)"


def _cut_off() -> OSError:
    return OSError(errno.EIO, "the file was cut off")


_all_open: weakref.WeakSet[SharedFile] = weakref.WeakSet()


def _close_in_fork() -> None:
    """Close the copies that a fork has: it may go on reading what is mapped, and no more."""
    for file in list(_all_open):
        file.is_forked = True
        file.close()


os.register_at_fork(after_in_child=_close_in_fork)


@cache
def _fallocate() -> Callable[[int, int, int, int], int] | None:
    """Return the C function, where holes can be made."""
    if sys.platform != "linux":
        return None
    import ctypes  # 8 ms

    function = getattr(ctypes.CDLL(None), "fallocate64", None) or ctypes.CDLL(None).fallocate
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    punch: Callable[[int, int, int, int], int] = function
    return punch
