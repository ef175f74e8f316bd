"""What a cluster is asked for, and what is refused before anything starts."""

from __future__ import annotations

import math
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from scaler import Client, LocalCluster
from scaler.client.client import BaseClient, ClientOptions
from scaler.cpus import usable_cpus
from scaler.limits import EXECUTOR_MEMORY_MIN_BYTES, STORE_BYTES_MIN
from scaler.settings import (
    NAME_CHARACTERS,
    check_client,
    checked_limits,
    checked_preload,
    checked_start_timeout,
    checked_store,
    checked_workers,
    environment,
)


@pytest.fixture
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is started is started too early."""

    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("a thread was started")

    monkeypatch.setattr("scaler.cluster.NodeThread", refuse)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"workers": "2"}, TypeError, "workers must be an integer, got '2'"),
        ({"workers": 2.0}, TypeError, "workers must be an integer, got 2.0"),
        ({"workers": True}, TypeError, "workers must be an integer, got True"),
        ({"workers": 0}, ValueError, "workers must be at least 1, got 0"),
        ({"cancel_grace": -1}, ValueError, "cancel_grace must be 0 or more seconds"),
        ({"cancel_grace": "x"}, TypeError, "cancel_grace must be a number of seconds, got 'x'"),
        ({"cancel_grace": 10**400}, ValueError, "cancel_grace must be 0 or more seconds"),
        ({"start_timeout": "x"}, TypeError, "start_timeout must be a number of seconds, got 'x'"),
        ({"start_timeout": True}, TypeError, "start_timeout must be a number of seconds"),
        *(
            ({"start_timeout": wrong}, ValueError, "start_timeout must be more than 0 and at most")
            for wrong in (0, -1, math.nan, math.inf, 1e300)
        ),
        ({"env": "x"}, TypeError, "env must be a mapping of names to values, not str"),
        ({"env": [("a", "b")]}, TypeError, "env must be a mapping of names to values"),
        ({"env": {"a": 1}}, TypeError, "env: the value of 'a' must be a str, not int"),
        ({"env": {1: "a"}}, TypeError, "env: the name of a variable must be a str, got 1"),
        ({"env": {"a=b": "c"}}, ValueError, "env: 'a=b' cannot be the name of a variable"),
        ({"env": {"": "x"}}, ValueError, "env: '' cannot be the name of a variable"),
        ({"env": {"a\0": "x"}}, ValueError, "env: 'a\\x00' cannot be the name of a variable"),
        ({"env": {"a": "\0"}}, ValueError, "env: the value of 'a' has a NUL in it"),
        ({"env": {"a": "\ud800"}}, ValueError, "env: the value of 'a' has a NUL in it, or cannot"),
        ({"preload": "os"}, TypeError, "preload must be a sequence of module names, as in"),
        ({"preload": 3}, TypeError, "preload must be a sequence of module names"),
        ({"preload": [3]}, TypeError, "preload must hold names of modules, got 3"),
        ({"cancel_grace": float("nan")}, ValueError, "cancel_grace must be 0 or more seconds"),
        ({"max_tasks_per_executor": 0}, ValueError, "max_tasks_per_executor must be at least 1"),
        ({"max_tasks_per_executor": True}, TypeError, "must be an integer, got True"),
        ({"max_tasks_per_executor": 2.0}, TypeError, "must be an integer, got 2.0"),
        (
            {"max_memory_per_executor": "2 GiB"},
            TypeError,
            "must be an integer (bytes), got '2 GiB'",
        ),
        ({"max_memory_per_executor": 2}, ValueError, "must be at least 67,108,864 bytes"),
        ({"max_memory_per_executor": 1e9}, TypeError, "max_memory_per_executor must be an integer"),
        ({"object_store_bytes": 1e9}, TypeError, "object_store_bytes must be an integer (bytes), "),
        ({"object_store_bytes": True}, TypeError, "must be an integer (bytes), got True"),
        ({"object_store_bytes": "1 GiB"}, TypeError, "must be an integer (bytes), got '1 GiB'"),
        *(
            ({"object_store_bytes": wrong}, ValueError, f"least 1,048,576 bytes, got {wrong}")
            for wrong in (-1, 0, STORE_BYTES_MIN - 1)
        ),
        ({"spill_directory": 3}, TypeError, "spill_directory must be a path, got 3"),
        ({"spill_directory": ["/tmp"]}, TypeError, "spill_directory must be a path, got ['/tmp']"),
        *(
            ({"spill_directory": wrong}, ValueError, "must be a directory to write in, got ")
            for wrong in ("", "/no/such/place", __file__, "/proc/self/cmdline", b"/no", Path("/no"))
        ),
    ],
)
@pytest.mark.parametrize("make", [LocalCluster, Client])
@pytest.mark.usefixtures("nothing_starts")
def test_a_wrong_limit_is_said_before_anything_starts(
    make: Any, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        make(**arguments)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"cancel_finished": "x"}, TypeError, "cancel_finished must be True or False, got 'x'"),
        ({"cancel_finished": 0}, TypeError, "cancel_finished must be True or False, got 0"),
        ({"deduplicate": 1}, TypeError, "deduplicate must be True or False, got 1"),
        *(
            ({name: wrong}, TypeError, f"{name} must be an integer, got {wrong!r}")
            for name in ("credit_tasks", "credit_bytes")
            for wrong in (math.nan, 1.5, math.inf, "3", True, None)
        ),
        ({"credit_tasks": 0}, ValueError, "credit_tasks must be at least 1, got 0"),
        ({"credit_bytes": -1}, ValueError, "credit_bytes must be at least 1, got -1"),
    ],
)
@pytest.mark.usefixtures("nothing_starts")
def test_what_a_client_cannot_be_is_said_before_anything_starts(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        Client(**arguments)
    assert text in str(caught.value)


def test_a_client_may_have_any_credit_from_one_on() -> None:
    check_client(False, 1, 1, False)
    check_client(True, 10**30, 10**30, True)


class Text(str):
    """Text that the messages cannot carry."""

    __slots__ = ()


def view_of_nothing() -> BaseClient:
    """Return a client of no cluster, which has options all the same."""
    client = object.__new__(BaseClient)
    client._options = ClientOptions()
    return client


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"name": 3}, TypeError, "name must be a str, got 3"),
        ({"name": b"x"}, TypeError, "name must be a str, got b'x'"),
        ({"name": "\ud800"}, ValueError, "name must be encodable as UTF-8, got '\\ud800'"),
        (
            {"name": "x" * (NAME_CHARACTERS + 1)},
            ValueError,
            f"name must have at most {NAME_CHARACTERS} characters, got {NAME_CHARACTERS + 1}",
        ),
        ({"block": "no"}, TypeError, "block must be True or False, got 'no'"),
        ({"block": 0}, TypeError, "block must be True or False, got 0"),
    ],
)
def test_options_that_cannot_be_are_refused(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        view_of_nothing().options(**options)
    assert text in str(caught.value)


def test_a_name_is_text_of_any_kind_and_travels_as_plain_text() -> None:
    view = view_of_nothing().options(name=Text("größer"), block=False)
    options = view._options
    assert (options.name, type(options.name), options.block) == ("größer", str, False)
    assert view.options(name="x" * NAME_CHARACTERS)._options.block is False


@pytest.mark.parametrize("wrong", [4, "tcp://127.0.0.1:8786"])
def test_what_is_no_cluster_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"must be a LocalCluster, got .*; see also workers="):
        Client(wrong)


def test_what_the_cluster_decides_cannot_be_asked_of_a_client_that_joins_it() -> None:
    with LocalCluster(1) as cluster:
        for name, value in {"start_timeout": 3, "preload": ["json"], "env": {}}.items():
            with pytest.raises(ValueError, match=f"^{name}: this is for the cluster to say"):
                Client(cluster, **{name: value})  # type: ignore[arg-type]
        Client(cluster, preload=[], workers=None).close()


def test_limits_are_kept_as_given() -> None:
    least = EXECUTOR_MEMORY_MIN_BYTES
    assert checked_limits(0, 1, least) == (0, 1, least)
    assert checked_limits(1.5, None, None) == (1.5, None, None)
    assert checked_limits(math.inf, None, None).cancel_grace == math.inf


def test_the_bounds_of_objects_are_kept_as_given(tmp_path: Path) -> None:
    assert checked_store(None, None) == (None, None)
    assert checked_store(STORE_BYTES_MIN, str(tmp_path)) == (STORE_BYTES_MIN, str(tmp_path))
    for path in (tmp_path, os.fsencode(tmp_path)):
        assert checked_store(None, path).spill_directory == str(tmp_path)  # type: ignore[arg-type]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="must be a directory to write in"):
        checked_store(None, tmp_path)


@pytest.mark.parametrize("wrong", ["\0", "a\0b", "\ud800"])
def test_a_path_that_the_system_does_not_take_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="spill_directory"):
        checked_store(None, wrong)


def test_seconds_are_numbers_of_any_kind_and_become_floats() -> None:
    grace = checked_limits(Decimal("1.5"), None, None).cancel_grace  # type: ignore[arg-type]
    assert (grace, type(grace)) == (1.5, float)
    timeout = checked_start_timeout(3)
    assert (timeout, type(timeout)) == (3, float)


def test_modules_to_preload_come_in_any_collection() -> None:
    assert checked_preload(()) == ()
    assert checked_preload(["json", "csv"]) == ("json", "csv")
    assert checked_preload(name for name in ("json", "csv")) == ("json", "csv")


def test_there_are_as_many_workers_as_cores_unless_said_otherwise() -> None:
    assert checked_workers(None) == usable_cpus()
    assert checked_workers(7) == 7


def test_executors_share_the_cores_and_the_caller_has_the_last_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "5")
    made = environment({"A": "B"}, 10_000)
    assert (made["OMP_NUM_THREADS"], made["MKL_NUM_THREADS"], made["A"]) == ("1", "5", "B")
    assert environment({"OMP_NUM_THREADS": "3"}, 1)["OMP_NUM_THREADS"] == "3"


def test_a_variable_may_be_empty_or_bytes_of_no_text() -> None:
    made = environment({"A": "", "B": "\udcff"}, 1)
    assert (made["A"], made["B"]) == ("", "\udcff")
