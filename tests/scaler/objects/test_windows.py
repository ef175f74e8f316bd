"""Parts of the shared memory that stay mapped."""

from __future__ import annotations

import pytest

from scaler.limits import INLINE_BYTES, MAP_BYTES
from scaler.objects.memory import ObjectMemory
from scaler.objects.windows import _SHARED_BYTES, _WINDOWS_MAX, Windows
from scaler.protocol.objects import Piece

SMALL, LARGE = INLINE_BYTES, 2 * MAP_BYTES


@pytest.fixture
def windows(file):
    made = Windows(file, writable=False)
    yield made
    made.close()


def test_small_objects_share_a_window_and_large_ones_have_their_own(windows):
    first, start = windows.find(5 * _SHARED_BYTES + 4096, SMALL)
    assert (start, len(first.buffer)) == (4096, _SHARED_BYTES)
    assert windows.find(6 * _SHARED_BYTES - SMALL, SMALL) == (first, _SHARED_BYTES - SMALL)
    second, start = windows.find(5 * _SHARED_BYTES + 4096, LARGE)
    assert (start, len(second.buffer)) == (0, LARGE)
    assert windows.find(5 * _SHARED_BYTES + 4096, LARGE)[0] is second


def test_a_small_object_that_lies_across_two_windows_has_its_own(windows):
    window, start = windows.find(_SHARED_BYTES - 4096, SMALL)
    assert (start, len(window.buffer)) == (0, SMALL)


def test_of_many_windows_the_oldest_is_given_up(windows):
    first, _ = windows.find(0, LARGE)
    for number in range(1, _WINDOWS_MAX):
        windows.find(number * _SHARED_BYTES, LARGE)
    assert windows.find(0, LARGE)[0] is first
    windows.find(_WINDOWS_MAX * _SHARED_BYTES, LARGE)
    assert windows.find(0, LARGE)[0] is not first


def test_a_window_shows_what_is_written_there_later(file, windows):
    file.write(memoryview(b"a" * LARGE), LARGE)
    window, _ = windows.find(LARGE, LARGE)
    assert window.buffer[0] == ord("a")
    file.punch(LARGE, LARGE)
    assert window.buffer[0] == 0
    file.write(memoryview(b"b" * LARGE), LARGE)
    assert window.buffer[LARGE - 1] == ord("b")


def test_after_the_end_no_window_is_kept(windows):
    first, _ = windows.find(0, LARGE)
    windows.close()
    assert windows.find(0, LARGE)[0] is not windows.find(0, LARGE)[0]
    assert first.buffer.nbytes == LARGE, "who has it goes on using it"


def test_what_is_read_again_needs_no_new_mapping(file):
    memory = ObjectMemory(file, 1, 1 << 24, view_bytes=SMALL)
    mapped: list[int] = []
    real = file.map
    file.map = lambda offset, size, **how: mapped.append(offset) or real(offset, size, **how)
    pieces = [memory.keep(memoryview(bytes([n]) * size)) for n, size in ((1, SMALL), (2, LARGE))]
    for _ in range(3):
        for number, piece in enumerate(pieces, 1):
            assert memory.views.open(piece) == bytes([number]) * piece.size_bytes
    assert len(mapped) == 2
    assert len(memory.views) == 0
    memory.cool()


def test_a_view_outlives_its_window(file):
    memory = ObjectMemory(file, 1, 1 << 24, view_bytes=SMALL)
    piece = memory.keep(memoryview(b"x" * SMALL))
    view = memory.views.open(piece)
    memory.cool()
    file.close()
    assert view == b"x" * SMALL
    assert memory.views.homes() == [piece.home]
    with pytest.raises(OSError, match="closed"):
        memory.views.open(Piece(0, SMALL))
