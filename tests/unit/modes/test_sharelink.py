"""A share link: beside the row as long as that is there, refused before anything is made, and never left behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from ktpy import undo
from ktpy.errors import Conflict, Forbidden, Taken
from ktpy.model import marks, names, routes
from ktpy.model.events import Note, Step
from ktpy.model.ref import Object
from ktpy.model.rights import INGRESS
from ktpy.model.sharelink import Link as Wanted
from ktpy.modes import sharelink
from ktpy.modes.link import Link
from ktpy.modes.mesh import Plan, looked, mesh, steps
from ktpy.upkeep.birdseye import birdseye
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.meshes import SHOP, a_team, cleaned, meshed, soon, table
from tests.fakes.run import Person, essence, person

NAME = "shop-link-ana"


@pytest.fixture
def api() -> FakeApi:
    return a_team()


@pytest.fixture
def ana(api: FakeApi) -> Person:
    return person(api)


def plan_of(user: Person, flags: Any = (), **more: Any) -> Plan:
    match = marks.match(None, flags, lambda: user.kt.user.name)
    return looked(user.kt, SHOP, (), match, link=Wanted(add=marks.added(match), **more))


@contextmanager
def linked(user: Person, **more: Any) -> Iterator[Link]:
    with mesh(user.kt, plan_of(user, **more)) as link:
        yield link


def shared(api: FakeApi, name: str = NAME) -> Object:
    found = api.read("Service", name)
    assert found is not None
    return found


def test_looking_changes_nothing(api: FakeApi, ana: Person) -> None:
    before = essence(api)

    plan = plan_of(ana)

    assert essence(api) == before
    assert "create Service (dry run)" in " ".join(ana.wire.changes())
    assert plan.link == Wanted(NAME, (("version", "ana"),))
    assert [deed for deed, _, _ in steps(ana.kt, plan)][-1] == f"create service/{NAME}"


def test_it_is_there_while_the_mesh_is_with_a_port_of_its_own(api: FakeApi, ana: Person) -> None:
    before = essence(api)

    with linked(ana) as link:
        found = table(api)
        mine, its = found.table.rows
        assert (its.owner, its.conditions, its.add) == (link.session.id, (), ((b"version", b"ana"),))
        (port,) = its.to
        assert port in found.ports.links
        spec = shared(api)["spec"]
        assert [(one["port"], one["targetPort"]) for one in spec["ports"]] == [(80, port)]
        assert spec["selector"] == {names.ROLE: names.ROLE_ROUTER, names.SESSION: found.router}
        assert list(its.to.values()) == list(mine.to.values())
        assert any(isinstance(event, Step) and event.name == "link" for event in ana.told)

    assert essence(api) == before


def test_two_have_ports_of_their_own_and_a_mesh_without_one_has_none(api: FakeApi, ana: Person) -> None:
    bob = person(api, "bob")
    with linked(ana), linked(bob), meshed(person(api, "eve")):
        targets = {shared(api, f"shop-link-{who}")["spec"]["ports"][0]["targetPort"] for who in ("ana", "bob")}
        assert len(targets) == 2
        assert len(table(api).table.rows) == 5
    assert api.names("Service") == ["cart", "shop"]


def test_a_shadow_that_is_replaced_takes_the_link_with_it(api: FakeApi, ana: Person) -> None:
    with linked(ana) as link:
        port = shared(api)["spec"]["ports"][0]["targetPort"]
        api.remove("Pod", link.shadow.name)

        def has_moved() -> bool:
            mine, its = table(api).table.rows
            return link.address in mine.to[8080] and its.to == {port: mine.to[8080]} and "-r2" in link.shadow.name

        assert soon(has_moved, ana)


def test_a_mark_that_no_header_makes_is_a_link_that_adds_nothing(api: FakeApi, ana: Person) -> None:
    with mesh(ana.kt, plan_of(ana, [("path", "/api")])):
        _, its = table(api).table.rows
        assert (its.conditions, its.add) == ((), ())


def test_a_host_needs_its_rights_and_makes_an_ingress(api: FakeApi, ana: Person) -> None:
    before = essence(api)
    with pytest.raises(Forbidden, match="create ingresses"):
        plan_of(ana, host="web.example.com")
    assert ana.wire.changes() == []

    ana.wire.rights |= {str(right) for right in INGRESS}
    with linked(ana, host="web.example.com"):
        (rule,) = (api.read("Ingress", NAME) or {})["spec"]["rules"]
        assert rule["host"] == "web.example.com"
    assert essence(api) == before


def test_a_name_that_is_taken_is_refused_before_anything_is_made(api: FakeApi, ana: Person) -> None:
    api.put(things.service(NAME))
    before = essence(api)

    with pytest.raises(Taken, match=f"service/{NAME} exists already"):
        plan_of(ana)

    assert essence(api) == before


def test_a_name_that_is_taken_in_the_last_moment_gives_everything_back(api: FakeApi, ana: Person) -> None:
    plan = plan_of(ana)
    api.put(things.service(NAME))
    before = essence(api)

    with pytest.raises(Taken, match=f"service/{NAME} exists already"), mesh(ana.kt, plan):
        pass

    assert essence(api) == before


def test_more_links_than_ports_are_refused_and_the_others_stay(api: FakeApi, ana: Person) -> None:
    with linked(ana):
        api.edit("ConfigMap", "shop-kt-router", _with_one_link_port)
        bob = person(api, "bob")
        full = "All 1 link ports of the router of service/shop are in use, by ana"
        with pytest.raises(Taken, match=full):
            plan_of(bob)
        assert bob.wire.changes() == []


def test_the_last_port_may_go_between_looking_and_joining(api: FakeApi, ana: Person) -> None:
    with meshed(person(api, "eve")):
        api.edit("ConfigMap", "shop-kt-router", _with_one_link_port)
        bob = person(api, "bob")
        plan = plan_of(bob)
        with linked(ana):
            with pytest.raises(Taken, match="link ports"), mesh(bob.kt, plan):
                pass
            assert len(table(api).table.rows) == 3


def test_a_router_that_knows_no_links_is_told_before_anything_is_made(api: FakeApi, ana: Person) -> None:
    with meshed(person(api, "eve")):
        api.edit("ConfigMap", "shop-kt-router", lambda now: _with_links(now, 0))
        with pytest.raises(Taken, match="knew no share links"):
            plan_of(ana)


def _with_one_link_port(now: Object) -> None:
    _with_links(now, 1)


def _with_links(now: Object, number: int) -> None:
    found = routes.read(now)
    few = replace(found, ports=replace(found.ports, links=found.ports.links[:number]))
    now["data"] = routes.written(few, now)["data"]


def test_what_kill_9_leaves_is_swept_by_a_colleagues_clean(api: FakeApi, ana: Person) -> None:
    before = essence(api)
    with linked(ana):
        wreck = api.snapshot()

    cleaned(wreck)

    assert essence(wreck) == before


def test_one_whose_lease_went_without_it_is_swept_too(api: FakeApi) -> None:
    """`kubectl delete lease --cascade=orphan`."""
    before = essence(api)
    api.put(shared_as("ana-1"))
    assert [holder.session for holder in undo.sessions(person(api, "bob").cluster)] == ["ana-1"]

    cleaned(api)

    assert essence(api) == before


def shared_as(session: str) -> Object:
    """A link of SESSION that nobody owns."""
    made = things.service(NAME)
    labels = {names.ROLE: names.ROLE_LINK, names.SESSION: session}
    return {**made, "metadata": {**made["metadata"], "labels": labels, "annotations": {names.SELF: NAME}}}


@pytest.mark.parametrize(("selector", "told"), [({}, True), ({"matchLabels": {names.ROLE: "shadow"}}, False)])
def test_policies_that_are_for_the_router_too_are_told(api: FakeApi, ana: Person, selector: Object, told: bool) -> None:
    spec = {"podSelector": selector, "policyTypes": ["Ingress"], "ingress": [{}]}
    api.put({"kind": "NetworkPolicy", "metadata": {"name": "open", "namespace": "team"}, "spec": spec})

    plan_of(ana)

    assert told is any(isinstance(e, Note) and "other pods may not reach the link" in e.text for e in ana.told)


def test_a_copy_of_a_link_is_its_owners(api: FakeApi, ana: Person) -> None:
    with linked(ana):
        saved = shared(api)
        copy = {**saved, "metadata": {**saved["metadata"], "name": "copied", "ownerReferences": []}}
        api.put(copy)

    assert api.read("Service", "copied")
    cleaned(api)
    assert api.read("Service", "copied")


def test_birdseye_shows_it_with_its_owner_and_not_among_the_services(api: FakeApi, ana: Person) -> None:
    with linked(ana):
        lines = birdseye(ana.kt)

    assert [line.target for line in lines] == ["service/cart", "service/shop"]
    assert [share.link for share in lines[1].shares] == [NAME]


def test_an_address_that_does_not_answer_yet_is_told(api: FakeApi, ana: Person, monkeypatch) -> None:
    monkeypatch.setattr(sharelink, "FOLLOW_SECONDS", 0.0)
    monkeypatch.setattr(sharelink, "KNOCK_SECONDS", 0.001)
    plan = plan_of(ana)
    monkeypatch.setattr("ktpy.modes.link.Link.knock", lambda *_: False)

    with mesh(ana.kt, plan):
        assert any(isinstance(e, Note) and f"service/{NAME} was not yet seen to answer" in e.text for e in ana.told)


def test_it_is_tried_again_to_take_it_away(api: FakeApi, ana: Person, monkeypatch) -> None:
    before, failed = essence(api), []

    def flaky(deed: str) -> None:
        if deed == f"delete Service {NAME}" and not failed:
            failed.append(deed)
            raise Conflict("somebody was quicker")

    monkeypatch.setattr("ktpy.session.GIVE_BACK_SECONDS", 3.0)
    with linked(ana):
        ana.wire.before = flaky

    assert failed
    assert essence(api) == before
