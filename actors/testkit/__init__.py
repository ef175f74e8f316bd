"""Test actors without threads, processes or sleeps.

One actor, with a fake mailbox:

    from actors.testkit import ActorHarness, InboxRef

    kit = ActorHarness(Counter, 10)                # the production class; on_start has run
    assert kit.ask(Increment(5)).reply == 15       # a request and its answer
    shop = InboxRef("shop")                        # a ref with nobody behind it
    kit.tell(Subscribe(shop))                      # a message
    assert kit.messages_to(shop) == [Count(15)]    # what it told; also kit.told, kit.effects
    kit.asked[0].answer(Price(3))                  # what it asked; .fail(error), .expire()
    assert "save" in kit.timers                    # its timers ...
    kit.advance(60.0)                              # ... fire when the clock is moved
    kit.terminate(shop)                            # deathwatch: it is told `Terminated`

Messages pass through the codec on their way in and out, so what could not travel between two
processes fails here.

Many actors on many nodes, in virtual time, all drawn from one seed: `Simulation`. `explore` tries
every order of a small system, `shrink` finds the smallest script that fails.

In a live system, `Probe(system)` is an actor that a test reads: `probe.expect(Count)`. The pytest
fixture `no_leaks` (or `with check_leaks():`) fails a test that leaves an actor system, a process,
a thread, a file descriptor or shared memory behind.
"""

from typing import TYPE_CHECKING, Any

from actors.testkit.clock import ManualClock as ManualClock
from actors.testkit.context import PendingReply as PendingReply
from actors.testkit.effects import Asked as Asked
from actors.testkit.effects import AskState as AskState
from actors.testkit.effects import Effect as Effect
from actors.testkit.effects import Failed as Failed
from actors.testkit.effects import Replied as Replied
from actors.testkit.effects import Spawned as Spawned
from actors.testkit.effects import Stopped as Stopped
from actors.testkit.effects import Timer as Timer
from actors.testkit.effects import TimerCancelled as TimerCancelled
from actors.testkit.effects import Told as Told
from actors.testkit.effects import Unwatched as Unwatched
from actors.testkit.effects import Watched as Watched
from actors.testkit.harness import ActorHarness as ActorHarness
from actors.testkit.inbox import InboxRef as InboxRef
from actors.testkit.probe import Probe as Probe
from actors.testkit.probe import ProbeMessage as ProbeMessage
from actors.testkit.simulation import CounterexampleError as CounterexampleError
from actors.testkit.simulation import Delays as Delays
from actors.testkit.simulation import Event as Event
from actors.testkit.simulation import EventKind as EventKind
from actors.testkit.simulation import Exploration as Exploration
from actors.testkit.simulation import Failure as Failure
from actors.testkit.simulation import Handle as Handle
from actors.testkit.simulation import InvariantError as InvariantError
from actors.testkit.simulation import LivelockError as LivelockError
from actors.testkit.simulation import RunEnd as RunEnd
from actors.testkit.simulation import SimulatedNode as SimulatedNode
from actors.testkit.simulation import Simulation as Simulation
from actors.testkit.simulation import SimulationError as SimulationError
from actors.testkit.simulation import UnexpectedFailureError as UnexpectedFailureError
from actors.testkit.simulation import explore as explore
from actors.testkit.simulation import replay as replay
from actors.testkit.simulation import shrink as shrink
from actors.testkit.simulation import state_of as state_of

if TYPE_CHECKING:
    from actors.testkit.leaks import LeakError as LeakError
    from actors.testkit.leaks import check_leaks as check_leaks
    from actors.testkit.leaks import no_leaks as no_leaks

__all__ = [
    "ActorHarness",
    "AskState",
    "Asked",
    "CounterexampleError",
    "Delays",
    "Effect",
    "Event",
    "EventKind",
    "Exploration",
    "Failed",
    "Failure",
    "Handle",
    "InboxRef",
    "InvariantError",
    "LeakError",
    "LivelockError",
    "ManualClock",
    "PendingReply",
    "Probe",
    "ProbeMessage",
    "Replied",
    "RunEnd",
    "SimulatedNode",
    "Simulation",
    "SimulationError",
    "Spawned",
    "Stopped",
    "Timer",
    "TimerCancelled",
    "Told",
    "UnexpectedFailureError",
    "Unwatched",
    "Watched",
    "check_leaks",
    "explore",
    "no_leaks",
    "replay",
    "shrink",
    "state_of",
]


def __getattr__(name: str) -> Any:
    # At first use: it is the only part of the kit that needs pytest.
    if name in ("LeakError", "check_leaks", "no_leaks"):
        from actors.testkit import leaks

        return getattr(leaks, name)
    raise AttributeError(f"module 'actors.testkit' has no attribute {name!r}")
