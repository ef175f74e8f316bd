from __future__ import annotations

from typing import Any

from scaler.errors import TaskFailedError
from scaler.serialization.reasons import TEXT_LENGTH, describe, hint, type_name


class Nameless(type):
    def __getattribute__(cls, name: str) -> Any:
        raise RuntimeError


class Odd(metaclass=Nameless):
    pass


def test_types_are_named_with_their_module_unless_built_in() -> None:
    assert type_name(3) == "int"
    assert type_name(TaskFailedError()) == "scaler.errors.TaskFailedError"
    assert type_name(Odd()) == "an unnamed type"


def test_an_error_is_described_in_bounds() -> None:
    assert describe(ValueError()) == "ValueError"
    assert describe(ValueError("text")) == "ValueError: text"
    assert len(describe(ValueError("x" * 100_000))) == TEXT_LENGTH


def test_an_error_of_no_known_remedy_has_no_hint() -> None:
    error: Any = ValueError()
    assert hint(error) == ""
