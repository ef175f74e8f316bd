"""Every error `scaler` raises or delivers. A task's own exception arrives as itself.

    ScalerError
    ├── ClientError                     the call was wrong
    │   ├── ClientClosedError           the client (or its cluster) was closed before
    │   ├── ClientBusyError             the client's credit is used up
    │   ├── ForkedClientError           the call came from a fork of the client's process
    │   └── NestedClientError           `Client()` inside a task
    ├── SerializationError              something could not be pickled, or not be opened again
    ├── TaskFailedError                 the task raised what must not be raised here as it is
    ├── ObjectStoreFullError            there is no room for an object in shared memory
    ├── InputFailedError            a task failed whose result is an argument of this one
    ├── TaskTimeoutError                the task was stopped at its timeout or deadline
    ├── WorkerDiedError                 executors died while they ran the task
    ├── ClusterStartError               the cluster did not come up
    ├── ClusterBrokenError              the cluster ended without being asked to
    └── InternalError                   a bug of ours; the text tells the task's story
        └── IllegalTransition           an event that the task's state does not allow

Each survives pickling: all it knows is in `args`.
"""


class ScalerError(Exception):
    """Base of all errors of this package."""


class ClientError(ScalerError):
    """The call was wrong: by its time, its place or its arguments."""


class ClientClosedError(ClientError):
    """The client was closed. Make a new one."""


class ClientBusyError(ClientError):
    """The client's credit is used up. Wait for results, or use `await client.asubmit(...)`."""


class ForkedClientError(ClientError):
    """This process is a fork of the one that made the client. Make a client of its own here."""


class NestedClientError(ClientError):
    """A task tried to start a cluster. Submit from the program that owns the client."""


class SerializationError(ScalerError):
    """Something could not be pickled or opened again. The text says what, where and why."""


class ObjectStoreFullError(ScalerError):
    """There is no room for an object in shared memory. The text says how much there is. Drop
    futures, values and references, or allow more with `object_store_bytes=`.
    """


class TaskFailedError(ScalerError):
    """The task raised something that would end or mislead the caller's program.

    `SystemExit`, `KeyboardInterrupt`, `GeneratorExit` and a task's own `CancelledError` arrive so,
    with the original as `__cause__`.
    """


class InputFailedError(ScalerError):
    """A task whose result is an argument of this one failed, or was cancelled: this one never ran.

    The text names that task; `__cause__` is what it raised.
    """


class TaskTimeoutError(ScalerError):
    """The task was stopped at its timeout or deadline. The text says where the time went.

    It is no `TimeoutError`: that is what `future.result(timeout=...)` raises while the task runs.
    """


class WorkerDiedError(ScalerError):
    """Executors died while they ran the task, as often as its `max_attempts` allows.

    The text says of each attempt how: exit code, signal, out of memory, last lines of its stderr.
    """


class ClusterStartError(ScalerError):
    """The cluster did not come up in time. The text says what failed."""


class ClusterBrokenError(ScalerError):
    """The cluster ended without being asked to. The text says why. Make a new client."""


class InternalError(ScalerError):
    """A bug of this package. The text tells what the task went through; please report it."""


class IllegalTransition(InternalError):  # noqa: N818 - the protocol's own name
    """An event arrived that the task's state does not allow."""
