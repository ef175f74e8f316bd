"""Tracebacks as rows of plain values, and rows as tracebacks again."""

from __future__ import annotations

import ast
import types
from functools import lru_cache
from typing import Any, Final

FrameRow = tuple[str, str, int, int, str, str]
"""File name of the code, its name, first line, line; `__name__` and `__file__` of its module."""

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
        first = code.co_firstlineno
        place = (code.co_filename, code.co_name, first, max(first, line or 0))
        rows.append((*place, str(module), str(file)))
        traceback = traceback.tb_next
    theirs = next((n for n, row in enumerate(rows) if not row[4].startswith(_OURS)), 0)
    rows = rows[theirs:]
    return rows if len(rows) <= FRAMES else [*rows[: FRAMES // 2], *rows[-FRAMES // 2 :]]


def traceback_of(rows: list[FrameRow]) -> types.TracebackType | None:
    """Return a traceback that prints as the one `rows` was made of, without its local values.

    Frames cannot be made; they are taken from code that raises, under the names of the rows.
    """
    copied: types.TracebackType | None = None
    for file_name, name, first, line, module, file in reversed(rows):
        code = _raising_code(line - first).replace(
            co_filename=file_name, co_name=name, co_qualname=name, co_firstlineno=first
        )
        raised = _raised(code, {"__name__": module, "__file__": file, "__builtins__": {}})
        # With the number of a true instruction: some tools look for it until they find it.
        copied = types.TracebackType(copied, raised.tb_frame, raised.tb_lasti, line)
    return copied


def _raised(code: types.CodeType, names: dict[str, Any]) -> types.TracebackType:
    try:
        types.FunctionType(code, names)()
    except NameError as error:
        return error.__traceback__.tb_next  # type: ignore[union-attr, return-value]
    raise AssertionError


@lru_cache(maxsize=1000)
def _raising_code(line: int) -> types.CodeType:
    """Return code that raises so many lines below its first.

    It has no columns: they would be underlined in others' lines.
    """
    tree = ast.parse("raised_elsewhere")
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt | ast.expr):
            node.lineno = node.end_lineno = line + 1
            node.col_offset = node.end_col_offset = -1
    return compile(tree, "", "exec")
