"""Fixtures of the end-to-end tests: the built wheel, the real node, a strict namespace, two users, a laptop process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import manifests, wheel
from tests.e2e.harness.client import InCluster
from tests.e2e.harness.laptop import Server, serving
from tests.e2e.harness.node import Node
from tests.e2e.harness.people import Person
from tests.e2e.harness.space import Space, opened


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """The cluster that was asked for; a sentence where it is not up."""
    with Node.found() as found:
        yield found


@pytest.fixture(scope="session")
def venv() -> Path:
    """A bare environment with the wheel of this checkout."""
    return wheel.installed()


@pytest.fixture(scope="module")
def space(node: Node, venv: Path) -> Iterator[Space]:
    """A namespace that the tests of a module share: each leaves it as it was."""
    with opened(node, venv, *manifests.SHOP) as found:
        yield found


@pytest.fixture
def fresh(node: Node, venv: Path) -> Iterator[Space]:
    """A namespace of the test's own, with the shop."""
    with opened(node, venv, *manifests.SHOP) as found:
        yield found


@pytest.fixture
def ana(space: Space) -> Person:
    return space.person("ana")


@pytest.fixture
def bob(space: Space) -> Person:
    return space.person("bob")


@pytest.fixture
def client(space: Space) -> InCluster:
    return space.client()


@pytest.fixture(scope="module")
def server(space: Space) -> Iterator[Server]:
    """The laptop's own shop, as ana."""
    with serving(space.person("ana")) as found:
        yield found
