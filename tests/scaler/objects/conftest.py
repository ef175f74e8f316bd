"""Real shared memory for one test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from scaler.objects.arena import PAGE_BYTES
from scaler.objects.file import SharedFile, open_shared_file
from scaler.objects.memory import ObjectMemory
from scaler.objects.store import ObjectStore


@pytest.fixture
def file() -> Iterator[SharedFile]:
    made = open_shared_file()
    yield made
    made.close()


@pytest.fixture
def memory(file: SharedFile) -> Iterator[ObjectMemory]:
    made = ObjectMemory(file, 1, 1 << 24)
    yield made
    made.cool()


@pytest.fixture
def store(file: SharedFile) -> Iterator[ObjectStore]:
    made = ObjectStore(file)
    yield made
    made.cool()
    made.room.close()


@pytest.fixture
def held_bytes(file: SharedFile) -> Callable[[], int]:
    """`held_bytes()`: memory that the file takes now, but for the page of its `Room`."""
    file.write(memoryview(bytes(PAGE_BYTES)), 0)  # it is there from now on
    return lambda: os.fstat(file.fd).st_blocks * 512 - PAGE_BYTES
