"""An actor system as a program uses it."""

import pytest

from actors import (
    Actor,
    ActorNotFoundError,
    ActorsError,
    ActorSystem,
    DeferredReply,
    NodeThread,
    SystemClosedError,
    handles,
)
from actors.testkit import Probe


class Late(Actor):
    """Keeps its askers waiting."""

    def __init__(self) -> None:
        self.replies: list[DeferredReply] = []

    @handles(str)
    def on_text(self, text: str) -> None:
        self.replies.append(self.context.defer_reply())


def test_the_counters_of_a_mailbox_can_be_read() -> None:
    with ActorSystem() as system:
        probe = Probe(system)
        for number in range(3):
            probe.ref.tell(number)
        for number in range(3):
            assert probe.expect(int) == number
        statistics = system.mailbox_statistics(probe.ref)
        assert (statistics.handled, statistics.waiting, statistics.rejected) == (3, 0, 0)
        probe.stop()
        stranger = ActorSystem("other")
        with stranger, pytest.raises(ActorNotFoundError, match="probe"):
            stranger.mailbox_statistics(probe.ref)


def test_when_a_node_fails_its_error_is_told_before_anyone_hears_of_the_end() -> None:
    told: list[str] = []
    thread = NodeThread("short", on_broken=lambda error: told.append(f"broken: {error}"))
    system = ActorSystem(thread=thread)
    open_ask = system.spawn(Late).ask("?")
    open_ask.add_done_callback(lambda _: told.append("an ask has ended"))
    thread.loop.fail(OSError("on purpose"))
    with pytest.raises(ActorsError):
        open_ask.result(10)
    assert told == ["broken: on purpose", "an ask has ended"]
    for use in (lambda: system.spawn(Late), lambda: system.call(print)):
        with pytest.raises(SystemClosedError, match=r"system short has ended: .*on purpose"):
            use()
    system.close()
