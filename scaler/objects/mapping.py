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
_FAILED = ctypes.c_void_p(-1).value


def map_file(fd: int, offset: int, size_bytes: int, *, writable: bool = False) -> mmap.mmap:
    """Map whole pages of a file.

    Raises:
        OSError: there is no room in the address space of this process.
    """
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    mapping = mmap.mmap(-1, size_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, protection)
    place = address_of(memoryview(mapping))
    flags = mmap.MAP_SHARED | _MAP_FIXED
    if _mmap(place, size_bytes, protection, flags, fd, offset) == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return mapping


class _Buffer(ctypes.Structure):
    """`Py_buffer` of the C API."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


def address_of(buffer: memoryview) -> int:
    """Return where in this process's memory a contiguous buffer begins."""
    found = _Buffer()
    try:  # Ctrl-C may come with any call; what was not got is not released
        ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(buffer), ctypes.byref(found), 0)
        return found.buf or 0
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(found))
