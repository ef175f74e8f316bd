"""Distributed task execution on actors: submit functions, get futures, cancel with an answer.

    from scaler import Client

    with Client() as client:
        print(client.submit(pow, 2, 10).result())

Layers, low to high; imports point down only:

    errors limits settings      every error, every bound, what a cluster was asked for
    protocol serialization      messages; functions and values as bytes
    objects                     shared memory for what is large
    client scheduler            the roles; none imports another
    worker executor
    overseer                    notices the end of a cluster, and what was dropped unclosed
    cluster                     all roles in one program; `Client`

Names are imported at first use, so that an executor loads what it needs and no more.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scaler.client.future import ScalerFuture as ScalerFuture
    from scaler.client.object_reference import ObjectReference as ObjectReference
    from scaler.client.outcome import CancelOutcome as CancelOutcome
    from scaler.client.outcome import ProfilingInfo as ProfilingInfo
    from scaler.client.retry import Retry as Retry
    from scaler.cluster import Client as Client
    from scaler.cluster import LocalCluster as LocalCluster
    from scaler.errors import ClientBusyError as ClientBusyError
    from scaler.errors import ClientClosedError as ClientClosedError
    from scaler.errors import ClientError as ClientError
    from scaler.errors import ClusterBrokenError as ClusterBrokenError
    from scaler.errors import ClusterStartError as ClusterStartError
    from scaler.errors import ForkedClientError as ForkedClientError
    from scaler.errors import InputFailedError as InputFailedError
    from scaler.errors import InternalError as InternalError
    from scaler.errors import NestedClientError as NestedClientError
    from scaler.errors import ObjectStoreFullError as ObjectStoreFullError
    from scaler.errors import ScalerError as ScalerError
    from scaler.errors import SerializationError as SerializationError
    from scaler.errors import TaskFailedError as TaskFailedError
    from scaler.errors import TaskTimeoutError as TaskTimeoutError
    from scaler.errors import WorkerDiedError as WorkerDiedError
    from scaler.executor.interrupt import TaskInterrupt as TaskInterrupt

_HOMES = {
    "client.future": ("ScalerFuture",),
    "client.object_reference": ("ObjectReference",),
    "client.outcome": ("CancelOutcome", "ProfilingInfo"),
    "client.retry": ("Retry",),
    "cluster": ("Client", "LocalCluster"),
    "errors": (
        "ClientBusyError",
        "ClientClosedError",
        "ClientError",
        "ClusterBrokenError",
        "ClusterStartError",
        "ForkedClientError",
        "InputFailedError",
        "InternalError",
        "NestedClientError",
        "ObjectStoreFullError",
        "ScalerError",
        "SerializationError",
        "TaskFailedError",
        "TaskTimeoutError",
        "WorkerDiedError",
    ),
    "executor.interrupt": ("TaskInterrupt",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605 - a table, so that nothing is named twice


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'scaler' has no attribute {name!r}")
    value = getattr(import_module(f"scaler.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
