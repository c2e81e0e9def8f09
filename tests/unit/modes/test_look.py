"""Everything that could stand in the way is seen before anything is changed."""

from __future__ import annotations

import pytest

from ktpy.errors import Forbidden, KtError, NotFound, Taken
from ktpy.model import ktctl
from ktpy.model.diversion import selector_of
from ktpy.model.names import ALLOW, DEAD_SECONDS
from ktpy.model.ports import Expose, PodPort, Route, ServicePort
from ktpy.model.ref import Object
from ktpy.model.rights import needed
from ktpy.model.target import Target
from ktpy.modes import look
from tests.fakes import meshes, things
from tests.fakes.api import FakeApi
from tests.fakes.run import Person, person


@pytest.fixture
def ana(api: FakeApi) -> Person:
    api.put(things.service())
    api.put(things.deployment())
    return person(api)


@pytest.mark.parametrize("wanted", [Target("Service", "shop"), Target("Deployment", "shop")])
def test_a_service_is_found_by_its_name_or_by_what_is_behind_it(ana: Person, wanted: Target) -> None:
    assert look.service_for(ana.kt, wanted)["metadata"]["name"] == "shop"


def test_a_wrong_name_is_answered_with_near_ones(ana: Person) -> None:
    with pytest.raises(NotFound) as refused:
        look.service_for(ana.kt, Target("Service", "shp"))

    assert refused.value.try_ == ("ktpy exchange shop      did you mean this?",)


def test_a_wrong_name_is_told_though_nothing_may_be_listed(ana: Person) -> None:
    ana.wire.rights -= {"list services"}

    with pytest.raises(NotFound, match="There is no service/shp in namespace team"):
        look.service_for(ana.kt, Target("Service", "shp"))


def test_a_service_without_selector_is_refused(api: FakeApi) -> None:
    api.put(things.service(selector={}))

    with pytest.raises(KtError, match="no selector"):
        look.service_for(person(api).kt, Target("Service", "shop"))


def test_the_pods_behind_are_those_that_the_owner_selected(api: FakeApi, ana: Person) -> None:
    api.put(things.pod("shop-1"))
    api.put(things.pod("cart-1", labels={"app": "cart"}))

    found = look.pods_behind(ana.kt, look.service_for(ana.kt, Target("Service", "shop")))

    assert [pod["metadata"]["name"] for pod in found] == ["shop-1"]


def test_missing_rights_are_named_each(ana: Person) -> None:
    look.must_have_rights(ana.kt, needed("pods", "leases"))
    ana.wire.rights -= {"create pods/portforward", "patch leases.coordination.k8s.io"}

    with pytest.raises(Forbidden, match="patch leases.coordination.k8s.io, create pods/portforward") as refused:
        look.must_have_rights(ana.kt, needed("leases", "pods"))

    assert "doctor --print-role" in refused.value.try_[0]


def held_by_ktctl(api: FakeApi, *, beat: float) -> Object:
    api.put(
        things.pod("shop-kt-x", labels={"control-by": "kt"},
                   annotations={ktctl.CONFIG: "service=shop", ktctl.BEAT: str(int(beat))})
    )  # fmt: skip
    return api.edit("Service", "shop", lambda now: now["metadata"].update(annotations={ktctl.SELECTOR: "{}"}))


def test_a_running_ktctl_is_respected(api: FakeApi, ana: Person) -> None:
    service = held_by_ktctl(api, beat=api.time - 60)

    with pytest.raises(Taken, match="running ktctl, seen 60 s ago"):
        look.must_be_free(ana.kt, service, take_over=True)


def test_a_dead_ktctl_is_named_with_the_way_out(api: FakeApi, ana: Person) -> None:
    service = held_by_ktctl(api, beat=api.time - 600)

    with pytest.raises(Taken, match="dead ktctl") as refused:
        look.must_be_free(ana.kt, service, take_over=True)

    assert refused.value.try_ == ("ktpy recover shop",)


def test_a_free_service_is_free(api: FakeApi, ana: Person) -> None:
    look.must_be_free(ana.kt, api.read("Service", "shop") or {}, take_over=False)

    assert ana.wire.calls == []


def test_what_the_server_refuses_in_a_dry_run_is_raised_and_nothing_is_created(api: FakeApi, ana: Person) -> None:
    ana.wire.rights -= {"create pods"}

    with pytest.raises(Forbidden, match="pod/x cannot be created"):
        look.must_pass_dry_run(ana.kt, [things.pod("y") | {"kind": "Lease"}, things.pod("x")])

    assert (api.names("Pod"), api.names("Lease")) == ([], [])


def test_a_laptop_port_at_which_nothing_listens_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "listens", lambda host, port, timeout: port == 1)
    routes = [Route(ServicePort(80, "", "80", 80), PodPort(80), "127.0.0.1", laptop) for laptop in (1, 2)]

    look.must_listen(routes[:1], how="x")
    with pytest.raises(KtError, match=r"Nothing listens on 127.0.0.1:2 of this laptop"):
        look.must_listen(routes, how="x")


@pytest.mark.parametrize("take_over", [False, True])
def test_a_service_that_others_share_through_a_router_is_not_free(take_over: bool) -> None:
    """The router has no heartbeat of its own: it must not pass for a dead session."""
    api = meshes.a_team()
    ana, bob = person(api, "ana"), person(api, "bob")
    with meshes.meshed(ana) as link:
        api.time += DEAD_SECONDS + 1
        link.session.renew()

        with pytest.raises(Taken, match=r"shared through its router by session ana-.* \(mesh, ana on") as refused:
            look.must_be_free(bob.kt, meshes.service(api), take_over=take_over)

        assert refused.value.try_[0].startswith("ktpy mesh shop")
        assert meshes.is_meshed_for(api, link)


def test_a_router_of_the_dead_is_ended_by_take_over_only() -> None:
    wreck = meshes.left_by("ana")
    wreck.time += DEAD_SECONDS + 1
    bob = person(wreck, "bob")

    with pytest.raises(Taken, match="router of sessions whose heartbeat stopped"):
        look.must_be_free(bob.kt, meshes.service(wreck), take_over=False)
    look.must_be_free(bob.kt, meshes.service(wreck), take_over=True)

    assert selector_of(meshes.service(wreck)) == things.SELECTOR
    assert [name for name in wreck.names("Lease") if "router" in name] == []


@pytest.mark.parametrize(
    ("exposed", "line"),
    [
        ([Expose(5000, "80"), Expose(5001, "http", "::1")], "ktpy mesh shop --expose 5000:80,::1:5001:http "),
        ([], "ktpy mesh shop --expose 8080:80 "),
    ],
)
def test_a_service_that_is_for_mesh_only_is_refused_with_the_line_to_paste(
    api: FakeApi, ana: Person, exposed: list[Expose], line: str
) -> None:
    api.edit("Service", "shop", lambda now: now["metadata"].update(annotations={ALLOW: "mesh"}))

    with pytest.raises(Forbidden, match="service/shop asks for mesh instead of exchange") as refused:
        look.must_allow_exchange(ana.kt, api.read("Service", "shop") or {}, exposed)

    assert refused.value.try_[0].startswith(line)


def test_so_is_every_service_of_a_namespace_that_is_for_mesh_only(ana: Person, monkeypatch) -> None:
    team = {"kind": "Namespace", "metadata": {"name": "team", "annotations": {ALLOW: "mesh"}}}
    monkeypatch.setattr("ktpy.policing.namespace", lambda kt: team)

    with pytest.raises(Forbidden, match="namespace/team asks for mesh instead of exchange"):
        look.must_allow_exchange(ana.kt, things.service(), ())


@pytest.mark.parametrize("said", ["exchange", "mesh,exchange", ""])
def test_what_says_something_else_is_for_both(ana: Person, said: str) -> None:
    service = things.service()
    service["metadata"]["annotations"] = {ALLOW: said}

    look.must_allow_exchange(ana.kt, service, ())
