"""A whole system of actors in one thread, in virtual time, all drawn from one seed."""

from actors.testkit.simulation.agenda import Handle as Handle
from actors.testkit.simulation.delays import Delays as Delays
from actors.testkit.simulation.errors import CounterexampleError as CounterexampleError
from actors.testkit.simulation.errors import InvariantError as InvariantError
from actors.testkit.simulation.errors import LivelockError as LivelockError
from actors.testkit.simulation.errors import SimulationError as SimulationError
from actors.testkit.simulation.errors import UnexpectedFailureError as UnexpectedFailureError
from actors.testkit.simulation.events import Event as Event
from actors.testkit.simulation.events import EventKind as EventKind
from actors.testkit.simulation.explore import Exploration as Exploration
from actors.testkit.simulation.explore import explore as explore
from actors.testkit.simulation.explore import replay as replay
from actors.testkit.simulation.failures import Failure as Failure
from actors.testkit.simulation.fingerprint import state_of as state_of
from actors.testkit.simulation.node import SimulatedNode as SimulatedNode
from actors.testkit.simulation.shrink import shrink as shrink
from actors.testkit.simulation.simulation import RunEnd as RunEnd
from actors.testkit.simulation.simulation import Simulation as Simulation

__all__ = [
    "CounterexampleError",
    "Delays",
    "Event",
    "EventKind",
    "Exploration",
    "Failure",
    "Handle",
    "InvariantError",
    "LivelockError",
    "RunEnd",
    "SimulatedNode",
    "Simulation",
    "SimulationError",
    "UnexpectedFailureError",
    "explore",
    "replay",
    "shrink",
    "state_of",
]
