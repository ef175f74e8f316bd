"""What the row of a task that was stopped at a limit says."""

from __future__ import annotations

import pytest

from scaler.protocol.timeouts import Limit, pack_timeout, unpack_timeout


@pytest.mark.parametrize("limit", list(Limit))
@pytest.mark.parametrize("how", ["", "it unwound", "its executor ended: exit code 3\nlast line\n"])
def test_what_is_packed_is_unpacked(limit, how):
    assert unpack_timeout(pack_timeout(limit, how)) == (limit, how)


@pytest.mark.parametrize("payload", [b"", b"something else", b"\xff\n"])
def test_what_nobody_packed_counts_as_a_timeout(payload):
    limit, how = unpack_timeout(payload)
    assert limit is Limit.TIMEOUT
    assert how == payload.decode(errors="replace")
