"""`birdseye` says who holds what, since when, and whether they live."""

from __future__ import annotations

from ktpy.upkeep.birdseye import Row, birdseye
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.left import ktctl_on, wreck_of
from tests.fakes.run import person


def test_free_services_come_last_and_can_be_left_out(api: FakeApi) -> None:
    wreck = wreck_of(api, after=5)
    wreck.put(things.service("a-free-one"))

    rows = birdseye(person(wreck, "bob").kt)

    assert [(row.service, row.held) for row in rows] == [("service/shop", "exchange"), ("service/a-free-one", "free")]
    assert [row.service for row in birdseye(person(wreck).kt, only_taken=True)] == ["service/shop"]


def test_a_holder_is_named_with_his_age(api: FakeApi) -> None:
    (row,) = birdseye(person(wreck_of(api, after=5), "bob").kt)

    assert (row.owner, row.host, row.state) == ("ana", "ana-laptop", "alive")
    assert (row.for_seconds, row.seen_seconds) == (5.0, 5.0)


def test_a_silent_holder_is_told(api: FakeApi) -> None:
    (row,) = birdseye(person(wreck_of(api, after=40)).kt)

    assert row.state == "silent"


def test_a_holder_without_a_lease_has_ended(api: FakeApi) -> None:
    wreck = wreck_of(api)
    wreck.remove("Lease", wreck.names("Lease")[0], orphan=True)

    (row,) = birdseye(person(wreck).kt)

    assert (row.service, row.state, row.seen_seconds) == ("service/shop", "ended", None)


def test_a_session_that_holds_nothing_yet_is_shown(api: FakeApi) -> None:
    wreck = wreck_of(api, after=1)
    wreck.edit("Service", "shop", lambda now: now["spec"].update(selector=dict(things.SELECTOR)))

    rows = birdseye(person(wreck).kt)

    assert [(row.service, row.held) for row in rows] == [("(service/shop)", "exchange"), ("service/shop", "free")]


def test_ktctls_hold_is_shown(api: FakeApi) -> None:
    ktctl_on(api, beat=api.time - 60)
    ktctl_on(api, beat=api.time - 600, service="old")

    assert birdseye(person(api).kt) == [
        Row("service/old", "ktctl", state="silent", seen_seconds=600.0),
        Row("service/shop", "ktctl", state="alive", seen_seconds=60.0),
    ]
