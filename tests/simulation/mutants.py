"""The planted bugs: one edit each, of the kind that is made by mistake."""

from __future__ import annotations

from typing import Final

from tests.simulation.planted.books import BOOKS
from tests.simulation.planted.cancels import CANCELS
from tests.simulation.planted.ground import GROUND
from tests.simulation.planted.inputs import INPUTS
from tests.simulation.planted.limits import LIMITS
from tests.simulation.planted.losses import LOSSES
from tests.simulation.planted.mutant import Mutant
from tests.simulation.planted.objects import OBJECTS
from tests.simulation.planted.spilling import SPILLING

MUTANTS: Final[tuple[Mutant, ...]] = (
    *CANCELS,
    *BOOKS,
    *LOSSES,
    *LIMITS,
    *INPUTS,
    *OBJECTS,
    *SPILLING,
    *GROUND,
)
