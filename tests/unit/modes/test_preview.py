"""`preview`: a new Service for as long as the block lasts, and nobody's own of that name is ever touched."""

from __future__ import annotations

from typing import Any

import pytest

from ktpy import undo
from ktpy.errors import Forbidden, Interrupted, KtError, NotFound, Taken, Unreachable
from ktpy.model import names, preview
from ktpy.model.diversion import selector_of
from ktpy.model.events import Note, Step, Waiting
from ktpy.model.preview import Wanted
from ktpy.model.ref import Object, labels_of
from ktpy.model.rights import INGRESS
from ktpy.model.target import Target
from ktpy.modes.exchange import exchange
from ktpy.modes.exchange import looked as looked_for_exchange
from ktpy.modes.preview import Plan, looked, steps
from ktpy.modes.preview import preview as previewed
from tests.fakes import things
from tests.fakes.api import FakeApi, no_image
from tests.fakes.run import Person, essence, person, still
from tests.fakes.wire import Killed

ROUTES = preview.routes(["5000:80"])
WEB = Wanted("web", ROUTES)


@pytest.fixture
def ana(api: FakeApi) -> Person:
    api.put(things.service())
    api.put(things.pod("shop-1"))
    return person(api)


def plan_of(user: Person, **more: Any) -> Plan:
    if more.get("host"):
        user.wire.rights |= {str(right) for right in INGRESS}
    return looked(user.kt, Wanted("web", ROUTES, **more))


def web(api: FakeApi) -> Object:
    found = api.read("Service", "web")
    assert found is not None
    return found


def notes(user: Person, part: str) -> list[str]:
    return [event.text for event in user.told if isinstance(event, Note) and part in event.text]


# looking


def test_looking_changes_nothing(api: FakeApi, ana: Person) -> None:
    before = essence(api)

    plan = plan_of(ana, host="web.example.com")

    assert essence(api) == before
    assert all(call.endswith("(dry run)") for call in ana.wire.changes())
    assert str(plan.ref) == "service/web"


def test_a_service_of_somebodys_own_is_refused_and_nothing_is_made(api: FakeApi, ana: Person) -> None:
    api.put(things.service("web"), manager="helm")
    before = essence(api)

    with pytest.raises(Taken, match="is no preview; helm at .* wrote it last") as refused:
        plan_of(ana)

    assert "ktpy exchange web" in refused.value.try_[0]
    assert essence(api) == before
    assert ana.wire.changes() == []


def test_another_preview_of_that_name_is_refused_with_whose_it_is(api: FakeApi, ana: Person) -> None:
    bob = person(api, "bob")
    with previewed(ana.kt, plan_of(ana)):
        with pytest.raises(Taken, match=r"published by session ana-.* \(preview, ana on ana-laptop") as refused:
            plan_of(bob)
        with pytest.raises(Taken):
            looked(bob.kt, WEB, take_over=True)
        assert labels_of(web(api))[names.ROLE] == names.ROLE_PREVIEW

    assert "ask ana" in refused.value.try_[0]
    assert bob.wire.changes() == []


def test_a_dead_preview_is_ended_by_take_over_only(api: FakeApi, ana: Person) -> None:
    with previewed(ana.kt, plan_of(ana)):
        wreck = api.snapshot()
    wreck.time += names.DEAD_SECONDS + 1
    bob = person(wreck, "bob")

    with pytest.raises(Taken, match="heartbeat stopped") as refused:
        plan_of(bob)
    with pytest.raises(Taken):
        looked(bob.kt, WEB, take_over=True, dry_run=True)
    assert "--take-over" in refused.value.try_[0]

    with previewed(bob.kt, looked(bob.kt, WEB, take_over=True)) as link:
        assert labels_of(web(wreck))[names.SESSION] == link.session.id
    assert wreck.names("Service") == ["shop"]


def test_a_service_that_is_still_going_is_refused_as_such(api: FakeApi, ana: Person) -> None:
    """A load balancer's finalizer keeps it for a while."""
    api.put(things.service("web"))
    api.edit("Service", "web", lambda now: now["metadata"].update(deletionTimestamp="2027-01-01T00:00:00Z"))

    with pytest.raises(Taken, match="still being deleted"):
        plan_of(ana)


def test_rights_that_are_missing_are_named_and_nothing_is_created(ana: Person) -> None:
    ana.wire.rights -= {"create services"}

    with pytest.raises(Forbidden, match="create services"):
        plan_of(ana)

    assert ana.wire.changes() == []


def test_only_a_host_asks_for_the_rights_on_ingresses(ana: Person) -> None:
    plan_of(ana)
    assert not any("Ingress" in call for call in ana.wire.calls)

    with pytest.raises(Forbidden, match=r"create ingresses\.networking\.k8s\.io, delete ingresses") as refused:
        looked(ana.kt, Wanted("web", ROUTES, host="web.example.com"))

    assert "kubectl create role" in refused.value.try_[0]
    assert all(call.endswith("(dry run)") for call in ana.wire.changes())


@pytest.mark.parametrize("may_read", [False, True])
def test_an_ingress_of_that_name_is_refused(api: FakeApi, ana: Person, may_read: bool) -> None:
    api.put({"kind": "Ingress", "metadata": {"name": "web"}, "spec": {}}, manager="helm")
    ana.wire.rights |= {"get ingresses.networking.k8s.io"} if may_read else set()
    before = essence(api)

    with pytest.raises(Taken, match="ingress/web exists already") as refused:
        plan_of(ana, host="web.example.com")

    assert ("helm" in refused.value.what) == may_read
    assert essence(api) == before


def test_the_plan_in_words_names_each_deed_with_its_undo(ana: Person) -> None:
    made = steps(ana.kt, plan_of(ana, host="web.example.com"))

    assert [deed.partition("/")[0] for deed, _, _ in made] == [
        "create lease", "create secret", "create pod", "create service", "create ingress",
    ]  # fmt: skip
    assert made[3][2] == {"delete": "service/web"}


# holding


def test_a_preview_is_a_new_service_that_leads_to_its_shadow_and_goes_again(api: FakeApi, ana: Person) -> None:
    before = essence(api)

    with previewed(ana.kt, plan_of(ana)) as link:
        shadow = api.read("Pod", link.shadow.name)
        assert shadow is not None
        assert selector_of(web(api)).items() <= shadow["metadata"]["labels"].items()
        assert web(api)["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
        assert [(a.pod_port, a.port) for a in ana.tunnels[0].arrivals] == [(80, 5000)]

    assert essence(api) == before


def test_a_shadow_that_takes_its_place_wears_the_same(api: FakeApi, ana: Person) -> None:
    with previewed(ana.kt, plan_of(ana)) as link:
        first = link.shadow.name
        api.remove("Pod", first)
        assert still(lambda: link.shadow.name != first and link.shadow.name in api.names("Pod"), ana.kt.stop)
        second = api.read("Pod", link.shadow.name)
        assert second is not None
        assert selector_of(web(api)).items() <= second["metadata"]["labels"].items()


def test_two_previews_do_not_mix(api: FakeApi, ana: Person) -> None:
    bob = person(api, "bob")
    with previewed(ana.kt, plan_of(ana)), previewed(bob.kt, looked(bob.kt, Wanted("web-2", ROUTES))) as link:
        found = [api.read("Pod", name) or {} for name in api.names("Pod")]
        (its,) = [pod for pod in found if labels_of(pod).get(names.PREVIEW) == link.session.id]
        assert its["metadata"]["name"] == link.shadow.name
        assert not selector_of(web(api)).items() <= its["metadata"]["labels"].items()
        held = web(api)

    assert api.names("Service") == ["shop"]
    assert preview.publisher(held) != link.session.id


def test_the_service_is_made_before_its_pod_so_that_nodes_know_it_by_then(ana: Person) -> None:
    with previewed(ana.kt, plan_of(ana)):
        pass

    made = [call.split()[1] for call in ana.wire.changes() if call.startswith("create") and "dry" not in call]
    assert made[:2] == ["Lease", "Service"]
    assert sorted(made[2:]) == ["Pod", "Secret"]


def test_ctrl_c_at_the_gate_leaves_nothing(api: FakeApi, ana: Person) -> None:
    before, plan = essence(api), plan_of(ana, host="web.example.com")

    with pytest.raises(Interrupted), previewed(ana.kt, plan, gate=lambda: ana.kt.stop.ask("Ctrl-C")):
        pytest.fail("it is not in force")

    assert essence(api) == before


def test_a_pod_that_does_not_run_leaves_nothing(api: FakeApi, ana: Person) -> None:
    before, plan = essence(api), plan_of(ana, host="web.example.com")
    api.kubelet = no_image

    with pytest.raises(KtError, match="cannot get its image"), previewed(ana.kt, plan):
        pytest.fail("it is not in force")

    assert essence(api) == before


def test_the_service_goes_first_while_shadow_and_tunnel_still_serve(ana: Person) -> None:
    order: list[str] = []

    def note(deed: str) -> None:
        if deed.startswith(("patch", "delete")):
            order.append(f"{' '.join(deed.split()[:2])} {'open' if ana.tunnels[0].is_open else 'closed'}")

    with previewed(ana.kt, plan_of(ana, host="web.example.com")):
        ana.wire.before = note

    assert order == [
        "delete Ingress open", "delete Service open", "delete Pod closed", "delete Secret closed",
        "delete Lease closed",
    ]  # fmt: skip


def test_steps_are_told_in_order(ana: Person) -> None:
    with previewed(ana.kt, plan_of(ana)):
        pass

    assert [event.name for event in ana.told if isinstance(event, Step)] == [
        "look", "publish", "shadow pod", "tunnel", "follow", "give back",
    ]  # fmt: skip


def test_ready_is_when_the_services_own_address_leads_here(api: FakeApi, ana: Person) -> None:
    with previewed(ana.kt, plan_of(ana)) as link:
        assert ana.tunnels[0].knocks == [(web(api)["spec"]["clusterIP"], 80)]
        assert link.stats().connections == 0  # our own knocking does not count


def test_an_address_that_does_not_follow_in_time_is_told_and_the_preview_goes_on(
    ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ktpy.modes.link.FOLLOW_SECONDS", 0.01)
    monkeypatch.setattr("ktpy.modes.link.KNOCK_SECONDS", 0.001)

    with previewed(ana.kt, plan_of(ana), gate=lambda: setattr(ana.tunnels[0], "is_followed", False)):
        assert notes(ana, "not yet seen")


def test_a_pending_external_address_is_told_and_then_the_address(api: FakeApi, ana: Person) -> None:
    with previewed(ana.kt, plan_of(ana, external=True)):
        assert notes(ana, "kubectl -n team get service web --watch")
        assert web(api)["spec"]["type"] == "LoadBalancer"
        given = {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}
        api.edit("Service", "web", lambda now: now.update(status=given), manager="cloud")
        assert still(lambda: bool(notes(ana, "reached from outside at 192.0.2.7, port 80")), ana.kt.stop)

    assert len(notes(ana, "192.0.2.7")) == 1
    assert api.names("Service") == ["shop"]


def test_an_ingress_stands_while_the_preview_does(api: FakeApi, ana: Person) -> None:
    with previewed(ana.kt, plan_of(ana, host="web.example.com")):
        made = api.read("Ingress", "web")
        assert made is not None
        assert made["spec"]["rules"][0]["host"] == "web.example.com"
        assert notes(ana, "names no class")

    assert api.names("Ingress") == []


def test_an_ingress_with_a_class_is_nothing_to_wonder_about(ana: Person) -> None:
    with previewed(ana.kt, plan_of(ana, host="web.example.com", ingress_class="nginx")):
        assert not notes(ana, "names no class")


def test_an_ingress_that_may_not_be_deleted_any_more_goes_with_the_lease(api: FakeApi, ana: Person) -> None:
    with previewed(ana.kt, plan_of(ana, host="web.example.com")):
        ana.wire.rights -= {str(right) for right in INGRESS}

    assert api.names("Ingress") == []
    assert api.names("Service") == ["shop"]


def test_an_api_server_that_is_away_at_the_end_is_waited_for(
    api: FakeApi, ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, away = essence(api), []

    def gone(deed: str) -> None:
        if deed == "delete Service web" and not away:
            away.append(ana.tunnels[0].is_open)
            raise Unreachable("no answer")

    class NoWait:
        def wait(self, seconds: float) -> bool:
            return False

    with previewed(ana.kt, plan_of(ana)):
        ana.wire.before = gone
        monkeypatch.setattr("ktpy.session.Stop", NoWait)

    assert away == [True]
    assert any(isinstance(event, Waiting) for event in ana.told)
    assert essence(api) == before


# losing it, and whose it is then


def test_a_service_of_somebody_who_was_quicker_is_refused_and_never_touched(api: FakeApi, ana: Person) -> None:
    plan = plan_of(ana)
    mine = api.put(things.service("web"), manager="helm")

    with pytest.raises(Taken, match="is no preview; helm at"), previewed(ana.kt, plan):
        pytest.fail("it is not in force")

    assert web(api) == mine  # not a single write, its version tells
    assert [api.names(kind) for kind in ("Lease", "Secret", "Pod")] == [[], [], ["shop-1"]]


def test_an_ingress_of_somebody_who_was_quicker_is_refused_and_never_touched(api: FakeApi, ana: Person) -> None:
    plan = plan_of(ana, host="web.example.com")
    mine = api.put({"kind": "Ingress", "metadata": {"name": "web"}, "spec": {}}, manager="helm")

    with pytest.raises(Taken, match="ingress/web exists already"), previewed(ana.kt, plan):
        pytest.fail("it is not in force")

    assert api.read("Ingress", "web") == mine
    assert api.names("Service") == ["shop"]


def test_a_cleaner_of_a_preview_whose_name_somebody_took_does_not_touch_it(api: FakeApi, ana: Person) -> None:
    with previewed(ana.kt, plan_of(ana)):
        wreck = api.snapshot()
    wreck.remove("Service", "web")
    mine = wreck.put(things.service("web"))
    bob = person(wreck, "bob")

    (holder,) = undo.sessions(bob.cluster)
    undo.end(bob.cluster, holder, "bob", force=True)

    assert web(wreck) == mine
    assert wreck.names("Lease") == []


def test_a_deleted_service_ends_the_run(api: FakeApi, ana: Person) -> None:
    with previewed(ana.kt, plan_of(ana)):
        api.remove("Service", "web")
        assert ana.kt.stop.wait(10)

    assert isinstance(ana.kt.stop.error, NotFound)
    assert api.names("Lease") == []


def test_a_service_that_was_replaced_by_somebodys_own_ends_the_run_and_is_his(api: FakeApi, ana: Person) -> None:
    with previewed(ana.kt, plan_of(ana)):
        api.remove("Service", "web")
        mine = api.put(things.service("web"))
        assert ana.kt.stop.wait(10)

    assert isinstance(ana.kt.stop.error, NotFound)
    assert web(api) == mine


def test_a_service_applied_over_ours_ends_the_run_and_outlives_it_as_its_owners(api: FakeApi, ana: Person) -> None:
    with previewed(ana.kt, plan_of(ana)):
        api.edit("Service", "web", lambda now: now["spec"]["selector"].update(app="web"))
        assert ana.kt.stop.wait(10)

    assert isinstance(ana.kt.stop.error, Taken)
    assert "kubectl at" in ana.kt.stop.error.what
    assert selector_of(web(api)) == {"app": "web"}
    assert "ktpy" not in str(web(api))
    assert api.names("Lease") == []


def test_a_session_that_was_ended_while_it_waited_ends(api: FakeApi, ana: Person) -> None:
    def ended() -> None:
        (lease,) = api.names("Lease")
        api.remove("Lease", lease)
        assert ana.kt.stop.wait(10)

    with pytest.raises(Taken, match="was ended by"), previewed(ana.kt, plan_of(ana), gate=ended):
        pytest.fail("it is not in force")

    assert [api.names(kind) for kind in ("Service", "Lease")] == [["shop"], []]


def test_a_create_whose_answer_was_lost_is_taken_back(api: FakeApi, ana: Person) -> None:
    before, plan = essence(api), plan_of(ana)
    ana.wire.fail_at(len(ana.wire.calls) + 2, Unreachable("no answer"), when="after")  # Lease, Service

    with pytest.raises(Unreachable), previewed(ana.kt, plan):
        pytest.fail("it is not in force")

    assert ana.wire.changes().count("create Service") == 1
    assert essence(api) == before


def test_a_colleagues_exchange_of_the_preview_comes_and_goes_and_the_preview_stays(api: FakeApi, ana: Person) -> None:
    bob = person(api, "bob")
    before = essence(api)
    with previewed(ana.kt, plan_of(ana)) as link:
        selector = selector_of(web(api))
        with exchange(bob.kt, looked_for_exchange(bob.kt, Target("Service", "web"), ())) as his:
            shadow = api.read("Pod", his.shadow.name) or {}
            assert selector_of(web(api)) != selector
            assert selector_of(web(api)).items() <= shadow["metadata"]["labels"].items()
        assert selector_of(web(api)) == selector
        link.session.renew()
        assert not ana.kt.stop.is_asked

    assert essence(api) == before


def test_a_preview_that_ends_under_a_colleagues_exchange_leaves_nothing(api: FakeApi, ana: Person) -> None:
    bob = person(api, "bob")
    before = essence(api)
    with previewed(ana.kt, plan_of(ana)):
        held = exchange(bob.kt, looked_for_exchange(bob.kt, Target("Service", "web"), ()))
        held.__enter__()
    assert bob.kt.stop.wait(10)
    held.__exit__(None, None, None)

    assert isinstance(bob.kt.stop.error, NotFound)
    assert essence(api) == before


def test_a_bug_is_not_swallowed(api: FakeApi, ana: Person) -> None:
    with pytest.raises(Killed), previewed(ana.kt, plan_of(ana)):
        ana.wire.die()


def test_an_error_of_the_gate_is_told_as_it_is(ana: Person) -> None:
    def gate() -> None:
        raise KtError("the command does not listen")

    with pytest.raises(KtError, match="does not listen"), previewed(ana.kt, plan_of(ana), gate=gate):
        pytest.fail("it is not in force")


def test_who_may_call_a_preview_in_an_isolated_namespace_is_told(api: FakeApi, ana: Person) -> None:
    plan_of(ana)
    assert notes(ana, "NetworkPolicies") == []
    api.put(things.policy("deny", {}))
    api.put(things.policy("shop", {"matchLabels": things.SELECTOR}))

    plan_of(ana)

    (said,) = notes(ana, "NetworkPolicies")
    assert said.startswith("NetworkPolicies deny hold for service/web too")
    assert "ktpy.io/role=shadow" in said
