"""Leaving a router: one's own rows go, the last one ends it, and whatever is not of it stays."""

from __future__ import annotations

import pytest

from ktpy import closing
from ktpy.errors import Unreachable
from ktpy.model import names, routes
from ktpy.model.diversion import given_back, holder_of, selector_of
from ktpy.model.names import SessionId
from ktpy.model.ref import Object, labels_of, uid_of
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.meshes import (
    TABLE,
    a_team,
    has_a_home,
    left_by,
    owners,
    owners_in_pods,
    router_pods,
    same,
    service,
    table,
)
from tests.fakes.run import Person, essence, person

BEFORE = same(a_team())


@pytest.fixture
def api() -> FakeApi:
    """Two meshes in force whose people left no trace but their Leases, Secrets, shadows and rows."""
    return left_by("ana", "bob")


@pytest.fixture
def eve(api: FakeApi) -> Person:
    return person(api, "eve")


def leave(user: Person, session: str, *, late_writes: bool = True, alive: bool = True) -> bool:
    return closing.leave(
        user.cluster, "shop", SessionId(session), linger=0.0, alive=lambda other: alive, late_writes=late_writes
    )


def sweep(user: Person, *dead: str) -> list[str]:
    return closing.sweep(user.cluster, lambda session: session not in dead, linger=0.0)


def lease(api: FakeApi) -> Object:
    found = api.read("Lease", names.lease_name(table(api).router))
    assert found is not None
    return found


def router_is_gone(api: FakeApi) -> bool:
    left = [name for kind in ("ConfigMap", "Deployment", "Service", "Lease") for name in api.names(kind)]
    return not [name for name in left if "router" in name or "stuntman" in name]


def test_one_of_two_leaves_and_every_pod_is_told(api: FakeApi, eve: Person) -> None:
    ana, bob = owners(api)

    assert leave(eve, ana)
    assert owners(api) == (bob,)
    assert owners_in_pods(api) == [(bob,), (bob,)]
    has_a_home(api)


def test_leaving_twice_is_nothing_to_do_but_pods_hear_of_it_if_he_may_be_dead(api: FakeApi, eve: Person) -> None:
    ana, bob = owners(api)
    leave(eve, ana, late_writes=False)
    api.routers.tables.clear()
    version = table(api).table.version

    assert not leave(eve, ana, late_writes=False)
    assert (owners_in_pods(api), table(api).table.version) == ([(), ()], version)
    assert not leave(eve, ana)
    assert owners_in_pods(api) == [(bob,), (bob,)]
    assert table(api).table.version > version  # a row of his that is late meets another version


def test_the_last_one_ends_it_in_this_order(api: FakeApi, eve: Person) -> None:
    ana, bob = owners(api)
    leave(eve, ana)
    eve.wire.calls.clear()
    back: list[dict[str, str]] = []

    closing.leave(
        eve.cluster, "shop", SessionId(bob), linger=0.0, alive=lambda other: True, late_writes=False,
        on_back=lambda: back.append(selector_of(service(api))),
    )  # fmt: skip

    assert back == [things.SELECTOR]
    assert [deed.partition("-0")[0] for deed in eve.wire.calls if not deed.startswith(("get", "list"))] == [
        f"patch ConfigMap {TABLE}", "patch Service shop", "patch Service shop", "ask POST /drain", "ask POST /drain",
        "patch Service shop-kt-stuntman", f"delete Deployment {TABLE}", f"delete ConfigMap {TABLE}",
        "delete Lease ktpy-router",
    ]  # fmt: skip
    assert router_is_gone(api)


@pytest.mark.parametrize("is_held", [False, True])
def test_pods_that_have_never_served_need_not_drain(api: FakeApi, eve: Person, is_held: bool) -> None:
    """One that is being started may not even hear that it is to go; in front of a Service nobody cuts any short."""
    api.drains = True
    young, old = (pod["metadata"]["name"] for pod in router_pods(api))
    api.edit("Pod", young, lambda now: now.update(status={"containerStatuses": [{"started": False}]}))
    if not is_held:
        api.edit("Service", "shop", lambda now: now.update(given_back(now, table(api).router)))

    for session in owners(api):
        leave(eve, session)

    left = {name for name in (young, old) if api.read("Pod", name)}
    assert left == ({young, old} if is_held else {old})
    assert router_pods(api) == []


def test_the_stuntman_stays_until_the_last_router_pod_has_drained(api: FakeApi, eve: Person) -> None:
    api.drains = True
    stunt = names.stuntman_name("shop", table(api).router)

    for session in owners(api):
        leave(eve, session)

    assert stunt in api.names("Service")
    assert selector_of(service(api)) == things.SELECTOR
    api.drained()
    assert stunt not in api.names("Service")
    assert router_is_gone(api)


def test_where_no_router_pod_is_the_stuntman_goes_at_once(api: FakeApi, eve: Person) -> None:
    api.remove("Deployment", TABLE)

    for session in owners(api):
        leave(eve, session)

    assert router_is_gone(api)


def test_a_living_session_that_is_closing_it_is_left_to_it_and_a_dead_one_is_not(api: FakeApi, eve: Person) -> None:
    ana, bob = owners(api)
    closed = routes.struck(table(api), bob, ana)
    api.edit("ConfigMap", TABLE, lambda now: now.update(routes.written(closed, now)))

    assert not leave(eve, ana, alive=True)
    assert holder_of(service(api)) == closed.router
    assert leave(eve, ana, alive=False)
    assert router_is_gone(api)


def test_where_there_is_no_router_there_is_nothing_to_leave(eve: Person) -> None:
    assert not closing.leave(eve.cluster, "cart", SessionId("x"), linger=0.0, alive=lambda other: True)


def test_one_who_has_no_row_does_not_close_what_another_is_opening(api: FakeApi, eve: Person) -> None:
    ana, bob = owners(api)
    opened = routes.without(table(api), ana, bob)
    opened = routes.Routes(opened.router, opened.ktpy, opened.ports, opened.table, opening=ana)
    api.edit("ConfigMap", TABLE, lambda now: now.update(routes.written(opened, now)))

    assert not leave(eve, bob, alive=True)
    assert table(api).closing == ""
    assert leave(eve, bob, alive=False)
    assert router_is_gone(api)


def test_ending_is_idempotent_and_what_failed_goes_on_next_time(api: FakeApi, eve: Person) -> None:
    told = table(api)
    for number in range(1, 12):
        user = person(api, "eve")
        user.wire.fail_at(number, Unreachable("gone"))
        try:
            closing.end(user.cluster, "shop", told.router, told, linger=0.0)
        except Unreachable:
            has_a_home(api)
    assert router_is_gone(api)

    closing.end(eve.cluster, "shop", told.router, None, linger=0.0)
    assert selector_of(service(api)) == things.SELECTOR


def test_what_only_has_the_name_of_a_part_stays(api: FakeApi, eve: Person) -> None:
    told = table(api)
    api.remove("ConfigMap", TABLE)
    theirs = api.put({"kind": "ConfigMap", "metadata": {"name": TABLE, "namespace": "team"}, "data": {}})

    closing.end(eve.cluster, "shop", told.router, told, linger=0.0)

    assert api.read("ConfigMap", TABLE) == theirs
    assert api.read("Deployment", TABLE) is None


def test_a_part_of_a_router_is_known_by_role_session_and_owner(api: FakeApi) -> None:
    router = table(api).router
    part = api.read("ConfigMap", TABLE) or {}
    meta = part["metadata"]

    def wears(**more: object) -> bool:
        return closing.is_of({**part, "metadata": {**meta, **more}}, router)

    assert wears()
    assert not closing.is_of(part, SessionId("router-other"))
    assert not wears(labels={names.SESSION: router})
    assert not wears(ownerReferences=[])
    assert not wears(ownerReferences=[{"kind": "Pod", "name": names.lease_name(router)}])


def test_a_routers_lease_tells_its_service_and_who_keeps_it(api: FakeApi, eve: Person) -> None:
    (found,) = closing.leases(eve.cluster)

    assert found == lease(api)
    assert closing.service_of(found) == "shop"
    assert closing.holders(eve.cluster, found) == set(owners(api))
    api.remove("ConfigMap", TABLE)
    assert closing.holders(eve.cluster, found) == {found["metadata"]["annotations"][names.OPENER]}


def test_a_sweep_strikes_the_dead_and_tells_the_pods(api: FakeApi, eve: Person) -> None:
    ana, bob = owners(api)

    assert sweep(eve) == []
    assert sweep(eve, ana) == [f"rows of {ana} struck from service/shop"]
    assert owners_in_pods(api) == [(bob,), (bob,)]
    assert sweep(eve, ana) == []
    assert sweep(eve, ana, bob) == ["the router of service/shop ended"]
    assert router_is_gone(api)
    assert sweep(eve, ana, bob) == []


def test_a_sweep_ends_what_has_no_table_when_its_opener_is_dead(api: FakeApi, eve: Person) -> None:
    ana, _ = owners(api)
    api.remove("ConfigMap", TABLE)

    assert sweep(eve) == []
    assert sweep(eve, ana) == ["the router of service/shop ended"]
    assert selector_of(service(api)) == things.SELECTOR


def test_a_sweep_leaves_alone_what_it_cannot_read_and_goes_on(api: FakeApi, eve: Person) -> None:
    api.edit("ConfigMap", TABLE, lambda now: now["data"].update({routes.TABLE_KEY: "{}"}))

    (said,) = sweep(eve, *owners_of_leases(api))

    assert "left alone" in said
    assert holder_of(service(api)) is not None


def owners_of_leases(api: FakeApi) -> list[str]:
    return [labels_of(api.read("Lease", name) or {})[names.SESSION] for name in api.names("Lease")]


def test_a_sweep_does_not_touch_a_younger_generation(api: FakeApi, eve: Person) -> None:
    """A router's Lease that was left over, while another router stands in front of the Service."""
    old = {**lease(api), "metadata": {**lease(api)["metadata"], "name": "ktpy-router-old"}}
    old["metadata"]["labels"] = {names.ROLE: names.ROLE_ROUTER, names.SESSION: "router-old"}
    old["metadata"]["annotations"] = {**old["metadata"]["annotations"], names.OPENER: "ana-gone"}
    api.put(old)
    held, pods = table(api), [uid_of(pod) for pod in router_pods(api)]

    assert sweep(eve, "ana-gone") == ["the router of service/shop ended"]

    assert table(api) == held
    assert [uid_of(pod) for pod in router_pods(api)] == pods
    assert holder_of(service(api)) == held.router
    assert "ktpy-router-old" not in api.names("Lease")


def test_after_all_have_left_the_namespace_is_as_it_was_but_for_their_own_parts(api: FakeApi, eve: Person) -> None:
    for session in owners(api):
        leave(eve, session)
    for name in api.names("Lease"):
        api.remove("Lease", name)

    assert same(api) == BEFORE
    assert essence(api).keys() == BEFORE.keys()
