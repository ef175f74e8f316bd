"""What one process writes to the shared memory, and reads from it."""

from __future__ import annotations

import errno
import gc
import os
import resource
import subprocess
import sys

import pytest

from scaler.errors import ObjectStoreFullError, SerializationError
from scaler.limits import INLINE_BYTES, MAP_BYTES
from scaler.objects.file import SharedFile
from scaler.objects.memory import ObjectMemory
from scaler.objects.views import VIEWS_MAX
from scaler.protocol.objects import Body
from scaler.serialization.buffers import Buffers
from scaler.serialization.values import dump_value, load_value
from tests.interruptions import interruptions
from tests.scaler.columns import Column

BOUND_S = 30.0
SMALL = bytes(range(256)) * (INLINE_BYTES // 256)
LARGE = bytes(range(256)) * (2 * MAP_BYTES // 256)


def packed(memory: ObjectMemory, value: object) -> Body:
    buffers: Buffers = []
    return memory.pack(dump_value(value, buffers), buffers)


def opened(memory: ObjectMemory, body: Body, *, copy: bool = False):
    return load_value(*memory.unpack(body.payload, body.objects, copy=copy))


# --- the file -------------------------------------------------------------------------------


def test_what_was_written_is_read_and_mapped(file):
    offset = 3 << 40
    file.write(memoryview(LARGE), offset)
    assert file.read(offset + 5, 1_000) == LARGE[5:1_005]
    buffer = bytearray(len(LARGE))
    file.read_into(buffer, offset)
    assert buffer == LARGE
    with file.map(offset, len(LARGE)) as mapping:
        assert mapping[:] == LARGE
        with pytest.raises(TypeError):
            mapping[0] = 1


def test_a_part_that_was_given_back_reads_as_zeros_and_takes_no_memory(file, held_bytes):
    first = 1 << 40  # the first page is that of the `Room`
    file.write(memoryview(LARGE), first)
    file.punch(first, MAP_BYTES)
    assert file.read(first, 10) == bytes(10)
    assert file.read(first + MAP_BYTES, 10) == LARGE[MAP_BYTES : MAP_BYTES + 10]
    assert held_bytes() == len(LARGE) - MAP_BYTES


def test_two_processes_hands_on_the_file_see_the_same(file):
    other = SharedFile(os.dup(file.fd))
    other.write(memoryview(SMALL), 2 << 40)
    assert file.read(2 << 40, len(SMALL)) == SMALL
    other.close()
    other.close()
    assert file.read(2 << 40, len(SMALL)) == SMALL


# --- values ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [None, b"", SMALL[:-1], SMALL, LARGE, bytearray(LARGE), [SMALL, LARGE, "text"], "x" * 200_000],
    ids=["none", "empty", "below", "small", "large", "bytearray", "list", "text"],
)
def test_values_come_out_as_they_went_in(memory, value):
    assert opened(memory, packed(memory, value)) == value


@pytest.mark.parametrize("size", [1, INLINE_BYTES - 1_000, INLINE_BYTES, MAP_BYTES, MAP_BYTES + 1])
def test_buffers_of_all_sizes_come_out_as_they_went_in(memory, size):
    body = packed(memory, Column(LARGE[:size]))
    assert opened(memory, body).data == LARGE[:size]
    assert len(body.objects) == (size >= INLINE_BYTES)
    assert memory.count == len(body.objects)


def test_a_large_pickle_goes_before_its_buffers(memory):
    text = "x" * len(SMALL)
    body = packed(memory, [text, Column(LARGE), Column(SMALL)])
    assert body.payload == b""
    assert [piece.size_bytes for piece in body.objects][1:] == [len(LARGE), len(SMALL)]
    value = opened(memory, body)
    assert [value[0], value[1].data, value[2].data] == [text, LARGE, SMALL]


def test_what_is_not_contiguous_stays_in_the_pickle(memory):
    with pytest.raises(SerializationError):  # as pickle has it: no bytes can be made of this
        packed(memory, Column(memoryview(LARGE)[::2]))
    assert memory.count == 0


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_values_are_read_only_and_copies_can_be_written(memory, data):
    body = packed(memory, Column(bytearray(data)))
    assert opened(memory, body).data.readonly
    copy = opened(memory, body, copy=True).data
    copy[0] = 99
    assert opened(memory, body).data == data
    assert len(memory.views) == 0


# --- views ----------------------------------------------------------------------------------


def test_a_view_lasts_as_long_as_any_slice_of_it(memory):
    piece = memory.keep(memoryview(LARGE))
    view = memory.views.open(piece)
    part = view[10:20].cast("b")
    again = memory.views.open(piece)
    assert memory.views.homes() == [piece.home, piece.home]
    del view, again
    assert len(memory.views) == 1
    assert part.tobytes() == LARGE[10:20]
    del part
    assert len(memory.views) == 0


def test_a_view_in_a_cycle_is_noticed_by_the_garbage_collector(memory):
    cycle = [memory.views.open(memory.keep(memoryview(LARGE)))]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert len(memory.views) == 0


def test_an_interrupt_when_a_view_dies_does_not_keep_it(memory):
    piece = memory.keep(memoryview(LARGE))
    views = [memory.views.open(piece)]
    for where in interruptions(views.clear, within=("/objects/views.py",)):
        assert len(memory.views) == 0, where
        views.append(memory.views.open(piece))
    assert len(memory.views) == 0


def test_beyond_a_number_of_views_there_are_copies(memory):
    piece = memory.keep(memoryview(LARGE[:MAP_BYTES]))
    views = [memory.views.open(piece) for _ in range(VIEWS_MAX + 3)]
    assert len(memory.views) == VIEWS_MAX
    assert views[-1] == LARGE[:MAP_BYTES]
    assert views[-1].readonly
    views.clear()
    assert len(memory.views) == 0


def test_mappings_need_no_descriptors(memory):
    piece = memory.keep(memoryview(LARGE))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        view = memory.views.open(piece)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert view == LARGE
    assert view.readonly


def test_what_is_mapped_is_not_written_again(memory):
    piece = memory.keep(memoryview(LARGE))
    view = memory.views.open(piece)
    assert memory.keep(view) is piece
    assert memory.keep(view[:]) is piece
    assert memory.count == 1


def test_a_small_part_of_what_is_mapped_is_written_anew(memory):
    piece = memory.keep(memoryview(LARGE + LARGE))
    view = memory.views.open(piece)
    assert memory.keep(view[: len(LARGE) - 1]).home != piece.home
    assert memory.keep(view[:1_000]).home != piece.home


def test_what_can_be_written_is_a_copy_at_all_times(memory):
    piece = memory.keep(memoryview(LARGE))
    view = memory.views.open(piece)
    assert memory.views.find(memoryview(bytearray(LARGE))) is None
    assert memory.views.find(memoryview(LARGE)) is None, "equal, and elsewhere"
    assert memory.views.find(view) is piece


# --- the end --------------------------------------------------------------------------------


def test_after_the_file_was_closed_what_is_mapped_can_be_read_and_no_more(memory):
    large, small = (memory.keep(memoryview(data)) for data in (LARGE, SMALL))
    view = memory.views.open(large)
    memory.file.close()
    assert view == LARGE
    for piece in (large, small):
        with pytest.raises(SerializationError, match="bytes of shared memory cannot be opened"):
            memory.unpack(b"", (piece,))
    with pytest.raises(OSError, match="Bad file descriptor"):
        memory.keep(memoryview(LARGE))
    assert memory.count == 2, "what failed keeps no place"


def test_a_file_that_may_not_grow_is_full_and_the_place_is_free_again():
    script = """
import resource, signal
from scaler.errors import ObjectStoreFullError
from scaler.objects.file import open_shared_file
from scaler.objects.memory import ObjectMemory

memory = ObjectMemory(open_shared_file(), 0, 0)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
first = memory.keep(memoryview(bytes(1 << 19)))
try:
    memory.pack(b"", [memoryview(bytes(1 << 18)), memoryview(bytes(1 << 21))])
except ObjectStoreFullError as error:
    print(error, error.__cause__.errno)
print(memory.count)
memory.free_others({first.home: None})
print(memory.count, memory.keep(memoryview(bytes(1 << 18))).size_bytes)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
    )
    assert done.stderr == ""
    text, count, after = done.stdout.splitlines()
    assert text == (
        "no memory is left for an object of 2,097,152 bytes: the files of this process may have "
        "1,048,576 bytes at most (ulimit -f, RLIMIT_FSIZE); drop futures, values and references, "
        "or give the machine or the control group more 27"
    )
    assert (count, after) == ("2", f"1 {1 << 18}"), "the first of the two is its caller's to free"


@pytest.mark.parametrize("reason", ["ENOSPC", "ENOMEM", "EDQUOT"])
def test_a_system_without_memory_is_an_error_of_its_own(memory, reason, monkeypatch):
    number = getattr(errno, reason)

    def refuse(fd, data, offset):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("scaler.objects.file.os.pwrite", refuse)
    with pytest.raises(ObjectStoreFullError, match=os.strerror(number)):
        memory.keep(memoryview(LARGE))
    assert memory.count == 0
