from __future__ import annotations

import functools
import gc
import json
import operator
import pickle
import sys
import threading
import time
import types
import weakref
from collections.abc import Callable
from typing import Any
from unittest import mock

import cloudpickle
import pytest

from scaler.errors import ClientError, SerializationError
from scaler.protocol.tasks import Function
from scaler.serialization import functions, snapshot
from scaler.serialization.functions import FunctionPickler, load_function


def double(value: int) -> int:
    return 2 * value


def announced(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return "called", function(*args, **kwargs)

    return wrapper


@announced
def decorated(value: int) -> int:
    return value + 1


lying = announced(double)
"""Its `__qualname__` is `double`, and it is not `double`."""


@functools.cache
def cached(value: int) -> int:
    return value + 3


class Counter:
    start = 10

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def __call__(self) -> int:
        return self.value

    def plus(self, value: int) -> int:
        return self.value + value

    @classmethod
    def from_start(cls) -> Counter:
        return cls(cls.start)

    @staticmethod
    def half(value: int) -> int:
        return value // 2


class Unhashable(Counter):
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True


@pytest.fixture
def pickler() -> FunctionPickler:
    return FunctionPickler()


@pytest.mark.parametrize(
    "fn",
    [
        double,
        decorated,
        cached,
        Counter,
        Counter.half,
        json.dumps,
        time.sleep,
        len,
        int,
        operator.add,
        str.upper,
        functools.reduce,
    ],
)
def test_what_can_be_imported_travels_by_name(pickler: FunctionPickler, fn: Any) -> None:
    function = pickler.pickle(fn)
    assert load_function(function) is fn
    assert len(function.blob) < 150
    assert len(function.function_id) == 16


@pytest.mark.parametrize("fn", [double, cached, Counter, time.sleep, json.dumps])
def test_a_function_by_name_is_pickled_once(pickler: FunctionPickler, fn: Any) -> None:
    assert pickler.pickle(fn) is pickler.pickle(fn)


@pytest.mark.parametrize(
    ("fn", "args", "expected"),
    [
        (lambda value: value + 1, (1,), 2),
        (lying, (4,), ("called", 8)),
        (decorated, (4,), ("called", 5)),
        (functools.partial(double, 21), (), 42),
        (functools.partial(lambda a, b: a - b, b=1), (3,), 2),
        (Counter(5), (), 5),
        (Counter(5).plus, (1,), 6),
        (Counter.from_start, (), None),
        (Unhashable(7), (), 7),
        ([3, 1].index, (1,), 1),
        ("a-b".split, ("-",), ["a", "b"]),
        (operator.itemgetter(1), ("abc",), "b"),
        (operator.methodcaller("upper"), ("abc",), "ABC"),
        (functools.lru_cache(lambda value: value * 2), (2,), 4),
    ],
)
def test_any_callable_travels(
    pickler: FunctionPickler, fn: Any, args: tuple[Any, ...], expected: Any
) -> None:
    value = load_function(pickler.pickle(fn))(*args)
    if expected is not None:
        assert value == expected


def test_a_function_is_named_for_people(pickler: FunctionPickler) -> None:
    assert pickler.pickle(json.dumps).name == "json.dumps"
    assert pickler.pickle(Counter(1)).name.endswith("test_functions.Counter")
    assert pickler.pickle(functools.partial(json.dumps)).name == "partial of json.dumps"


def test_equal_content_has_an_equal_id(pickler: FunctionPickler) -> None:
    one, two = pickler.pickle(Counter(1)), pickler.pickle(Counter(1))
    assert one == two
    assert pickler.pickle(Counter(2)).function_id != one.function_id


def test_a_changed_instance_is_pickled_again(pickler: FunctionPickler) -> None:
    counter = Counter(1)
    first = pickler.pickle(counter.plus)
    counter.value = 2
    assert load_function(pickler.pickle(counter.plus))(0) == 2
    assert load_function(first)(0) == 1


def test_a_closure_is_pickled_once_until_its_cell_changes(pickler: FunctionPickler) -> None:
    offset = 1

    def add(value: int) -> int:
        return value + offset

    first = pickler.pickle(add)
    assert pickler.pickle(add) is first
    offset = 2
    assert load_function(pickler.pickle(add))(1) == 3


def test_new_defaults_are_seen(pickler: FunctionPickler) -> None:
    def add(value: int, more: int = 1, *, most: int = 0) -> int:
        return value + more + most

    pickler.pickle(add)
    add.__defaults__ = (10,)
    assert load_function(pickler.pickle(add))(1) == 11
    add.__kwdefaults__ = {"most": 100}
    assert load_function(pickler.pickle(add))(1) == 111


def test_new_code_is_seen(pickler: FunctionPickler) -> None:
    def one() -> int:
        return 1

    def two() -> int:
        return 2

    pickler.pickle(one)
    one.__code__ = two.__code__
    assert load_function(pickler.pickle(one))() == 2


def test_what_is_not_callable_is_refused(pickler: FunctionPickler) -> None:
    with pytest.raises(SerializationError, match="int is not callable"):
        pickler.pickle(3)  # type: ignore[arg-type]


def test_a_function_that_does_not_pickle_says_why(pickler: FunctionPickler) -> None:
    lock = threading.Lock()

    def locked() -> None:
        lock.acquire()

    with pytest.raises(SerializationError, match=r"locked cannot be pickled: .*lock"):
        pickler.pickle(locked)


def test_an_error_that_explains_itself_passes_through(pickler: FunctionPickler) -> None:
    class Future:
        def __reduce__(self) -> str:
            raise ClientError("a future cannot be an argument")

    future = Future()
    with pytest.raises(ClientError, match="a future cannot"):
        pickler.pickle(lambda: future)


def test_a_function_of_an_unknown_module_says_what_to_do() -> None:
    blob = b"cno_such_module_here\nfunction\n."
    with pytest.raises(SerializationError, match=r"m\.f cannot be opened .*register_pickle_by"):
        load_function(Function(bytes(16), blob, "m.f"))


def test_a_function_its_module_does_not_have_says_what_to_do() -> None:
    with pytest.raises(SerializationError, match="changed after the cluster started"):
        load_function(Function(bytes(16), b"cjson\nno_such_function\n.", "json.no_such"))


def test_a_registered_module_travels_by_value_from_then_on(pickler: FunctionPickler) -> None:
    by_name = pickler.pickle(json.dumps)
    cloudpickle.register_pickle_by_value(json)
    try:
        by_value = pickler.pickle(json.dumps)
        assert len(by_value.blob) > len(by_name.blob) + 100
        assert pickler.pickle(json.dumps) is by_value
    finally:
        cloudpickle.unregister_pickle_by_value(json)
    assert pickler.pickle(json.dumps).blob == by_name.blob


def test_a_mock_of_a_function_is_pickled_as_the_object_it_is(pickler: FunctionPickler) -> None:
    with pytest.raises(SerializationError, match="Mock"):
        pickler.pickle(mock.Mock(spec=double))


def test_a_function_that_died_is_forgotten(pickler: FunctionPickler) -> None:
    class Large:
        pass

    def make() -> tuple[weakref.ref[Any], weakref.ref[Any]]:
        large = Large()

        def use(depth: int = 0) -> Any:
            return large if depth else use(depth + 1)

        pickler.pickle(use)
        return weakref.ref(use), weakref.ref(large)

    refs = make()
    gc.collect()
    assert [ref() for ref in refs] == [None, None]
    assert not pickler._known


def test_a_module_that_was_replaced_lets_go_of_what_it_held(pickler: FunctionPickler) -> None:
    class Large:
        pass

    namespace: dict[str, Any] = {"__name__": "__main__", "large": Large()}
    exec("def use(): return large", namespace)
    pickler.pickle(namespace["use"])
    ref = weakref.ref(namespace["large"])
    namespace["large"] = None
    gc.collect()
    assert ref() is None
    assert load_function(pickler.pickle(namespace["use"]))() is None


def test_known_functions_are_bounded(
    pickler: FunctionPickler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functions, "FUNCTIONS_KNOWN", 10)
    often = pickler.pickle(double)
    made = [types.FunctionType(double.__code__, {}, f"f{n}") for n in range(50)]
    for fn in made:
        pickler.pickle(fn)
        assert pickler.pickle(double) is often
    assert len(pickler._known) == 10


def test_a_function_that_reaches_too_much_is_pickled_each_time(
    pickler: FunctionPickler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "_OBJECTS", 0)
    assert pickler.pickle(lambda: 0) is not pickler.pickle(lambda: 0)
    assert not pickler._known


class Evasive:
    """An instance that answers no question."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__reduce") or name == "__getstate__":
            raise AttributeError(name)
        raise RuntimeError("no answer")

    def __call__(self) -> int:
        return 3


def test_a_callable_that_answers_no_question_travels(pickler: FunctionPickler) -> None:
    function = pickler.pickle(Evasive())
    assert load_function(function)() == 3
    assert function.name.endswith("Evasive")


def test_many_threads_get_one_function(pickler: FunctionPickler) -> None:
    offset = [0]

    def read() -> int:
        return offset[0]

    got: list[bytes] = []

    def pickle_often() -> None:
        got.extend(pickler.pickle(read).function_id for _ in range(200))

    threads = [threading.Thread(target=pickle_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 800
    assert len(dict.fromkeys(got)) == 1


NOTEBOOK = """
import functools
from scaler.serialization.functions import FunctionPickler, load_function
import pickle

pickler = FunctionPickler()

def run(fn, *args):
    assert pickler.pickle(fn) is pickler.pickle(fn)
    return load_function(pickler.pickle(fn))(*args)

def helper(): return 1
def middle(): return helper()
def task(): return middle()
assert run(task) == 1
def helper(): return 2
assert run(task) == 2

scale = 3
def scaled(): return [scale * n for n in range(3)]
assert run(scaled) == [0, 3, 6]
scale = 4
assert run(scaled) == [0, 4, 8]

def outer():
    def inner(): return scale
    return inner()
assert run(outer) == 4
scale = 5
assert run(outer) == 5

def missing(): return not_yet()
pickler.pickle(missing)
def not_yet(): return "now"
assert run(missing) == "now"

def length(value): return len(value)
assert run(length, "abc") == 3
def len(value): return -1
assert run(length, "abc") == -1
del len

class Shape:
    sides = 3
    def area(self): return helper() * self.sides
def area(): return Shape().area()
assert run(area) == 6
def helper(): return 10
assert run(area) == 30
Shape.sides = 4
assert run(area) == 40
Shape.area = lambda self: "patched"
assert run(area) == "patched"
Shape.extra = lambda self: helper()
def extra(): return Shape().extra()
assert run(extra) == 10
assert run(Shape).sides == 4

class Square(Shape):
    @property
    def double(self): return helper() * 2
    @staticmethod
    def static(): return helper()
    @classmethod
    def made(cls): return helper()
square = Square()
def through_instance(): return square.double, square.static(), square.made()
assert run(through_instance) == (20, 10, 10)
def helper(): return 11
assert run(through_instance) == (22, 11, 11)

table = {"a": middle, "b": functools.partial(middle)}
def through_table(): return table["a"](), table["b"]()
assert run(through_table) == (11, 11)
def helper(): return 12
assert run(through_table) == (12, 12)

@functools.lru_cache(maxsize=None)
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
assert run(fib, 30) == 832040
def uses_fib(): return fib(10)
assert run(uses_fib) == 55
loaded = load_function(pickler.pickle(fib))
assert loaded.cache_parameters() == fib.cache_parameters()

def even(n): return n == 0 or odd(n - 1)
def odd(n): return n != 0 and even(n - 1)
assert run(even, 10) is True

def with_attribute(): return with_attribute.value
with_attribute.value = 1
assert run(with_attribute) == 1
with_attribute.value = 2
assert run(with_attribute) == 2
def bare(): return getattr(bare, "value", None)
assert run(bare) is None
bare.value = 3
assert run(bare) == 3

items = [1]
def in_place(): return items
first = pickler.pickle(in_place)
items.append(2)
assert pickler.pickle(in_place) is first, "the same list: documented"
print("done")
"""


def test_what_a_notebook_redefines_takes_effect_at_the_next_pickling(
    program: Callable[..., str],
) -> None:
    assert program(NOTEBOOK) == "done"


def test_nothing_heavy_is_imported_until_something_travels_by_value(
    program: Callable[..., str],
) -> None:
    source = """
import sys, json
from scaler.serialization.functions import FunctionPickler
from scaler.serialization.values import dump_arguments, load_value, dump_value
from scaler.serialization.exceptions import load_exception, dump_exception
FunctionPickler().pickle(json.dumps)
load_value(dump_value(dump_arguments((1, "a"), {"b": 2})))
dump_exception(ValueError(1), note="here")
print([name for name in ("cloudpickle", "tblib", "asyncio") if name in sys.modules])
"""
    assert program(source) == "[]"


def test_a_function_of_main_runs_in_a_process_with_another_main(
    program: Callable[..., str],
) -> None:
    source = """
from scaler.serialization.functions import FunctionPickler
class Point:
    def __init__(self, x): self.x = x
def shift(x): return Point(x + 1)
print(FunctionPickler().pickle(shift).blob.hex())
"""
    blob = bytes.fromhex(program(source))
    assert "Point" not in vars(sys.modules["__main__"])
    assert pickle.loads(blob)(1).x == 2


def test_a_function_that_refers_to_what_cannot_travel_is_named(pickler):
    class Stays:
        def __reduce__(self):
            raise ClientError("<Client 1> cannot be pickled")

    stays = Stays()
    with pytest.raises(
        ClientError, match=r"the function .*<lambda> refers to .* cannot be pickled"
    ):
        pickler.pickle(lambda: stays)
