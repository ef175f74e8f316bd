"""`ObjectMethods`: what a client does with values in shared memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scaler.client.calls import Calls
    from scaler.client.future import ScalerFuture
    from scaler.client.object_reference import ObjectReference
    from scaler.client.object_table import ObjectTable

    Handle = ObjectReference | ScalerFuture[Any]


class ObjectMethods:
    """A part of `BaseClient`. Thread-safe."""

    _calls: Calls

    def put(self, value: Any, name: str | None = None) -> ObjectReference:
        """Store a value once, for any number of tasks.

        numpy arrays, arrow buffers and whatever else hands out a `pickle.PickleBuffer` are mapped
        by the tasks, read-only and without a copy.

        Args:
            value: anything that pickles. It is copied: later changes are not seen.
            name: what people call it; default: its type.

        Returns:
            A reference: pass it where the value is wanted, also within lists, dicts, data classes.
            When it is dropped or deleted, the value is freed, as soon as no task needs it.

        Raises:
            SerializationError: the value cannot be pickled.
            ObjectStoreFullError: there is no room for it.
            ClientClosedError: the client was closed.
        """
        return self._calls.put(value, name)

    send_object = put

    def get(self, handles: Handle | Sequence[Handle], *, copy: bool = False) -> Any:
        """Return the value of a reference or a future, or the list of the values of many.

        Args:
            handles: what `put` or `submit` returned. Futures are waited for, like `result()`.
            copy: make large buffers writable, by copying them; else they are mapped read-only.

        Raises:
            Exception: what the task of a future raised.
            ClientError: a reference was deleted, or is of another cluster.
            SerializationError: a value cannot be opened in this process.
        """
        return self._calls.get(handles, copy)

    def delete(self, reference: ObjectReference) -> None:
        """Free the value of a reference, as soon as no task in flight needs it. Twice is fine.

        Raises:
            TypeError: it is no reference.
        """
        self._calls.delete(reference)

    def clear(self) -> None:
        """Delete all references that this client has made."""
        self._calls.session.references.end_all("client.clear() was called")

    def objects(self) -> ObjectTable:
        """Return what is in the shared memory of this host, of all clients, the largest first."""
        return self._calls.objects()
