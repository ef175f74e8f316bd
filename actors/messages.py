"""What is put into mailboxes: users' messages, and the system's own words around them.

A message is any object. Between processes it travels in one of two ways:

* a subclass of `Message` that its receiver can import travels by name and is validated when it is
  decoded; it is the fast and the safe way;
* anything else travels as an opaque pickle that only the receiving actor's process opens.

A `LocalMessage` never leaves its process: it may hold a future, a thread's lock, a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

if TYPE_CHECKING:
    from actors.ref import ActorRef


class Message(msgspec.Struct, frozen=True):
    """Base of typed messages: immutable, compared by value, validated when decoded.

    Fields may be of any type `msgspec` knows, and `ActorRef`. Use tuples, not lists.
    """

    registry: ClassVar[dict[str, type[Message]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        Message.registry[f"{cls.__module__}:{cls.__qualname__}"] = cls

    def remains(self) -> object:
        """Return what a `DeadLetter` has of this message; here it is the message itself.

        A message that holds what shall not be kept for long, such as much memory, says so here.
        """
        return self


class LocalMessage(msgspec.Struct, frozen=True, eq=False):
    """Base of messages that stay within their process and may hold anything."""

    def remains(self) -> object:
        """Return what a `DeadLetter` has of this message, as for `Message`."""
        return self


class Envelope(msgspec.Struct, gc=False):
    """One message on its way: what a mailbox holds. Not copied, not shared, so not frozen.

    Unknown to the garbage collector, which would look at each of many that wait; no cycle stays,
    since a mailbox is emptied when its actor ends.
    """

    message: Any
    sender: ActorRef | None = None
    request: int = 0
    """Number of the ask within the sender's node, 0 for a tell."""


class Reply(msgspec.Struct, gc=False):
    """The answer to a request: a message, or an error of `actors.errors`."""

    request: int
    message: Any
