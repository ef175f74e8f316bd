"""`ObjectReference`: a value in shared memory, to be the argument of any number of tasks."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from scaler.errors import ClientError
from scaler.protocol.objects import Body, size_of
from scaler.serialization.inputs import check_collecting, place_of

if TYPE_CHECKING:
    from scaler.client.session import ClientSession


class ReferenceTable:
    """The references that one client has made, as long as somebody holds them. Thread-safe."""

    def __init__(self, session: ClientSession, numbers: Iterator[int]) -> None:
        """Number references of `session`."""
        self._session = session
        self._numbers = numbers
        self._all: weakref.WeakValueDictionary[int, ObjectReference] = weakref.WeakValueDictionary()

    def make(self, name: str, body: Body) -> ObjectReference:
        """Name a value that was stored."""
        reference = ObjectReference(next(self._numbers), name, body, self._session)
        self._all[reference.task_id] = reference
        return reference

    def end_all(self, why: str) -> None:
        """Delete those that are there."""
        for reference in self._listed():
            reference.end(why)

    def names(self) -> list[tuple[int, str]]:
        """Return home and name of each object that a reference names."""
        bodies = [(reference.name, reference._body) for reference in self._listed()]
        return [(piece.home, name) for name, body in bodies if body for piece in body.objects]

    def _listed(self) -> list[ObjectReference]:
        # At once: other threads make references meanwhile, and an iterator would break off.
        found = [reference() for reference in self._all.valuerefs()]
        return [reference for reference in found if reference is not None]


class ObjectReference:
    """Names a value that `client.put` has stored. Thread-safe.

    As an argument of a task, or part of one, it is the value there. The value is freed when the
    reference is deleted or dropped, and no task in flight needs it.

    Attributes:
        name: What people call it.
        size_bytes: Of the value, pickled.
    """

    __slots__ = ("__weakref__", "_body", "_gone", "_session", "name", "size_bytes", "task_id")
    __scaler_local__: ClassVar = "reference"

    def __init__(self, number: int, name: str, body: Body, session: ClientSession) -> None:
        """Name `body`, whose pieces belong to this reference alone.

        Args:
            number: from the numbers of the client's tasks, to whom it is the result of one.
            name: for people.
            body: the value.
            session: of the client.
        """
        self.task_id = number
        self.name = name
        self.size_bytes = size_of(body.payload, body.objects)
        self._body: Body | None = body
        self._gone = ""
        self._session = session

    @property
    def session(self) -> ClientSession:
        """The client that stored the value."""
        return self._session

    def body(self) -> Body:
        """Return the value, pickled.

        Raises:
            ClientError: it was deleted.
        """
        body = self._body
        if body is None:
            raise ClientError(f"{self!r} names nothing any more: {self._gone}")
        return body

    def end(self, why: str) -> None:
        """Let go of the value. Twice is fine."""
        self._gone = self._gone or why
        self._body = None

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        check_collecting(self, "Pass client.get() of it instead.")
        return place_of(self)

    def __repr__(self) -> str:
        state = "deleted" if self._body is None else f"{self.size_bytes} bytes"
        return f"<ObjectReference {self.name!r}, {state}>"
