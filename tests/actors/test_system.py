"""An actor system as a program uses it."""

import pytest

from actors import ActorNotFoundError, ActorSystem
from actors.testkit import Probe


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
