"""An actor that has stopped says so, to asks of any node."""

from __future__ import annotations

from actors import (
    Actor,
    ActorRef,
    ActorStoppedError,
    ActorSystem,
    DeadLetterReason,
    handles,
)


def test_asks_from_both_sides_of_a_link_hear_that_the_actor_has_stopped():
    class Echo(Actor):
        @handles(str)
        def on_text(self, text: str) -> None:
            self.context.reply(text)

    class Asker(Actor):
        def __init__(self, other: ActorRef) -> None:
            self.other = other

        @handles(str)
        def on_text(self, text: str) -> None:
            reply = self.context.defer_reply()
            self.context.ask(self.other, text, then=reply.send)

    with ActorSystem() as system:
        here = system.spawn(Echo)
        node = system.start_node("child")
        there = node.spawn(Echo)
        asker = node.spawn(Asker, here)
        assert asker.ask("before").result() == "before"
        here.stop()
        there.stop()
        for ref in (here, there, asker):
            assert isinstance(ref.ask("after").exception(), ActorStoppedError)
        assert {letter.reason for letter in system.dead_letters} == {DeadLetterReason.STOPPED}
        assert system.dead_letters[0].sender is None, "a thread asked"
