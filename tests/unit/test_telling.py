"""What is told on a Service: after the deed, by whoever did it, and never at the run's expense."""

from __future__ import annotations

import dataclasses

import pytest

from ktpy import undo
from ktpy.errors import Forbidden, Taken, Unreachable
from ktpy.model import happened
from ktpy.model.marks import EVERYTHING, match
from ktpy.model.names import DEAD_SECONDS
from ktpy.model.ref import Object
from ktpy.model.target import Target
from ktpy.modes.exchange import exchange, looked
from ktpy.modes.mesh import looked as looked_shared
from ktpy.modes.mesh import mesh
from ktpy.session import Session
from ktpy.telling import ended, told
from ktpy.upkeep.clean import clean, dead
from ktpy.upkeep.recover import recover
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.left import wreck_of
from tests.fakes.run import Person, person, still

SHOP = Target("Service", "shop")


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    api.put(things.service())
    api.put(things.pod("shop-1"))
    return api


def events(api: FakeApi) -> list[Object]:
    return [api.read("Event", name) or {} for name in api.names("Event")]


def said(api: FakeApi) -> list[tuple[str, str]]:
    return [(event["reason"], event["message"]) for event in events(api)]


def reasons(api: FakeApi) -> list[str]:
    return sorted(event["reason"] for event in events(api))


def run(ana: Person, api: FakeApi) -> None:
    """A session that has the Service for a moment."""
    with (
        Session.open(ana.kt, "exchange", ana.cluster.ref("Service", "shop")) as session,
        told(session, api.read("Service", "shop") or {}) as taken,
    ):
        taken(lambda who: happened.taken(who, EVERYTHING))


def test_taking_and_giving_back_are_told_on_the_service(api: FakeApi) -> None:
    run(person(api), api)

    assert sorted(said(api)) == [
        ("KtpyExchanged", "ana on ana-laptop answers all requests (ktpy exchange)"),
        ("KtpyGivenBack", "ana on ana-laptop has given it back (ktpy exchange)"),
    ]
    uid = (api.read("Service", "shop") or {})["metadata"]["uid"]
    assert {event["involvedObject"]["uid"] for event in events(api)} == {uid}


def test_what_was_never_taken_is_not_given_back(api: FakeApi) -> None:
    ana = person(api)
    with (
        Session.open(ana.kt, "exchange", ana.cluster.ref("Service", "shop")) as session,
        told(session, api.read("Service", "shop") or {}),
    ):
        pass

    assert events(api) == []


def test_who_was_ended_by_somebody_else_does_not_say_that_he_gave_it_back(api: FakeApi) -> None:
    ana = person(api)
    with (
        Session.open(ana.kt, "exchange", ana.cluster.ref("Service", "shop")) as session,
        told(session, api.read("Service", "shop") or {}) as taken,
    ):
        taken(lambda who: happened.taken(who, EVERYTHING))
        ana.kt.stop.ask("taken", error=Taken("Session ana-1 was ended by bob."))

    assert reasons(api) == ["KtpyExchanged"]


@pytest.mark.parametrize("failure", [Forbidden("no create on events"), Unreachable("no answer")])
def test_a_failure_to_tell_is_nobodys(api: FakeApi, failure: Exception) -> None:
    ana = person(api)

    def refuse(deed: str) -> None:
        if deed == "create Event":
            raise failure

    ana.wire.before = refuse
    run(ana, api)

    assert (events(api), ana.kt.stop.error) == ([], None)


def test_without_the_right_a_run_goes_as_ever(api: FakeApi) -> None:
    ana = person(api)
    ana.wire.rights.discard("create events")

    with exchange(ana.kt, looked(ana.kt, SHOP, ())):
        pass

    assert (events(api), ana.kt.stop.error) == ([], None)


def test_an_exchange_is_told_once_it_is_in_force(api: FakeApi) -> None:
    ana = person(api)
    with exchange(ana.kt, looked(ana.kt, SHOP, ())):
        assert still(lambda: reasons(api) == ["KtpyExchanged"], ana.kt.stop)

    assert reasons(api) == ["KtpyExchanged", "KtpyGivenBack"]


def test_a_mesh_is_told_with_its_mark(api: FakeApi) -> None:
    ana = person(api)
    with mesh(ana.kt, looked_shared(ana.kt, SHOP, (), match("ana", [], str))):
        pass

    assert sorted(said(api)) == [
        ("KtpyGivenBack", "ana on ana-laptop has given it back (ktpy mesh)"),
        ("KtpyMeshed", "ana on ana-laptop answers requests with version: ana (ktpy mesh)"),
    ]


def test_whoever_ends_anothers_session_says_so(api: FakeApi) -> None:
    for number, way in enumerate(("clean", "recover", "--take-over")):
        wreck = wreck_of(api)
        wreck.time += number
        bob = person(wreck, "bob")
        if way == "clean":
            clean(bob.kt, dead(bob.kt, DEAD_SECONDS), older_than=DEAD_SECONDS)
        elif way == "recover":
            recover(bob.kt, None, force=False, ask=lambda question: False)
        else:
            looked(bob.kt, SHOP, (), take_over=True)

        (message,) = [message for reason, message in said(wreck) if reason == "KtpyEnded"]
        assert "ana on ana-laptop" in message
        assert "was ended by bob on bob-laptop (" in message
        assert way in message


def test_the_end_of_a_session_that_was_for_no_service_or_one_that_is_gone_is_not_told(api: FakeApi) -> None:
    wreck = wreck_of(api)
    bob = person(wreck, "bob")
    (holder,) = undo.sessions(bob.cluster)
    wreck.remove("Service", "shop")
    before = len(events(wreck))

    for target in ("service/shop", "namespace/team", ""):
        ended(bob.kt, dataclasses.replace(holder, target=target), "bob")

    assert len(events(wreck)) == before


def test_the_end_is_not_told_where_the_service_cannot_be_read(api: FakeApi) -> None:
    bob = person(wreck_of(api), "bob")
    (holder,) = undo.sessions(bob.cluster)
    bob.wire.fail_at(len(bob.wire.calls) + 1, Unreachable("no answer"))

    ended(bob.kt, holder, "bob")
