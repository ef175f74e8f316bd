"""A Ray-style actor framework on multiprocessing: actors, mailboxes, refs, supervision, nodes.

Layers, low to high; imports point down only:

    errors  limits        every error, every bound
    messages              messages, envelopes
    ref  signals          handles on actors; the end of an actor, dead letters
    supervision  actor    the class users subclass, and its context
    core/                 decisions without I/O: cells, asks, timers, codec
    transport/ runtime/   sockets, poll loop, threads, processes
    system                what a program starts
    testkit/              actors without threads, processes or sleeps

Names are imported at first use: a child process that needs three of them loads three.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actors.actor import Actor as Actor
    from actors.actor import ActorContext as ActorContext
    from actors.actor import DeferredReply as DeferredReply
    from actors.actor import handles as handles
    from actors.errors import ActorFailedError as ActorFailedError
    from actors.errors import ActorNotFoundError as ActorNotFoundError
    from actors.errors import ActorsError as ActorsError
    from actors.errors import ActorStoppedError as ActorStoppedError
    from actors.errors import AskTimeoutError as AskTimeoutError
    from actors.errors import DeliveryError as DeliveryError
    from actors.errors import ForkedProcessError as ForkedProcessError
    from actors.errors import LaunchError as LaunchError
    from actors.errors import MailboxFullError as MailboxFullError
    from actors.errors import NodeUnreachableError as NodeUnreachableError
    from actors.errors import ProtocolError as ProtocolError
    from actors.errors import SystemClosedError as SystemClosedError
    from actors.errors import UnencodableMessageError as UnencodableMessageError
    from actors.errors import WouldDeadlockError as WouldDeadlockError
    from actors.future import AskFuture as AskFuture
    from actors.lazy_future import Arrivals as Arrivals
    from actors.lazy_future import LazyFuture as LazyFuture
    from actors.mailbox import Mailbox as Mailbox
    from actors.mailbox import MailboxStatistics as MailboxStatistics
    from actors.messages import Envelope as Envelope
    from actors.messages import LocalMessage as LocalMessage
    from actors.messages import Message as Message
    from actors.ref import ActorRef as ActorRef
    from actors.runtime.exit_status import ExitStatus as ExitStatus
    from actors.runtime.launcher import Child as Child
    from actors.runtime.launcher import Launcher as Launcher
    from actors.runtime.poller import Poller as Poller
    from actors.runtime.thread import NodeThread as NodeThread
    from actors.signals import DeadLetter as DeadLetter
    from actors.signals import DeadLetterReason as DeadLetterReason
    from actors.signals import Terminated as Terminated
    from actors.signals import TerminationReason as TerminationReason
    from actors.supervision import Restart as Restart
    from actors.supervision import Stop as Stop
    from actors.system import ActorSystem as ActorSystem
    from actors.system import Node as Node

_HOMES = {
    "actor": ("Actor", "ActorContext", "DeferredReply", "handles"),
    "errors": (
        "ActorFailedError",
        "ActorNotFoundError",
        "ActorStoppedError",
        "ActorsError",
        "AskTimeoutError",
        "DeliveryError",
        "ForkedProcessError",
        "LaunchError",
        "MailboxFullError",
        "NodeUnreachableError",
        "ProtocolError",
        "SystemClosedError",
        "UnencodableMessageError",
        "WouldDeadlockError",
    ),
    "future": ("AskFuture",),
    "lazy_future": ("Arrivals", "LazyFuture"),
    "mailbox": ("Mailbox", "MailboxStatistics"),
    "messages": ("Envelope", "LocalMessage", "Message"),
    "ref": ("ActorRef",),
    "runtime.exit_status": ("ExitStatus",),
    "runtime.launcher": ("Child", "Launcher"),
    "runtime.poller": ("Poller",),
    "runtime.thread": ("NodeThread",),
    "signals": ("DeadLetter", "DeadLetterReason", "Terminated", "TerminationReason"),
    "supervision": ("Restart", "Stop"),
    "system": ("ActorSystem", "Node"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605 - a table, so that nothing is named twice


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'actors' has no attribute {name!r}")
    value = getattr(import_module(f"actors.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
