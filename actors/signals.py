"""What the system itself tells: the end of an actor, and messages that nobody handled."""

from __future__ import annotations

from enum import Enum

from actors.messages import LocalMessage, Message
from actors.ref import ActorRef


class TerminationReason(Enum):
    """Why an actor ended."""

    STOPPED = "stopped"
    """It was asked to, or asked for it itself."""
    FAILED = "failed"
    """A handler raised and its supervision gave up on it."""
    NODE_LOST = "node lost"
    """Its process died, or the link to it was cut."""
    UNKNOWN = "unknown"
    """It had ended before the watch arrived."""


class Terminated(Message, frozen=True):
    """Told to every watcher, once, after all that `ref` sent to it."""

    ref: ActorRef
    reason: TerminationReason
    cause: str = ""
    """The exception, the exit status or the signal, in words; empty after a plain stop."""


class DeadLetterReason(Enum):
    """Why a message was not handled."""

    STOPPED = "the actor has stopped"
    MAILBOX_FULL = "the mailbox is full"
    UNHANDLED = "the actor has no handler for it"
    UNREACHABLE = "the process of the actor is gone"
    UNENCODABLE = "the message cannot be encoded"
    LATE_REPLY = "the reply came after the deadline"


class DeadLetter(LocalMessage, frozen=True):
    """A message that nobody handled."""

    message: object
    """What its `remains` returned: the message, unless it says otherwise."""
    sender: ActorRef | None
    """The actor that sent it; `None` if it was a thread."""
    target: str
    """Name of the actor it was meant for."""
    reason: DeadLetterReason
