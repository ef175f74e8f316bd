"""Futures among arguments, as pickles."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest

from scaler.errors import ClientError, SerializationError
from scaler.serialization.inputs import check_collecting, collecting, place_of
from scaler.serialization.values import dump_arguments, dump_items, load_arguments, load_items


class Future:
    """Stands for one."""

    def __reduce__(self) -> Any:
        check_collecting(self)
        return place_of(self)


@dataclasses.dataclass
class Holder:
    value: Any


def pickled(*values: Any) -> list[tuple[bytes, tuple[()]]]:
    return [(pickle.dumps(value), ()) for value in values]


def test_a_future_leaves_its_place_wherever_it_stands() -> None:
    first, second = Future(), Future()
    with collecting() as found:
        payload = dump_arguments((first, [second, {"again": first}]), {"held": Holder((second,))})
    assert found == {first: 0, second: 1}
    args, kwargs = load_arguments(payload, (), pickled("one", "two"))
    assert args == ("one", ["two", {"again": "one"}])
    assert kwargs == {"held": Holder(("two",))}


def test_what_is_pickled_twice_over_has_one_place() -> None:
    future = Future()
    with collecting() as found:
        payload = dump_arguments((future, lambda: 3), {})  # by name first, which fails
    assert len(found) == 1
    (value, function), _ = load_arguments(payload, (), pickled("value"))
    assert (value, function()) == ("value", 3)


def test_the_same_input_is_the_same_object() -> None:
    future = Future()
    with collecting():
        payload = dump_items([(future,), (future,)])
    (one,), (other,) = load_items(payload, (), pickled([1]))
    assert one is other


def test_an_input_that_cannot_be_opened_says_so() -> None:
    with collecting():
        payload = dump_arguments((Future(),), {})
    with pytest.raises(SerializationError, match="the result of another task, input 0"):
        load_arguments(payload, (), [(b"no pickle", ())])


def test_elsewhere_a_future_is_refused() -> None:
    with pytest.raises(ClientError, match=r"Pass its result\(\) instead"):
        dump_arguments((Future(),), {})
    with collecting():
        payload = dump_arguments((Future(),), {})
    with pytest.raises(SerializationError, match="to be an argument of a task"):
        load_arguments(payload)


def test_collecting_ends_with_its_block() -> None:
    with collecting() as outer, collecting() as inner:
        dump_arguments((Future(),), {})
    assert (len(outer), len(inner)) == (0, 1)
    with pytest.raises(ClientError):
        pickle.dumps(Future())
