"""A node without a loop for each test."""

from __future__ import annotations

import pytest

from tests.actors.core.stage import Stage


@pytest.fixture
def stage() -> Stage:
    return Stage()
