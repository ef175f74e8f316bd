"""What is kept of a message that nobody handled: no value, wherever in it that was."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import scaler.roles  # noqa: F401 - all messages of a cluster
from actors import LocalMessage, Message
from scaler.client.cancels import CancelFutures
from scaler.client.future import ScalerFuture
from scaler.overseer import Dropped
from scaler.protocol.objects import Body, Piece
from scaler.protocol.tasks import Function, Remains, Task, TaskRow, TaskRun, TaskSubmit

PARTS = (Task, TaskRow, Body, Piece)
"""Parts of messages."""
VALUES = (Piece, ScalerFuture)


def below(base: type) -> Iterator[type]:
    for kind in base.__subclasses__():
        yield kind
        yield from below(kind)


def holds_values(hint: Any, names: dict[str, Any]) -> bool:
    """Whether a field of this type holds a value, or what leads to one."""
    if typing.get_args(hint):
        return any(holds_values(part, names) for part in typing.get_args(hint))
    if not isinstance(hint, type):
        return False
    if hint in VALUES:
        return True
    if not issubclass(hint, Message | LocalMessage):
        return False
    hints = typing.get_type_hints(hint, localns=names)
    return any(holds_values(hints[field], names) for field in hint.__struct_fields__)


MESSAGES = [
    kind
    for base in (Message, LocalMessage)
    for kind in below(base)
    if kind.__module__.startswith("scaler.") and kind not in PARTS and kind is not Dropped
]


def test_each_message_that_holds_values_says_what_is_kept_of_it():
    names = {"ScalerFuture": ScalerFuture, "Callable": Callable}
    holding = [kind for kind in MESSAGES if holds_values(kind, names)]
    assert {TaskSubmit, TaskRun, CancelFutures} <= {*holding}
    assert [kind for kind in holding if "remains" not in vars(kind)] == []
    assert "remains" in vars(Dropped)


@pytest.mark.parametrize("kind", [TaskSubmit, TaskRun])
def test_tasks_are_named(kind):
    task = Task(7, b"f", bytes(100), objects=(Piece(1, 2),))
    more = ((5,),) if kind is TaskRun else ()
    message = kind((Function(b"f", b"blob", "f"),), (task,), *more)
    assert message.remains() == Remains(kind.__name__, (7,))
