"""Fixtures that every folder of tests may use."""

from __future__ import annotations

import pytest

from tests.fakes.api import FakeApi


@pytest.fixture
def api() -> FakeApi:
    """An API server in memory with the empty namespace `team`."""
    return FakeApi()
