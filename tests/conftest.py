"""What every test gets."""

from __future__ import annotations

import pytest

from actors.testkit.leaks import no_leaks


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(no_leaks: None) -> None:
    """Fail a test that leaves an actor, process, thread or file descriptor."""
