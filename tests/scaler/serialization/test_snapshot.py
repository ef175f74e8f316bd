from __future__ import annotations

import functools
import gc
import types
from typing import Any

import pytest

from scaler.serialization import snapshot
from scaler.serialization.snapshot import Snapshot, SnapshotTooLargeError


def of_main(source: str, **namespace: Any) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "__main__", **namespace}
    exec(source, names)
    return names


def test_a_function_that_reads_nothing_holds() -> None:
    assert Snapshot(lambda: 0).holds()


def test_a_global_of_an_equal_value_is_another_object() -> None:
    names = of_main("def f(): return data", data=[1])
    taken = Snapshot(names["f"])
    assert taken.holds()
    names["data"] = [1]
    assert not taken.holds()


@pytest.mark.parametrize("value", [1000001, "text", (1, 2), None, len, int, functools, {1: 2}])
def test_any_kind_of_global_is_compared(value: Any) -> None:
    names = of_main("def f(): return data", data=value)
    taken = Snapshot(names["f"])
    assert taken.holds()
    names["data"] = object()
    assert not taken.holds()
    names["data"] = value
    assert taken.holds()
    del names["data"]
    assert not taken.holds()


def test_a_weakly_held_global_that_died_and_became_none_is_a_change() -> None:
    names = of_main("class C: pass\ndata = C()\ndef f(): return data")
    taken = Snapshot(names["f"])
    names["data"] = None
    assert not taken.holds()


def test_a_cell_that_was_emptied_or_filled_is_a_change() -> None:
    def outer() -> tuple[Any, Any, Any]:
        value: Any = 0

        def read() -> Any:
            return value

        def fill(new: Any) -> None:
            nonlocal value
            value = new

        def empty() -> None:
            nonlocal value
            del value

        return read, fill, empty

    read, fill, empty = outer()
    empty()
    unbound = Snapshot(read)
    assert unbound.holds()
    fill(None)
    assert not unbound.holds()
    bound = Snapshot(read)
    assert bound.holds()
    empty()
    assert not bound.holds()


def test_a_bound_method_and_a_cached_property_are_looked_through() -> None:
    names = of_main(
        "import functools\n"
        "def helper(): return 1\n"
        "class C:\n"
        "    @functools.cached_property\n"
        "    def p(self): return helper()\n"
        "    def m(self): return self.p\n"
        "method = C().m\n"
        "def f(): return method()"
    )
    taken = Snapshot(names["f"])
    assert taken.holds()
    names["helper"] = lambda: 2
    assert not taken.holds()


def test_an_owner_that_died_is_a_change() -> None:
    names = of_main("class C: pass\nholder = [C]\ndef f(): return holder[0]")
    taken = Snapshot(names["f"])
    assert taken.holds()
    names["holder"][0] = None
    del names["C"]
    gc.collect()
    assert not taken.holds()


def test_a_long_list_is_not_searched() -> None:
    names = of_main("def helper(): return 1\ndef g(): return helper()\ndef f(): return table")
    names["table"] = dict.fromkeys(range(1_000), names["g"])
    taken = Snapshot(names["f"])
    names["helper"] = None
    assert taken.holds()


def test_a_function_that_reaches_too_much_has_no_snapshot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshot, "_OBJECTS", 3)
    source = "".join(f"def f{n}(): return f{n + 1}()\n" for n in range(10))
    with pytest.raises(SnapshotTooLargeError):
        Snapshot(of_main(source)["f0"])


def test_a_function_of_another_module_is_not_looked_into() -> None:
    names = of_main("def f(): return dumps(1)", dumps=__import__("json").dumps)
    assert len(Snapshot(names["f"])._functions) == 1


def test_names_read_in_nested_code_are_found() -> None:
    code = compile(
        "def f():\n    class C:\n        x = a\n    return lambda: [b for _ in c]", "<>", "exec"
    )
    (function,) = (const for const in code.co_consts if isinstance(const, types.CodeType))
    assert {"a", "b", "c"} <= {*snapshot._globals_read(function)}
