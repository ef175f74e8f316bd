"""Tracebacks as rows of plain values, and rows as tracebacks again."""

from __future__ import annotations

import types
from typing import Any, Final

FrameRow = tuple[str, str, int, str, str]
"""File name of the code, its name, line, `__name__` and `__file__` of its module."""

FRAMES: Final = 200
"""Frames of one traceback that travel: the outer and the inner half of them."""

_OURS: Final = ("scaler.executor", "scaler.serialization")


def rows_of(traceback: types.TracebackType | None) -> list[FrameRow]:
    """Return the frames of `traceback`, outermost first, without those that only called the task.

    A long traceback (endless recursion) loses its middle.
    """
    rows: list[FrameRow] = []
    while traceback is not None:
        code, names = traceback.tb_frame.f_code, traceback.tb_frame.f_globals
        module, file = names.get("__name__"), names.get("__file__")
        # `tb_lineno` is `None` where code was made without line numbers, whatever its type says.
        line: int | None = traceback.tb_lineno
        rows.append((code.co_filename, code.co_name, line or 0, str(module), str(file)))
        traceback = traceback.tb_next
    theirs = next((n for n, row in enumerate(rows) if not row[3].startswith(_OURS)), 0)
    rows = rows[theirs:]
    return rows if len(rows) <= FRAMES else [*rows[: FRAMES // 2], *rows[-FRAMES // 2 :]]


def traceback_of(rows: list[FrameRow]) -> types.TracebackType | None:
    """Return a traceback that prints as the one `rows` was made of, without its local values."""
    if not rows:
        return None
    from tblib import Traceback

    link: Any = None
    for file_name, name, line, module, file in reversed(rows):
        code = types.SimpleNamespace(co_filename=file_name, co_name=name)
        frame = types.SimpleNamespace(
            f_code=code,
            f_globals={"__name__": module, "__file__": file},
            f_locals={},
            f_lineno=line,
        )
        link = types.SimpleNamespace(tb_frame=frame, tb_lineno=line, tb_next=link)
    return _without_columns(Traceback(link).as_traceback())


def _without_columns(traceback: types.TracebackType | None) -> types.TracebackType | None:
    """Copy `traceback`: tblib's frames have the columns of its own code, printed as wrong marks."""
    frames: list[tuple[types.FrameType, int]] = []
    while traceback is not None:
        frames.append((traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    copied: types.TracebackType | None = None
    for frame, line in reversed(frames):
        copied = types.TracebackType(copied, frame, -1, line)
    return copied
