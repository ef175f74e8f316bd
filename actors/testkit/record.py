"""`Record`: what one actor did, in order and by kind."""

from __future__ import annotations

from typing import Any, TypeVar

from actors.ref import ActorRef
from actors.testkit.effects import Asked, Effect, Failed, Replied, Spawned, Stopped, Told

M = TypeVar("M")


class Record:
    """What one actor did.

    Attributes:
        effects: all of it, in order; the other lists hold the same by kind.
        told: `Told(ref, message)`, messages to itself included.
        asked: `Asked(ref, message, timeout_s)`; close each with `answer`, `fail` or `expire`.
        replies: what it replied, errors included.
        spawned: `Spawned(actor_class, args, kwargs, ref, ...)`; `ref` is an `InboxRef`.
        stopped: refs it stopped.
        failures: exceptions that its handlers raised.
    """

    def __init__(self) -> None:
        self.effects: list[Effect] = []
        self.told: list[Told] = []
        self.asked: list[Asked] = []
        self.replies: list[Any] = []
        self.spawned: list[Spawned] = []
        self.stopped: list[ActorRef] = []
        self.failures: list[Exception] = []

    def messages_to(self, ref: ActorRef) -> list[Any]:
        """Messages told to `ref`, in order."""
        return [told.message for told in self.told if told.ref == ref]

    def take(self, message_type: type[M]) -> M:
        """Remove the oldest message of exactly this type from `told` and return it.

        Raises:
            AssertionError: there is none; the text lists what was told.
        """
        for index, told in enumerate(self.told):
            if type(told.message) is message_type:
                del self.told[index]
                found: M = told.message
                return found
        raise AssertionError(f"no {message_type.__name__} was told, but {self.told or 'nothing'}")

    def take_asked(self, message_type: type) -> Asked:
        """Remove the oldest ask of a message of exactly this type from `asked` and return it.

        Raises:
            AssertionError: there is none; the text lists what was asked.
        """
        for index, asked in enumerate(self.asked):
            if type(asked.message) is message_type:
                return self.asked.pop(index)
        raise AssertionError(f"no {message_type.__name__} was asked, but {self.asked or 'nothing'}")

    def clear(self) -> None:
        """Forget it all."""
        Record.__init__(self)

    def record(self, effect: Effect) -> None:
        """Add an effect. For the harness."""
        self.effects.append(effect)
        if isinstance(effect, Told):
            self.told.append(effect)
        elif isinstance(effect, Replied):
            self.replies.append(effect.message)
        elif isinstance(effect, Asked):
            self.asked.append(effect)
        elif isinstance(effect, Spawned):
            self.spawned.append(effect)
        elif isinstance(effect, Stopped):
            self.stopped.append(effect.ref)
        elif isinstance(effect, Failed):
            self.failures.append(effect.error)
