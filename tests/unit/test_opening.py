"""A router found or set up: what it is made of, and that a failure leaves nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from ktpy import opening
from ktpy.errors import Taken, Unreachable
from ktpy.model import ports
from ktpy.model.diversion import selector_of
from ktpy.model.front import Front
from ktpy.model.names import SessionId
from ktpy.model.ref import Ref
from ktpy.model.routes import Routes
from ktpy.session import Session
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.meshes import TABLE, a_team, same, service, table
from tests.fakes.run import Person, person

SHOP = Ref("Service", "shop", "team")
BEFORE = same(a_team())


@pytest.fixture
def api() -> FakeApi:
    return a_team()


@pytest.fixture
def ana(api: FakeApi) -> Person:
    return person(api, timeout=0.2)


class NoWait:
    def wait(self, seconds: float) -> bool:
        return False


def front(api: FakeApi) -> Front:
    return Front(service(api), ports.ports_of(service(api), []))


@contextlib.contextmanager
def opened(user: Person) -> Iterator[tuple[Session, tuple[Routes, bool]]]:
    with Session.open(user.kt, "mesh", SHOP) as session:
        yield session, opening.found_or_opened(user.kt, session, front(user.wire.api))


def test_its_objects_are_stuntman_table_and_deployment(api: FakeApi, ana: Person) -> None:
    owner = {"metadata": {"name": "ktpy-router-1", "namespace": "team", "uid": "u"}, "kind": "Lease",
             "apiVersion": "coordination.k8s.io/v1"}  # fmt: skip
    stunt, config, deployment = opening.objects(ana.kt, front(api), SessionId("router-1"), owner)

    assert selector_of(stunt) == things.SELECTOR
    assert config["metadata"]["name"] == deployment["metadata"]["name"] == TABLE
    assert deployment["spec"]["replicas"] == ana.kt.router.replicas
    stunt["spec"]["clusterIP"] = "10.0.0.9"
    new = opening.new_routes(front(api), SessionId("router-1"), stunt)
    assert (new.table.rows, new.table.ports[0].default) == ((), "10.0.0.9:80")


def test_a_router_that_is_only_opened_is_away_with_its_session(api: FakeApi, ana: Person) -> None:
    with opened(ana) as (session, _):
        assert table(api).opening == session.id

    assert same(api) == BEFORE


@pytest.mark.parametrize("kind", ["Service", "ConfigMap", "Deployment"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_opening_that_fails_leaves_nothing(api: FakeApi, ana: Person, kind: str, when: str) -> None:
    def fail(deed: str) -> None:
        if deed.startswith(f"create {kind}") and "create Lease" in ana.wire.calls:
            ana.wire.before = lambda deed: None
            ana.wire.fail_at(len(ana.wire.calls) + 1, Unreachable("gone"), when=when)

    ana.wire.before = fail
    with pytest.raises(Unreachable), opened(ana):
        pytest.fail("it did not answer")

    assert same(api) == BEFORE


def test_an_opening_whose_first_answer_is_lost_leaves_nothing(api: FakeApi, ana: Person) -> None:
    def fail(deed: str) -> None:
        if deed == "create Lease" and "create Lease" in ana.wire.calls:
            ana.wire.fail_at(len(ana.wire.calls) + 1, Unreachable("gone"), when="after")

    ana.wire.before = fail
    with pytest.raises(Unreachable), opened(ana):
        pytest.fail("it did not answer")

    assert ana.wire.calls.count("create Lease") == 2
    assert same(api) == BEFORE


def test_an_opening_that_can_take_nothing_away_at_once_does_so_with_its_session(
    api: FakeApi, ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ktpy.session.Stop", NoWait)
    away: list[str] = []

    def fail(deed: str) -> None:
        if (deed == "create ConfigMap" or away) and len(away) < 4:
            away.append(deed)
            raise Unreachable("gone")

    ana.wire.before = fail
    with pytest.raises(Unreachable), opened(ana):
        pytest.fail("it did not answer")

    assert len(away) == 4
    assert same(api) == BEFORE


@pytest.mark.parametrize("kind", ["ConfigMap", "Deployment"])
def test_a_name_that_is_somebody_elses_is_told(api: FakeApi, ana: Person, kind: str) -> None:
    """KT-Connect's router has the same."""
    theirs = api.put({"kind": kind, "metadata": {"name": TABLE, "namespace": "team"}, "spec": {}})

    with pytest.raises(Taken, match=f"{kind.lower()}/{TABLE} is there already and is not ktpy's"), opened(ana):
        pytest.fail("it is not free")

    assert api.read(kind, TABLE) == theirs
    api.remove(kind, TABLE)
    assert same(api) == BEFORE
