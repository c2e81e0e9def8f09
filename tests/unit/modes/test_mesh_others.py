"""Meshes that meet each other: the same mark, what the dead have left, routers that close or were never finished."""

from __future__ import annotations

import contextlib
import threading

import pytest

from ktpy.errors import KtError, Taken
from ktpy.model import routes
from ktpy.model.events import Note
from ktpy.model.names import DEAD_SECONDS
from ktpy.modes.mesh import mesh
from tests.fakes.api import FakeApi
from tests.fakes.meshes import TABLE, a_team, cleaned, is_meshed_for, meshed, owners, plan_of, table
from tests.fakes.run import Person, essence, person
from tests.fakes.wire import Killed


@pytest.fixture
def api() -> FakeApi:
    return a_team()


@pytest.fixture
def ana(api: FakeApi) -> Person:
    return person(api)


@pytest.fixture
def bob(api: FakeApi) -> Person:
    return person(api, "bob")


def test_a_mark_that_a_living_colleague_has_is_refused_with_his_name_and_host(
    api: FakeApi, ana: Person, bob: Person
) -> None:
    with meshed(ana, "blue") as link:
        with pytest.raises(Taken, match=rf"mark 'blue' go to session {link.session.id} .*ana on ana-laptop"):
            plan_of(bob, "blue")
        with meshed(bob, "green") as other:
            assert is_meshed_for(api, link, other)


def test_a_mark_that_a_colleague_takes_between_look_and_join_is_refused(api: FakeApi, ana: Person, bob: Person) -> None:
    plan = plan_of(bob, "blue")

    with meshed(ana, "blue") as link:
        with pytest.raises(Taken, match="ana on ana-laptop"), mesh(bob.kt, plan):
            pytest.fail("one of the two would get nothing")
        assert is_meshed_for(api, link)


def dead_mesh_of(api: FakeApi, mark: str) -> FakeApi:
    """What kill -9 left half a minute ago."""
    with meshed(person(api), mark):
        wreck = api.snapshot()
    wreck.time += DEAD_SECONDS + 1
    return wreck


def test_a_mark_of_the_dead_is_taken_over(api: FakeApi) -> None:
    before, wreck = essence(api), dead_mesh_of(api, "blue")
    bob = person(wreck, "bob")

    with meshed(bob, "blue") as link:
        assert is_meshed_for(wreck, link)
        assert any("had mark 'blue' and was ended" in event.text for event in bob.told if isinstance(event, Note))

    assert essence(wreck) == before


@pytest.mark.parametrize("mark", ["blue", "green"])
def test_a_row_of_somebody_whose_lease_is_gone_is_in_nobodys_way(api: FakeApi, mark: str) -> None:
    wreck = dead_mesh_of(api, "blue")
    wreck.remove("Lease", next(name for name in wreck.names("Lease") if "ana" in name))

    with meshed(person(wreck, "bob"), mark) as link:
        assert link.session.id in owners(wreck)
        cleaned(wreck, alive=link)
        assert is_meshed_for(wreck, link)


def closing(api: FakeApi) -> FakeApi:
    """A mesh of ana's that was killed after it had struck its row and before the Service was given back."""
    ana = person(api)
    with contextlib.suppress(Killed), meshed(ana):
        ana.wire.before = lambda deed: ana.wire.die() if deed == "patch Service shop" else None
    assert table(api).closing
    return api


def test_a_router_that_a_dead_session_was_closing_is_closed_by_who_comes_next(api: FakeApi) -> None:
    before = essence(api)
    wreck = closing(api)
    old = table(wreck).router
    wreck.time += DEAD_SECONDS + 1

    with meshed(person(wreck, "bob")) as link:
        assert table(wreck).router != old
        assert is_meshed_for(wreck, link)

    cleaned(wreck)
    assert essence(wreck) == before


@pytest.mark.parametrize("part", ["ConfigMap", "Deployment"])
def test_a_router_whose_opener_died_before_it_stood_is_ended_by_who_comes_next(api: FakeApi, part: str) -> None:
    before, ana = essence(api), person(api)
    ana.wire.before = lambda deed: ana.wire.die() if deed == f"create {part}" and "dry" not in deed else None
    with contextlib.suppress(Killed), meshed(ana):
        pytest.fail("it is dead")
    api.time += DEAD_SECONDS + 1

    with meshed(person(api, "bob")) as link:
        assert is_meshed_for(api, link)

    cleaned(api)
    assert essence(api) == before


def test_a_router_that_is_being_closed_is_waited_for(api: FakeApi, ana: Person, bob: Person) -> None:
    before, at_it, go_on = essence(api), threading.Event(), threading.Event()

    def slowly(deed: str) -> None:
        if deed == "patch Service shop" and not at_it.is_set():
            at_it.set()
            assert go_on.wait(10)

    def leave() -> None:
        stack.__exit__(None, None, None)

    stack = meshed(ana)
    stack.__enter__()
    old = table(api).router
    ana.wire.before = slowly
    leaving = threading.Thread(target=leave)
    leaving.start()
    assert at_it.wait(10)
    plan = plan_of(bob)
    threading.Timer(0.15, go_on.set).start()
    with mesh(bob.kt, plan) as link:
        assert go_on.is_set()
        assert table(api).router != old
        assert is_meshed_for(api, link)
        leaving.join(10)
        assert is_meshed_for(api, link)
    assert essence(api) == before


def test_a_router_that_is_closed_for_ever_is_told(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ktpy.opening.CLOSING_SECONDS", 0.0)
    wreck = closing(api)  # its owner beat a moment ago

    with pytest.raises(Taken, match="is being ended and does not end"), meshed(person(wreck, "bob")):
        pytest.fail("it is closed")


def test_a_table_of_a_newer_ktpy_is_refused_with_both_versions(api: FakeApi, ana: Person, bob: Person) -> None:
    with meshed(ana) as link:
        found = api.read("ConfigMap", TABLE) or {}
        state = found["data"][routes.STATE_KEY]
        newer = state.replace('"v": 1', '"v": 2').replace(f'"ktpy": "{table(api).ktpy}"', '"ktpy": "9.1.0"')
        api.edit("ConfigMap", TABLE, lambda now: now["data"].update({routes.STATE_KEY: newer}))

        with pytest.raises(KtError, match=r"ktpy 9\.1\.0, which is newer than .*\d+\.\d+"):
            plan_of(bob)

        api.edit("ConfigMap", TABLE, lambda now: now["data"].update({routes.STATE_KEY: state}))
        assert is_meshed_for(api, link)
