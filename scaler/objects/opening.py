"""How the store of a host is made: where its memory and its disk are, and how large it may be."""

from __future__ import annotations

from scaler.limits import STORE_SHARE
from scaler.objects.capacity import memory_bytes
from scaler.objects.file import open_shared_file
from scaler.objects.spill import open_spill_file
from scaler.objects.store import ObjectStore


def open_store(limit_bytes: int | None, spill_directory: str | None) -> ObjectStore:
    """Make the store of a host.

    Args:
        limit_bytes: memory that objects may take; `None`: `limits.STORE_SHARE` of what there is.
        spill_directory: where they go then; `None`: where temporary files are.

    Raises:
        OSError: there is no place to spill, or no descriptor left.
        ObjectStoreFullError: there is no memory at all.
    """
    file = open_shared_file()
    try:
        disk = open_spill_file(spill_directory)
    except BaseException:
        file.close()
        raise
    if limit_bytes is None:
        limit_bytes = int(STORE_SHARE * memory_bytes())
    return ObjectStore(file, disk, limit_bytes)
