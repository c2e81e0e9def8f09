"""A run is made once and not changed."""

from __future__ import annotations

import dataclasses

import pytest

from tests.fakes.api import FakeApi
from tests.fakes.run import person


def test_a_run_cannot_be_changed(api: FakeApi) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        person(api).kt.user = None  # type: ignore[misc, assignment]
