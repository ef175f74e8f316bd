"""What the row of a task says whose arguments did not come: which task was to make them, and why.

An input of a task is the result of another one, which stands among its arguments.
"""

from __future__ import annotations

import msgspec

from scaler.protocol.tasks import RowStatus, TaskRow


class FailedInput(msgspec.Struct, frozen=True, array_like=True):
    """Why a task got no input."""

    text: str
    """A sentence that names the task that was to make it."""
    status: RowStatus | None = None
    """How that one ended; `None`: there is no row of its end."""
    payload: bytes = b""
    """Of its row."""

    def pack(self) -> bytes:
        """Return the payload of an `INPUT_FAILED` row."""
        return _encode(self)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(FailedInput).decode


def unpack_failed_input(payload: bytes) -> FailedInput:
    """Return what was packed.

    Raises:
        msgspec.DecodeError: it is something else.
    """
    return _decode(payload)


def failed_input(needed: int, name: str, row: TaskRow | None) -> FailedInput:
    """Return why task `needed`, known to people by a name, gives no input.

    Args:
        needed: its id.
        name: of its function.
        row: how it ended; `None`: it was cancelled.
    """
    whose = f"task {needed} ({name}), whose result is an argument of this one,"
    if row is None or row.status is RowStatus.INTERRUPTED:
        return FailedInput(f"{whose} was cancelled")
    if row.status is not RowStatus.INPUT_FAILED:
        return FailedInput(f"{whose} failed", row.status, row.payload)
    first = unpack_failed_input(row.payload)  # its own cause is ours, however long the chain is
    return FailedInput(f"{whose} did not run: {_last(first.text)}", first.status, first.payload)


def _last(text: str) -> str:
    return text.rpartition("did not run: ")[2]
