"""Mappings of the shared file that need no descriptor of their own.

Those of the `mmap` module keep a copy of theirs (until CPython 3.13, `trackfd`): a thousand mapped
results would be a thousand descriptors, and a fork would keep them all. So it maps memory without
a file, and the file is put in its place. It unmaps that when the last who can read it is gone, and
not before, as a finalizer of ours would.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from functools import lru_cache
from typing import Any

from scaler.limits import MAP_BYTES

_MAP_FIXED = 0x10
_libc = ctypes.CDLL(None, use_errno=True)
_mmap = getattr(_libc, "mmap64", _libc.mmap)
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int64,
)
_compare = _libc.memcmp
_compare_at_once = ctypes.PyDLL(None).memcmp  # with the GIL, for which it would have to wait again
for _function in (_compare, _compare_at_once):
    _function.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_FAILED = ctypes.c_void_p(-1).value


@lru_cache(maxsize=256)
def _bytes_type(size_bytes: int) -> Any:
    return ctypes.c_ubyte * size_bytes


def exporter_of(address: int, size_bytes: int, window: object) -> Any:
    """Return an object that hands out a part of a mapping as a buffer, and keeps `window`.

    Whatever was made of that buffer, and of slices of it, holds this object.
    """
    exporter = _bytes_type(size_bytes).from_address(address)
    exporter.window = window
    return exporter


def map_file(fd: int, offset: int, size_bytes: int, *, writable: bool = False) -> mmap.mmap:
    """Map whole pages of a file.

    Raises:
        OSError: there is no room in the address space of this process.
    """
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    mapping = mmap.mmap(-1, size_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, protection)
    place = address_of(mapping)
    flags = mmap.MAP_SHARED | _MAP_FIXED
    if _mmap(place, size_bytes, protection, flags, fd, offset) == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return mapping


def is_equal(address: int, other: int, size_bytes: int) -> bool:
    """Return whether two parts of memory have the same bytes."""
    compare = _compare if size_bytes >= MAP_BYTES else _compare_at_once
    return not compare(address, other, size_bytes)


def address_of(buffer: memoryview | mmap.mmap) -> int:
    """Return where in this process's memory a contiguous buffer begins.

    By a function of the stable ABI that gives the buffer back itself: Ctrl-C cannot come in between
    (https://peps.python.org/pep-0384/).
    """
    address, size = ctypes.c_void_p(), ctypes.c_ssize_t()
    ctypes.pythonapi.PyObject_AsReadBuffer(
        ctypes.py_object(buffer), ctypes.byref(address), ctypes.byref(size)
    )
    return address.value or 0
