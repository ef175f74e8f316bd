"""Frames come out whole, however their bytes arrive."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.limits import FRAME_BYTES
from scaler.protocol.executor import FRAME_HEADER, ExecutorReady
from scaler.protocol.frames import FrameCutter, FrameTooLongError, pack_frame


def test_a_packed_frame_is_its_length_and_its_message():
    data = pack_frame(ExecutorReady(7))
    assert FRAME_HEADER.unpack_from(data)[0] == len(data) - FRAME_HEADER.size
    (frame,) = FrameCutter().cut(bytes(data))
    assert msgspec.msgpack.decode(frame, type=ExecutorReady) == ExecutorReady(7)


@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(1, 50), min_size=1))
def test_frames_do_not_depend_on_how_the_stream_was_cut(bodies, sizes):
    stream = b"".join(FRAME_HEADER.pack(len(body)) + body for body in bodies)
    cutter, frames, at = FrameCutter(), [], 0
    while at < len(stream):
        size = sizes[at % len(sizes)]
        frames += cutter.cut(stream[at : at + size])
        at += size
    assert frames == bodies


def test_a_frame_that_is_too_long_is_refused_at_its_header():
    with pytest.raises(FrameTooLongError, match=str(FRAME_BYTES + 1)):
        FrameCutter().cut(FRAME_HEADER.pack(FRAME_BYTES + 1))
