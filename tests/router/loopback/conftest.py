"""Ends the containers that tests shared."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.router.loopback import image


@pytest.fixture(scope="session", autouse=True)
def containers() -> Iterator[None]:
    with image.RUNNING:
        yield
