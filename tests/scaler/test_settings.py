"""What a cluster is asked for, and what is refused before anything starts."""

from __future__ import annotations

from typing import Any

import pytest

from scaler import Client, LocalCluster
from scaler.cpus import usable_cpus
from scaler.limits import EXECUTOR_MEMORY_MIN_BYTES
from scaler.settings import checked_limits, checked_workers, environment


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"cancel_grace": -1}, ValueError, "cancel_grace must be 0 or more seconds"),
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
    ],
)
@pytest.mark.parametrize("make", [LocalCluster, Client])
def test_a_wrong_limit_is_said_before_anything_starts(
    make: Any, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        make(**arguments)
    assert text in str(caught.value)


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
