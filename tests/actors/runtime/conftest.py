"""What the tests of the launcher share."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.actors.runtime.nest import HERE, Nest


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(HERE)])


@pytest.fixture
def nest(importable: None) -> Iterator[Nest]:
    nest = Nest()
    yield nest
    nest.close()
