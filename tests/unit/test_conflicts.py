"""Whose the requests are already, and who has the link ports: the refusals name them and what to type."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ktpy.conflicts import no_link_port, same_mark
from ktpy.model import ports
from ktpy.model.front import Front
from ktpy.session import Session
from ktpy_router.match import Condition
from ktpy_router.table import Row
from tests.fakes.api import FakeApi
from tests.fakes.meshes import a_team, left_by, service, table
from tests.fakes.run import Person, person
from tests.unit.test_router import SHOP


@pytest.fixture
def api() -> FakeApi:
    return a_team()


@pytest.fixture
def ana(api: FakeApi) -> Person:
    return person(api)


def front(api: FakeApi) -> Front:
    return Front(service(api), ports.ports_of(service(api), []))


@pytest.mark.parametrize(("mark", "words"), [("blue", "mark 'blue' go to session"), ("", "service/shop is held by")])
def test_the_same_requests_are_refused_with_whose_they_are(api: FakeApi, ana: Person, mark: str, words: str) -> None:
    with Session.open(ana.kt, "mesh", SHOP) as session:
        conditions = (Condition("header", "version", "exact", mark),) if mark else ()
        told = same_mark(ana.kt, front(api), Row(session.id, mark, session.id, 0, conditions, {8080: "10.1.0.1:8080"}))

    assert words in told.what
    assert "ana on ana-laptop" in told.what
    assert any("ask ana" in words for words in told.try_)


def test_a_router_without_link_ports_is_told_by_its_version_and_one_without_free_ones_by_who_has_them() -> None:
    api = left_by("ana")
    found = table(api)
    (row,) = found.table.rows
    full = replace(found, table=replace(found.table, rows=(row, replace(row, id=f"{row.id}-link"))))

    assert (
        f"All 8 link ports of the router of service/shop are in use, by {row.owner}."
        in no_link_port(front(api), full).what
    )
    old = replace(found, ktpy="0.0.9", ports=replace(found.ports, links=()))
    assert "a ktpy (0.0.9) that knew no share links" in no_link_port(front(api), old).what
