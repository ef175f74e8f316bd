"""Messages that nobody handled: kept for a while, and told to who listens."""

from __future__ import annotations

from collections import deque

from actors.limits import DEAD_LETTERS_KEPT
from actors.messages import Envelope, LocalMessage, Message
from actors.ref import ActorRef
from actors.signals import DeadLetter, DeadLetterReason


class DeadLetters:
    """The dead letters of one node. `add` is thread-safe."""

    def __init__(self) -> None:
        """Keep none yet."""
        self.kept: deque[DeadLetter] = deque(maxlen=DEAD_LETTERS_KEPT)
        self.count = 0
        """How many there were, also those not kept any more."""
        self.listeners: dict[ActorRef, None] = {}

    def add(self, item: Envelope, target: str, reason: DeadLetterReason) -> None:
        """Note a message that nobody handled. One about a dead letter is not told on."""
        sender = item.sender
        if sender is not None and not sender.address.number:
            sender = None  # a thread, which asked from outside
        letter = DeadLetter(_remains(item.message), sender, target, reason)
        self.kept.append(letter)
        self.count += 1
        if not isinstance(item.message, DeadLetter):
            for listener in list(self.listeners):
                listener.deliver(Envelope(letter))


def _remains(message: object) -> object:
    if not isinstance(message, Message | LocalMessage):
        return message
    try:
        return message.remains()
    except Exception as error:  # telling never raises, whatever is told
        return f"{type(message).__qualname__}, whose remains() raised {error!r}"
