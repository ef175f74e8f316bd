from __future__ import annotations

import array
import datetime as dt
import pickle
import sys
import threading
from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest

from scaler.errors import ClientError, SerializationError
from scaler.serialization import values
from scaler.serialization.values import (
    ChunkResult,
    dump_arguments,
    dump_items,
    dump_value,
    load_arguments,
    load_items,
    load_value,
)


class Future:
    def __reduce__(self) -> str:
        raise ClientError("a future cannot be an argument: pass its result")


class Fails:
    """Pickles, and raises when it is opened."""

    def __init__(self, how: type[BaseException]) -> None:
        self.how = how

    def __reduce__(self) -> tuple[Any, ...]:
        return _raise, (self.how,)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class Refuses:
    def __reduce__(self) -> str:
        raise Unspeakable


def _raise(how: type[BaseException]) -> None:
    raise how("on purpose")


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((1, "two", [3.0]), {}),
        ((), {"self": 1, "fn": 2, "args": 3}),
        ((dt.date(2026, 1, 1), {1: (2, b"3")}), {"key": None}),
        ((b"x" * 100_000, "y" * 100_000), {"z": bytearray(70_000)}),
        ((array.array("d", range(20_000)),), {}),
        (([list(range(20_000))] * 3,), {}),
    ],
)
def test_arguments_arrive_as_given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    assert load_arguments(dump_arguments(args, kwargs)) == (args, kwargs)


def test_no_arguments_cost_nothing() -> None:
    assert dump_arguments((), {}) is dump_arguments((), {})


def test_the_same_object_twice_stays_one_object() -> None:
    shared: list[int] = []
    args, kwargs = load_arguments(dump_arguments((shared,), {"again": shared}))
    assert args[0] is kwargs["again"]


def test_a_lambda_and_a_local_class_travel_as_arguments() -> None:
    class Local:
        value = 7

    (function, instance), _ = load_arguments(dump_arguments((lambda: 3, Local()), {}))
    assert function() == 3
    assert instance.value == 7


@pytest.mark.parametrize(
    ("args", "kwargs", "named"),
    [
        ((1, threading.Lock()), {}, "argument 1 (of type _thread.lock) cannot be pickled: TypeE"),
        ((1,), {"key": [sys.stdin, sys._getframe()]}, "argument 'key' (of type list) cannot be"),
        ((Refuses(),), {}, "Unspeakable: (its __str__ raised RuntimeError)"),
    ],
)
def test_an_argument_that_does_not_pickle_is_named(
    args: tuple[Any, ...], kwargs: dict[str, Any], named: str
) -> None:
    with pytest.raises(SerializationError) as caught:
        dump_arguments(args, kwargs)
    assert named in str(caught.value)
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.__context__ is None


def test_a_nesting_too_deep_is_an_error_that_names_the_argument() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    try:
        with pytest.raises(SerializationError, match=r"argument 0 \(of type list\)"):
            dump_arguments((deep,), {})
    finally:
        while deep:  # the interpreter's own way down is recursive
            deep = deep.pop()


@pytest.mark.parametrize("dump", [lambda v: dump_arguments((v,), {}), dump_value])
@pytest.mark.parametrize("value", [Future(), [Future()], (lambda: 0, {"a": Future()})])
def test_an_error_that_explains_itself_passes_through(
    dump: Callable[[Any], bytes], value: Any
) -> None:
    with pytest.raises(ClientError, match="pass its result"):
        dump(value)


def test_items_of_a_chunk_arrive_as_given() -> None:
    items = [(n, str(n)) for n in range(20_000)]
    assert load_items(dump_items(items)) == items


def test_an_item_that_does_not_pickle_is_named() -> None:
    with pytest.raises(SerializationError, match="argument 1 of item 2 "):
        dump_items([(1, 2), (3, 4), (5, threading.Lock())])
    with pytest.raises(SerializationError, match="argument 0 of item 30 "):
        dump_items([(threading.Lock(),)], 30)
    with pytest.raises(SerializationError, match="argument 0 of item 31 "):
        dump_arguments((threading.Lock(),), {}, of=" of item 31")


def test_a_future_in_an_item_explains_itself() -> None:
    with pytest.raises(ClientError, match="pass its result"):
        dump_items([(1, 2), (3, Future())])


class Second:
    """Pickles by itself, and not beside another."""

    seen = 0

    def __reduce__(self) -> tuple[Any, ...]:
        Second.seen += 1
        if Second.seen <= 2:
            raise RuntimeError("not now")
        return Second, ()


def test_what_does_not_pickle_only_together_is_an_error_without_a_name() -> None:
    with pytest.raises(SerializationError, match="this cannot be pickled: RuntimeError: not now"):
        dump_arguments((Second(),), {})


def test_a_result_that_does_not_pickle_is_named() -> None:
    with pytest.raises(SerializationError, match=r"the result of the task \(of type _thread.lock"):
        dump_value(threading.Lock())
    with pytest.raises(SerializationError, match="the result of item 1 "):
        dump_value(ChunkResult([1, threading.Lock()]))


def test_a_chunk_result_travels() -> None:
    result = ChunkResult([1, lambda: 2], 2, b"error")
    opened = load_value(dump_value(result))
    assert (opened.values[0], opened.values[1](), opened.index, opened.error) == (1, 2, 2, b"error")


@pytest.mark.parametrize("how", [ValueError, SystemExit, GeneratorExit])
def test_what_does_not_open_says_so(how: type[BaseException]) -> None:
    with pytest.raises(SerializationError, match=f"arguments .* {how.__name__}: on purpose"):
        load_arguments(dump_arguments((Fails(how),), {}))
    with pytest.raises(SerializationError, match=f"the result .* {how.__name__}: on purpose"):
        load_value(dump_value(Fails(how)))


def test_an_interrupt_while_opening_is_not_swallowed() -> None:
    with pytest.raises(KeyboardInterrupt):
        load_value(dump_value(Fails(KeyboardInterrupt)))


def test_large_plain_arguments_are_pickled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "dumps_by_value", pytest.fail)
    args = (b"__main__" * 10_000, ["text", 1.5])
    assert load_arguments(dump_arguments(args, {})) == (args, {})


def test_an_array_of_numbers_is_plain_and_an_array_of_objects_is_not() -> None:
    class Type:
        hasobject = False

    class Array:
        dtype = Type()

    Array.__module__ = "numpy"
    assert values._is_plain([Array(), {"a": Array()}])
    Type.hasobject = True
    assert not values._is_plain(Array())
    assert not values._is_plain([[[[[1]]]]])
    assert not values._is_plain(list(range(1_000)))


def test_classes_of_a_registered_module_travel_by_value() -> None:
    cloudpickle.register_pickle_by_value(dt)
    try:
        payload = dump_value(Fails(ValueError))
        assert pickle.loads(dump_value(3)) == 3
    finally:
        cloudpickle.unregister_pickle_by_value(dt)
    with pytest.raises(SerializationError):
        load_value(payload)


CLIENT = """
import enum, subprocess, sys
from dataclasses import dataclass
from scaler.serialization.values import dump_arguments, load_value

@dataclass
class Point:
    x: int
    made = 0
    def shifted(self): return Point(self.x + 1)

class Color(enum.Enum):
    RED = 1

def apply(fn, point): return fn(point)

filler = [Point(n) for n in range(5_000)]
payload = dump_arguments((apply, Point.shifted, Point(1), Color.RED), {"filler": filler}).hex()
answer = subprocess.run(
    [sys.executable, "-c", sys.argv[1]], input=payload, capture_output=True, text=True, check=True
).stdout
own = vars(Point)["shifted"]
Point.made = 5
point, color = load_value(bytes.fromhex(answer))
assert type(point) is Point and vars(Point)["shifted"] is own and Point.made == 5
assert color is Color.RED
print(type(point).__name__, point.x, color.name)
"""

EXECUTOR = """
import sys
from scaler.serialization.values import load_arguments, dump_value
class Point: "another one"
(apply, shifted, point, color), kwargs = load_arguments(bytes.fromhex(sys.stdin.read()))
assert len(kwargs["filler"]) == 5_000 and type(kwargs["filler"][0]) is type(point)
print(dump_value((apply(shifted, point), color)).hex())
"""


def test_objects_of_main_go_to_another_main_and_back(program: Callable[..., str]) -> None:
    assert program(CLIENT, EXECUTOR) == "Point 2 RED"


def test_a_class_that_came_by_value_goes_home_by_its_number(program: Callable[..., str]) -> None:
    source = """
from scaler.serialization.by_value import _class_at_home
from scaler.serialization.values import dump_value, load_value

class Once: pass

sent = dump_value(Once())
first = Once
class Once: "redefined while the task runs"
assert load_value(sent).__class__ is first
try:
    _class_at_home("no such number", "Gone")
except LookupError as error:
    print(error)
"""
    assert program(source) == "the class Gone left from another process, or is long gone here"
