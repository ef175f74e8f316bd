"""What a notebook displays, and what only its display holds."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from scaler.client.references import references

T = TypeVar("T")


def html_table(title: str, rows: Mapping[str, object]) -> str:
    """Return a small table for a notebook."""
    from html import escape

    lines = [
        f"<tr><th style='text-align: left'>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
        for name, value in rows.items()
    ]
    return f"<b>{escape(title)}</b><table>{''.join(lines)}</table>"


def html_rows(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with columns for a notebook."""
    from html import escape

    lines = [
        "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) + "</tr>"
        for tag, row in [("th", heads), *(("td", row) for row in rows)]
    ]
    return f"<b>{escape(title)}</b><table>{''.join(lines)}</table>"


def only_displayed(kind: type[T]) -> list[T]:
    """Return the objects of `kind` that nothing but IPython's cache of outputs holds.

    That is `Out`, `_`, `__`, `___` and `_1`, `_2` ...: a cell that displays an object leaves it
    there for as long as the kernel lives.
    """
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = None if get_shell is None else get_shell()
    if shell is None:
        return []
    try:
        outputs = shell.user_ns["_oh"]
        found = [
            number
            for number in list(outputs)
            if isinstance(outputs[number], kind)
            and references(outputs, number) == _cached(shell, outputs[number])
        ]
        return [outputs[number] for number in found]
    except (AttributeError, KeyError):  # a shell that keeps its outputs otherwise
        return []


def _cached(shell: Any, value: object) -> int:
    """Return how many references the shell's cache holds."""
    hidden = [name for name, held in list(shell.user_ns_hidden.items()) if held is value]
    last = getattr(shell.last_execution_result, "result", None)
    return (
        len(hidden)
        + sum(shell.user_ns.get(name) is value for name in hidden)
        + sum(held is value for held in list(shell.user_ns["_oh"].values()))
        + sum(held is value for held in vars(shell.displayhook).values())
        + (last is value)
    )
