"""A fresh scheduler for each test."""

from __future__ import annotations

import pytest

from tests.scaler.scheduler.desk import Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()
