"""`mesh --mode manual`: one more pod of the Service while it lasts, and nothing changed afterwards or by a kill."""

from __future__ import annotations

import pytest

from ktpy.errors import Forbidden, KtError, NotFound, Taken, Usage
from ktpy.model import names
from ktpy.model.events import Note, Step
from ktpy.model.istio import Mark
from ktpy.model.marks import EVERYTHING
from ktpy.model.names import CLEAN_SECONDS, ROLE, SESSION
from ktpy.model.ports import exposes
from ktpy.model.ref import Object, labels_of
from ktpy.model.target import Target
from ktpy.modes import manual as module
from ktpy.modes import mesh as shared
from ktpy.modes.manual import Plan, looked, manual, must_have_all
from ktpy.upkeep.birdseye import birdseye
from ktpy.upkeep.clean import clean, dead, strangers
from tests.fakes import things
from tests.fakes.api import FakeApi, ready
from tests.fakes.run import Person, essence, person

SHOP = Target("Service", "shop")
ANA = Mark("version", "ana", "ana")


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    api.put(things.service())
    for number in (1, 2):
        labels = {**things.SELECTOR, "version": "v1"}
        api.put(things.pod(f"shop-{number}", labels=labels))
    api.put(things.deployment())
    return api


def plan_of(user: Person, mark: Mark = ANA, *expose: str) -> Plan:
    return looked(user.kt, SHOP, exposes(expose), mark)


def shadows(api: FakeApi) -> list[Object]:
    pods = [api.read("Pod", name) or {} for name in api.names("Pod")]
    return [pod for pod in pods if ROLE in labels_of(pod)]


def test_the_service_gets_one_more_pod_and_is_not_changed(api: FakeApi) -> None:
    before = api.read("Service", "shop")
    with manual(person(api).kt, plan_of(person(api))) as link:
        (shadow,) = shadows(api)
        assert labels_of(shadow) == {
            **things.SELECTOR, "version": "ana", ROLE: "shadow", SESSION: link.session.id,
        }  # fmt: skip
        assert api.read("Service", "shop") == before

    assert api.read("Service", "shop") == before


def test_afterwards_everything_is_as_it_was(api: FakeApi) -> None:
    before = essence(api)
    with manual(person(api).kt, plan_of(person(api))):
        assert essence(api) != before

    assert essence(api) == before


def test_the_shadow_is_ready_only_while_the_tunnel_is_there(api: FakeApi) -> None:
    with manual(person(api).kt, plan_of(person(api))):
        (shadow,) = shadows(api)

    assert "readinessProbe" in shadow["spec"]["containers"][0]


def test_looking_changes_nothing(api: FakeApi) -> None:
    ana = person(api)
    plan = plan_of(ana)

    assert all(call.endswith("(dry run)") for call in ana.wire.changes())
    assert len(plan.pods) == 2
    assert (plan.apart, plan.wears["version"]) == ({"version": "v1"}, "ana")
    assert "subset: others" in plan.rules


def test_neither_router_nor_patch_is_needed(api: FakeApi) -> None:
    ana = person(api)
    kinds = ("services", "configmaps", "deployments.apps", "statefulsets.apps")
    ana.wire.rights -= {f"{verb} {kind}" for verb in ("create", "patch", "delete") for kind in kinds}

    with manual(ana.kt, plan_of(ana)):
        assert len(shadows(api)) == 1

    assert len(shadows(api)) == 0


def test_missing_rights_are_told_before_anything(api: FakeApi) -> None:
    ana = person(api)
    ana.wire.rights.discard("create secrets")

    with pytest.raises(Forbidden, match="create secrets"):
        plan_of(ana)


def test_a_service_that_is_not_there_is_not_found(api: FakeApi) -> None:
    with pytest.raises(NotFound):
        looked(person(api).kt, Target("Service", "shp"), (), ANA)


def test_every_port_must_be_answered() -> None:
    api = FakeApi()
    api.put(things.service(ports=(things.port(80, 8080, name="http"), things.port(81, "adm", name="adm"))))
    api.put(things.pod("shop-1"))

    with pytest.raises(KtError, match=r"nothing would answer port 81 \(adm\)") as error:
        plan_of(person(api), ANA, "8080:80")
    assert error.value.try_ == ("ktpy mesh shop --expose 8080:80,81:81 --mode manual",)
    assert len(plan_of(person(api), ANA, "8080:80", "9090:81").routes) == 2


def test_a_port_that_is_not_tcp_needs_the_router_to_leave_it_alone() -> None:
    udp = module.ServicePort(53, "dns", "53", 53, "UDP")

    with pytest.raises(KtError, match="53") as error:
        must_have_all("shop", [], [udp])
    assert error.value.try_ == ("ktpy mesh shop",)


@pytest.mark.parametrize(("mark", "error"), [(Mark("version", "v1", "v1"), Taken), (Mark("tier", "ana", "ana"), Usage)])
def test_a_label_that_tells_nothing_apart_is_refused(api: FakeApi, mark: Mark, error: type[KtError]) -> None:
    with pytest.raises(error):
        plan_of(person(api), mark)


def test_a_second_one_with_the_same_mark_is_refused_and_with_another_is_not(api: FakeApi) -> None:
    with manual(person(api).kt, plan_of(person(api))):
        with pytest.raises(Taken, match="wears version=ana already"):
            plan_of(person(api, "bob"))
        with manual(person(api, "bob").kt, plan_of(person(api, "bob"), Mark("version", "bob", "bob"))):
            assert len(shadows(api)) == 2


def test_while_a_router_has_the_service_the_shadow_shares_what_no_row_takes(api: FakeApi) -> None:
    api.kubelet = lambda pod: {**ready(pod), "podIP": "10.0.0.9"}
    bob, ana = person(api, "bob"), person(api)
    with (
        shared.mesh(bob.kt, shared.looked(bob.kt, SHOP, (), EVERYTHING)),
        manual(ana.kt, plan_of(ana)),
    ):
        (stunt,) = [api.read("Service", name) or {} for name in api.names("Service") if "stuntman" in name]
        shadow = [pod for pod in shadows(api) if "version" in labels_of(pod)][0]
        assert stunt["spec"]["selector"].items() <= labels_of(shadow).items()
        assert ana.tunnels[0].knocks == []

    assert any(isinstance(event, Note) and "leads elsewhere now" in event.text for event in ana.told)


def test_the_gate_comes_before_the_first_request(api: FakeApi) -> None:
    seen: list[int] = []
    with manual(person(api).kt, plan_of(person(api)), gate=lambda: seen.append(len(shadows(api)))):
        pass

    assert seen == [0]


def test_ready_is_when_the_services_address_leads_here_too(api: FakeApi) -> None:
    ana = person(api)
    with manual(ana.kt, plan_of(ana)):
        assert [event.name for event in ana.told if isinstance(event, Step)][-1] == "follow"
        assert ana.tunnels[0].knocks


def test_who_answers_is_told_on_the_service(api: FakeApi) -> None:
    ana = person(api)
    with manual(ana.kt, plan_of(ana)):
        pass

    messages = {(api.read("Event", name) or {})["message"] for name in api.names("Event")}
    assert messages == {
        "ana on ana-laptop answers as one of the pods, the one with version=ana (ktpy mesh --mode manual)",
        "ana on ana-laptop has given it back (ktpy mesh --mode manual)",
    }


def test_colleagues_see_it(api: FakeApi) -> None:
    with manual(person(api).kt, plan_of(person(api))):
        (line,) = birdseye(person(api, "bob").kt)

    assert (line.status, [(share.owner, share.route) for share in line.shares]) == ("meshed", [("ana", "pod")])


def test_what_a_kill_leaves_is_cleaned_and_no_stranger(api: FakeApi) -> None:
    before = essence(api)
    with manual(person(api).kt, plan_of(person(api))):
        wreck = api.snapshot()
    wreck.time += CLEAN_SECONDS + 40
    bob = person(wreck, "bob")

    assert strangers(bob.kt) == []
    clean(bob.kt, dead(bob.kt, CLEAN_SECONDS), older_than=CLEAN_SECONDS)

    assert essence(wreck) == before


def test_a_shadow_that_never_is_ready_ends_it(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    ana = person(api, timeout=0.05)
    monkeypatch.setattr(module, "is_ready", lambda pod: False)

    with pytest.raises(KtError, match="is not Ready although its tunnel is up"), manual(ana.kt, plan_of(ana)):
        pass

    assert shadows(api) == []


def test_the_mode_has_a_name_of_its_own() -> None:
    assert module.MODE == names.MODE_MANUAL


def test_a_policy_for_the_other_pods_versions_holds_for_this_laptops_pod_too(api: FakeApi) -> None:
    api.put(things.policy("v1", {"matchLabels": {"version": "v1"}}))
    ana = person(api)

    plan = plan_of(ana)
    assert plan.due.ready == ("1 NetworkPolicy made, which ends with it",)
    with manual(ana.kt, plan) as link:
        (shadow,) = shadows(api)
        policy = api.read("NetworkPolicy", f"ktpy-{link.session.id}-shadow-in") or {}
        assert policy["spec"]["podSelector"]["matchLabels"] == labels_of(shadow)
        # it is no original to whoever looks next
        assert plan_of(person(api, "bob"), Mark("version", "bob", "bob")).due.ready == plan.due.ready

    assert api.names("NetworkPolicy") == ["v1"]
