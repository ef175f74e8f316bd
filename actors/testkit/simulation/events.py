"""What happens in a simulation, one by one, and how it is hashed and shown."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from hashlib import blake2b
from typing import Any

import msgspec

from actors.ref import ActorRef

_TRACE_LINES = 100_000
_MESSAGE_CHARACTERS = 300


class EventKind(StrEnum):
    """The kinds of events."""

    MESSAGE = "message"
    """An actor handled a message, or it became a dead letter."""
    REPLY = "reply"
    """An ask was answered."""
    TIMER = "timer"
    """A timer's message was handled."""
    TIMEOUT = "timeout"
    """The deadline of an ask passed."""
    LOST = "lost"
    """A message reached a node that had crashed."""
    NODE_LOST = "node lost"
    """A node learned that another one has crashed: asks to it fail, watchers are told."""
    WORLD = "world"
    """A callback of `after` was called."""
    CRASH = "crash"
    STOP = "stop"
    RESTART = "restart"
    PAUSE = "pause"
    CLOCK = "clock"
    """A wall clock jumped."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """Something that has happened: all that it led to on its node is done."""

    kind: EventKind
    time_s: float
    """Virtual seconds since the simulation began."""
    source: ActorRef | None
    """Who sent the message; `None` if it was not an actor."""
    target: ActorRef | None
    """Who was to handle it; `None` if the event is not about a message."""
    message: Any
    """The message; for other events a name, such as that of a node."""


class Record:
    """Digest and trace of the events of one simulation."""

    def __init__(
        self, describe: Callable[[Any], str] | None, *, digest: bool, keep_trace: bool
    ) -> None:
        """Begin a record.

        Args:
            describe: what of a message enters the digest; `None`: all its fields.
            digest: whether to hash the events.
            keep_trace: keep the last events for `lines`.
        """
        self.count = 0
        self._hash = blake2b(digest_size=16) if digest else None
        self._describe = describe
        # Lines, since an event would keep its message alive, and what lives as long as that.
        self._lines: deque[str] | None = deque(maxlen=_TRACE_LINES) if keep_trace else None
        self._encode = msgspec.msgpack.Encoder(enc_hook=_stand_in, order="deterministic").encode

    def add(self, event: Event) -> None:
        """Enter an event."""
        self.count += 1
        if self._lines is not None:
            self._lines.append(line(event))
        if self._hash is None:
            return
        message = event.message
        kind = type(message).__qualname__
        fields: Any = message if self._describe is None else self._describe(message)
        head = (event.kind, event.time_s, label(event.source), label(event.target), kind)
        try:
            data = self._encode((head, fields))
        except Exception:  # a type that has no fields to speak of
            data = self._encode((head, None))
        self._hash.update(data)

    def digest(self) -> str:
        """Return the hash of all events so far, 32 hexadecimal digits."""
        if self._hash is None:
            raise ValueError("no digest was made: the simulation has digest=False")
        return self._hash.hexdigest()

    def lines(self) -> list[str]:
        """Return the events as lines to read."""
        if self._lines is None:
            raise ValueError("no trace was kept: make the simulation with keep_trace=True")
        return list(self._lines)


def label(ref: ActorRef | None) -> str:
    """Return the name of an actor and of its node."""
    return "" if ref is None else f"{ref.address.node}/{ref.address.name}"


def line(event: Event) -> str:
    """Return an event as a line to read."""
    message = event.message if isinstance(event.message, str) else repr(event.message)
    if len(message) > _MESSAGE_CHARACTERS:
        message = message[:_MESSAGE_CHARACTERS] + "..."
    way = f"{label(event.source) or '-'} -> {label(event.target)} " if event.target else ""
    return f"{event.time_s:14.6f} {event.kind:9} {way}{message}"


def name_of(callback: Any) -> str:
    """Return the name of a function, also of one within a `partial`."""
    while isinstance(callback, partial):
        callback = callback.func
    return str(getattr(callback, "__qualname__", type(callback).__qualname__))


def _stand_in(value: Any) -> str:
    """Stand in for what cannot be encoded: refs by their names, the rest by its type."""
    return label(value) if isinstance(value, ActorRef) else type(value).__qualname__
