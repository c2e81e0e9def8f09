"""Fixtures that every folder of tests may use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fakes.api import FakeApi


@pytest.fixture
def api() -> FakeApi:
    """An API server in memory with the empty namespace `team`."""
    from tests.fakes.api import FakeApi  # here, since the router's tests run where ktpy's libraries are not

    return FakeApi()
