from __future__ import annotations

import dataclasses
import threading
from typing import Any, Self

import pytest

from scaler.errors import SerializationError
from scaler.serialization.exception_body import body_of


class Status(Exception):
    """Its text is made by `__init__`, so the default pickling would make it twice."""

    def __init__(self, code: int) -> None:
        super().__init__(f"status {code}")
        self.code = code


class KeywordOnly(ValueError):
    def __init__(self, *, key: str, retry: bool = False) -> None:
        super().__init__(f"no {key}")
        self.key, self.retry = key, retry


class WithoutSuper(Exception):
    def __init__(self, a: int, b: int) -> None:
        self.total = a + b


class Slotted(Exception):
    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        self.code = code


class Disk(OSError):
    def __init__(self, device: str) -> None:
        super().__init__(28, "No space", device)
        self.device = device


class Decode(UnicodeDecodeError):
    def __init__(self, where: int) -> None:
        super().__init__("utf-8", b"abc", where, where + 1, "bad")


class Missing(AttributeError):
    def __init__(self, owner: object) -> None:
        super().__init__("missing", name="n", obj=owner)


class WrongForBase(UnicodeDecodeError):
    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


class Both(KeywordOnly, LookupError):
    pass


class New(Exception):
    def __new__(cls, a: int, b: int) -> Self:
        return super().__new__(cls, a)


@dataclasses.dataclass
class Data(Exception):
    code: int
    text: str = ""


@dataclasses.dataclass(frozen=True)
class FrozenData(Exception):
    code: int


class Reduced(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a}-{b}")
        self.pair = a, b

    def __reduce__(self) -> tuple[Any, ...]:
        return Reduced, self.pair


@pytest.mark.parametrize(
    ("error", "attributes"),
    [
        (Status(404), ("code",)),
        (KeywordOnly(key="a", retry=True), ("key", "retry")),
        (WithoutSuper(1, 2), ("total",)),
        (Slotted(7), ("code",)),
        (Disk("/dev/a"), ("device", "errno", "strerror", "filename")),
        (Decode(1), ("start", "end", "reason", "object", "encoding")),
        (WrongForBase("text"), ("text",)),
        (Both(key="b"), ("key",)),
        (New(1, 2), ()),
        (Data(3, "text"), ("code", "text")),
        (FrozenData(3), ("code",)),
        (Reduced(1, 2), ("pair",)),
        (AttributeError("x", name="n", obj=threading.Lock()), ()),
        (Missing(threading.Lock()), ("name",)),
        (FileNotFoundError(2, "none", "here", None, "there"), ("errno", "filename", "filename2")),
        (BlockingIOError(11, "again", 5), ("characters_written",)),
    ],
)
def test_an_exception_with_an_init_of_its_own_keeps_all_it_knows(
    error: Exception, attributes: tuple[str, ...]
) -> None:
    opened = body_of(error).open()
    assert type(opened) is type(error)
    assert str(opened) == str(error)
    assert opened.args == error.args
    for name in attributes:
        assert getattr(opened, name) == getattr(error, name)


class RefusesToReduce(Exception):
    def __reduce__(self) -> str:
        raise TypeError("not me")


class OpensAsText(Exception):
    def __reduce__(self) -> tuple[Any, ...]:
        return str, ("text",)


class OpensAsAnother(Exception):
    def __reduce__(self) -> tuple[Any, ...]:
        return ValueError, ("text",)


class DoesNotOpen(Exception):
    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


class Exits(Exception):
    def __setstate__(self, state: Any) -> None:
        raise SystemExit(3)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("x", threading.Lock()), "its argument 1 is of type _thread.lock: "),
        (RefusesToReduce("x"), "not me"),
        (OpensAsText("x"), "it opens as str, which is no exception"),
        (OpensAsAnother("x"), "it opens as something else"),
        (DoesNotOpen("x"), "ValueError: invalid literal"),
    ],
)
def test_what_does_not_travel_is_described(error: Exception, reason: str) -> None:
    opened = body_of(error).open()
    assert type(opened) is SerializationError
    assert type(error).__qualname__ in str(opened)
    assert reason in str(opened)


def test_an_exception_that_exits_when_opened_is_described() -> None:
    error = Exits("x")
    error.state = 1  # type: ignore[attr-defined]
    assert type(body_of(error).open()) is SerializationError


class Tagged(ExceptionGroup[Exception]):
    tag: str

    def __new__(cls, tag: str, errors: list[Exception]) -> Self:
        self = super().__new__(cls, f"tag {tag}", errors)
        self.tag = tag
        return self


class Locked(ExceptionGroup[Exception]):
    pass


def test_a_group_keeps_its_class_and_attributes() -> None:
    member = ValueError(1)
    opened = body_of(Tagged("a", [member])).open([member])
    assert type(opened) is Tagged
    assert (opened.message, opened.tag, opened.exceptions) == ("tag a", "a", (member,))


def test_a_group_that_does_not_pickle_becomes_a_plain_one() -> None:
    group = Locked("text", [ValueError(1)])
    group.lock = threading.Lock()  # type: ignore[attr-defined]
    member = KeyError(2)
    opened = body_of(group).open([member])
    assert type(opened) is ExceptionGroup
    assert opened.message == "text (Locked)"
    assert opened.exceptions == (member,)
