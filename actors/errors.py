"""Every error `actors` raises or delivers.

    ActorsError
    ├── DeliveryError                 the message did not reach an actor
    │   ├── ActorNotFoundError        nobody has that name
    │   ├── ActorStoppedError         the actor has ended (also: while the request was open)
    │   ├── MailboxFullError          the receiver does not keep up
    │   ├── NodeUnreachableError      the process of the actor is gone
    │   └── UnencodableMessageError   the message cannot leave this process
    ├── AskTimeoutError (TimeoutError)  no answer in time; it may still have been handled
    ├── ActorFailedError              the actor's handler raised
    ├── LaunchError                   a node or a child process could not be started
    ├── SystemClosedError             the actor system was closed before the call
    ├── ForkedProcessError            the call came from a fork of the process that owns the system
    ├── WouldDeadlockError            a blocking call on the thread that would have to answer it
    └── ProtocolError                 the peer sent what no correct peer sends

Errors travel: each keeps all it knows in `args`, so pickling gives back an equal error.
"""


class ActorsError(Exception):
    """Base of all errors of this package."""


class DeliveryError(ActorsError):
    """The message did not reach a living actor. It was not handled."""


class ActorNotFoundError(DeliveryError):
    """No actor has this name. Check the name, or spawn the actor first."""


class ActorStoppedError(DeliveryError):
    """The actor has ended. Watch it to learn when, or let a supervisor restart it."""


class MailboxFullError(DeliveryError):
    """The receiver's mailbox is at its bound. Send less, or give the actor a larger mailbox."""


class NodeUnreachableError(DeliveryError):
    """The process that ran the actor has ended, or the link to it was cut."""


class UnencodableMessageError(DeliveryError):
    """The message cannot be written as bytes (or read back). Change the message's fields."""


class AskTimeoutError(ActorsError, TimeoutError):
    """No reply within the deadline. Whether the message was handled is not known."""


class ActorFailedError(ActorsError):
    """The actor's handler raised while it handled the message: a bug in that actor.

    Attributes:
        cause: `repr` of the exception.
        traceback_text: the remote traceback as text, empty when unknown.
    """

    def __init__(self, cause: str, traceback_text: str = "") -> None:
        super().__init__(cause, traceback_text)
        self.cause = cause
        self.traceback_text = traceback_text

    def __str__(self) -> str:
        return f"{self.cause}\n{self.traceback_text}" if self.traceback_text else self.cause


class LaunchError(ActorsError):
    """A node or a child process could not be started. The text says which one and why."""


class SystemClosedError(ActorsError):
    """The actor system was closed. Make a new one."""


class ForkedProcessError(ActorsError):
    """This process is a fork of the one that owns the system. Make a system of your own here."""


class WouldDeadlockError(ActorsError):
    """A blocking call on the node's own thread. Use `context.ask(..., then=...)` instead."""


class ProtocolError(ActorsError):
    """The peer sent what no correct peer sends. The link is closed, the process goes on."""
