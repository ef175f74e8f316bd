from __future__ import annotations

import json
import os.path
import pickle
import sys
import types
from collections.abc import Callable

import cloudpickle
import pytest

from scaler.serialization import by_value
from scaler.serialization.by_value import dumps_by_value, is_importable, modules_by_value


class Local:
    def method(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("value", [json.dumps, Local, Local.method, len, os.path.join, int])
def test_what_a_module_holds_under_its_name_is_importable(value: object) -> None:
    assert is_importable(value)


def test_a_name_that_lies_is_not_believed() -> None:
    def lying() -> None:
        """Do nothing."""

    lying.__module__, lying.__qualname__ = "json", "dumps"
    assert not is_importable(lying)
    assert not is_importable(lambda: 0)
    assert not is_importable(Local())
    lying.__module__ = None  # type: ignore[assignment]
    assert not is_importable(lying)


def test_what_is_of_a_registered_package_is_not_importable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package, module = types.ModuleType("by_value_package"), types.ModuleType("by_value_package.m")
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec("def function(): return 1", vars(module))
    assert is_importable(module.function)
    cloudpickle.register_pickle_by_value(package)
    try:
        assert modules_by_value()
        assert not is_importable(module.function)
        assert is_importable(json.dumps)
    finally:
        cloudpickle.unregister_pickle_by_value(package)
    assert not modules_by_value()


def test_nothing_is_registered_before_cloudpickle_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(by_value, "_registered", None)
    with monkeypatch.context() as context:
        context.delitem(sys.modules, "cloudpickle")
        context.delitem(sys.modules, "cloudpickle.cloudpickle")
        assert not modules_by_value()
        context.setitem(sys.modules, "cloudpickle", types.ModuleType("cloudpickle"))
        assert not modules_by_value(), "another thread is just importing it"
    assert not modules_by_value()
    assert by_value._registered is not None


def test_a_class_that_comes_home_is_the_class_that_left() -> None:
    class Shape:
        sides = 3

        def name(self) -> str:
            return "shape"

    method = Shape.name
    payload = dumps_by_value(Shape())
    Shape.sides = 4
    assert type(pickle.loads(payload)) is Shape
    assert Shape.sides == 4
    assert Shape.name is method


CHANGING = """
import pickle, sys
from scaler.serialization.by_value import dumps_by_value
class Shape:
    sides = 3
    def name(self): return "shape"
first = dumps_by_value(Shape())
Shape.sides = 4
Shape.name = lambda self: "changed"
print(first.hex(), dumps_by_value(Shape()).hex())
"""


def test_a_class_changed_at_home_is_changed_where_it_was_received(
    program: Callable[..., str],
) -> None:
    first, second = map(bytes.fromhex, program(CHANGING).split())
    old = pickle.loads(first)
    assert (old.sides, old.name()) == (3, "shape")
    new = pickle.loads(second)
    assert type(new) is type(old)
    assert (old.sides, old.name()) == (4, "changed")
    again = pickle.loads(dumps_by_value(new))
    assert type(again) is type(new)


def test_what_travels_by_value_keeps_the_name_of_its_file() -> None:
    def outer() -> Callable[[], int]:
        return lambda: 0

    arrived = pickle.loads(dumps_by_value(outer))
    assert arrived.__code__.co_filename == arrived().__code__.co_filename == __file__
