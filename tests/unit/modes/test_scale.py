"""`exchange --mode scale`: the shadow comes before the workload's pods go, and goes after they are back."""

from __future__ import annotations

import pytest

from ktpy import undo
from ktpy.errors import Forbidden, KtError, NotFound, Taken, Unreachable
from ktpy.model import names
from ktpy.model.diversion import holder_of, selector_of
from ktpy.model.events import Note, Step, Waiting
from ktpy.model.ports import Expose
from ktpy.model.ref import Object, annotations_of, labels_of
from ktpy.model.scaling import replicas_of
from ktpy.model.target import Target
from ktpy.modes import exchange as direct
from ktpy.modes.scale import Plan, exchange, looked, steps
from tests.fakes import api as kubelets
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.controller import alike, controlled
from tests.fakes.jsonpatch import patched
from tests.fakes.meshes import soon
from tests.fakes.run import Person, essence, person, still

SHOP = Target("Service", "shop")
LIST_HPAS = "list horizontalpodautoscalers.autoscaling"


def workload(kind: str = "Deployment", name: str = "shop", *, replicas: int = 3) -> Object:
    thing = things.deployment(name, kind=kind)
    thing["spec"]["replicas"] = replicas
    thing["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"containerPort": 8080, "name": "web"}]
    return thing


@pytest.fixture
def ana(api: FakeApi) -> Person:
    api.put(things.service())
    controlled(api, workload())
    return someone(api)


def someone(api: FakeApi, name: str = "ana") -> Person:
    """Who may see HorizontalPodAutoscalers too."""
    user = person(api, name)
    user.wire.rights |= {LIST_HPAS}
    return user


def plan_of(user: Person, target: Target = SHOP) -> Plan:
    return looked(user.kt, target, ())


def shop(api: FakeApi, kind: str = "Deployment") -> Object:
    found = api.read(kind, "shop")
    assert found is not None
    return found


def scale(api: FakeApi, replicas: int) -> None:
    """The owner's `kubectl scale`."""
    api.edit("Deployment", "shop", lambda now: now["spec"].update(replicas=replicas))


def notes(user: Person) -> str:
    user.kt.stop.poke()
    return "\n".join(event.text for event in user.told if isinstance(event, Note))


# looking


def test_looking_changes_nothing(api: FakeApi, ana: Person) -> None:
    before = essence(api)

    plan = looked(ana.kt, SHOP, [Expose(5000, "http")])

    assert essence(api) == before
    assert all(call.endswith("(dry run)") for call in ana.wire.changes())
    assert [pod["metadata"]["name"] for pod in plan.pods] == ["shop-5f7b-0", "shop-5f7b-1", "shop-5f7b-2"]
    assert [str(route) for route in plan.routes] == ["80 (http) → 127.0.0.1:5000"]
    assert notes(ana) == ""


def test_the_plan_in_words_names_each_deed_with_its_undo(ana: Person) -> None:
    plan = plan_of(ana)

    made = steps(ana.kt, plan)

    assert [deed.rpartition("/")[0] for deed, _, _ in made] == [
        "create lease", "create secret", "create pod", "patch deployment",
    ]  # fmt: skip
    _, there, back = made[-1]
    assert patched(patched(plan.workload, there["patch"]), back["patch"]) == plan.workload
    assert annotations_of(made[0][1])[names.SCALED] == "deployment/shop"
    assert "readinessProbe" in made[2][1]["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("right", "name"),
    [("patch deployments.apps", "patch deployments"), ("list statefulsets.apps", "list statefulsets")],
)
def test_rights_that_are_missing_are_named(ana: Person, right: str, name: str) -> None:
    ana.wire.rights -= {right}

    with pytest.raises(Forbidden, match=name):
        plan_of(ana)


def test_an_autoscaler_of_the_workload_is_refused_by_name(api: FakeApi, ana: Person) -> None:
    target = {"kind": "Deployment", "name": "shop"}
    api.put({"kind": "HorizontalPodAutoscaler", "metadata": {"name": "busy"}, "spec": {"scaleTargetRef": target}})

    with pytest.raises(KtError, match="deployment/shop is scaled by horizontalpodautoscaler/busy"):
        plan_of(ana)


def test_who_may_not_see_autoscalers_is_told_and_goes_on(ana: Person) -> None:
    ana.wire.rights -= {LIST_HPAS}

    plan_of(ana)

    assert "Whether a HorizontalPodAutoscaler scales deployment/shop too could not be checked" in notes(ana)


def test_what_stands_at_0_is_refused(api: FakeApi, ana: Person) -> None:
    scale(api, 0)

    with pytest.raises(KtError, match="deployment/shop has 0 replicas already"):
        plan_of(ana)


def test_a_target_of_another_workload_than_the_one_that_runs_is_refused(api: FakeApi, ana: Person) -> None:
    api.put(workload(name="shop-old", replicas=0))

    with pytest.raises(KtError, match="service/shop leads to deployment/shop; deployment/shop-old has no pods"):
        plan_of(ana, Target("Deployment", "shop-old"))
    assert plan_of(ana, Target("Deployment", "shop")).ref.name == "shop"


def test_several_workloads_are_refused(api: FakeApi, ana: Person) -> None:
    api.put(workload("StatefulSet", "db"))

    with pytest.raises(KtError, match="several workloads: deployment/shop, statefulset/db"):
        plan_of(ana)


def test_services_beside_are_told_what_becomes_of_them(api: FakeApi, ana: Person) -> None:
    api.put(things.service("shop-headless", clusterIP="None"))

    plan_of(ana)

    assert "service/shop-headless will lead to this laptop as well" in notes(ana)


def test_a_service_that_another_session_holds_is_refused(api: FakeApi, ana: Person) -> None:
    bob = someone(api, "bob")
    with (
        direct.exchange(bob.kt, direct.looked(bob.kt, SHOP, ())),
        pytest.raises(Taken, match="service/shop is held by"),
    ):
        plan_of(ana)


def test_a_workload_that_another_session_holds_is_refused(api: FakeApi, ana: Person) -> None:
    with (
        exchange(ana.kt, plan_of(ana)),
        pytest.raises(Taken, match=r"deployment/shop is held by session ana-.* \(scale"),
    ):
        plan_of(someone(api, "bob"))


def test_a_silent_holder_is_ended_by_take_over_only(api: FakeApi, ana: Person) -> None:
    with exchange(ana.kt, plan_of(ana)):
        wreck = api.snapshot()
    wreck.time += names.DEAD_SECONDS + 1
    bob = someone(wreck, "bob")

    with pytest.raises(Taken, match="heartbeat stopped"):
        plan_of(bob)
    with pytest.raises(Taken, match="heartbeat stopped"):
        looked(bob.kt, SHOP, (), take_over=True, dry_run=True)
    plan = looked(bob.kt, SHOP, (), take_over=True)

    assert wreck.names("Lease") == []
    assert replicas_of(plan.workload) == 3


# holding


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_a_scaled_exchange_has_the_laptop_alone_and_then_everything_back(api: FakeApi, kind: str) -> None:
    api.put(things.service())
    controlled(api, workload(kind))
    ana = someone(api)
    before = essence(api)

    with exchange(ana.kt, plan_of(ana)) as link:
        (shadow,) = api.names("Pod")
        assert shadow == link.shadow.name
        assert replicas_of(shop(api, kind)) == 0
        assert holder_of(shop(api, kind)) == link.session.id
        assert selector_of(api.read("Service", "shop") or {}) == things.SELECTOR
        pod = api.read("Pod", shadow) or {}
        assert things.SELECTOR.items() <= labels_of(pod).items()
        assert "pod-template-hash" not in labels_of(pod)

    assert alike(essence(api)) == alike(before)


def test_steps_are_told_in_order(ana: Person) -> None:
    with exchange(ana.kt, plan_of(ana)):
        pass

    assert [event.name for event in ana.told if isinstance(event, Step)] == [
        "look", "shadow pod", "tunnel", "follow", "scale", "drain", "give back", "recover",
    ]  # fmt: skip


def test_the_laptops_side_comes_first_since_a_ready_shadow_gets_traffic(api: FakeApi, ana: Person) -> None:
    def gate() -> None:
        raise KtError("the command does not listen")

    plan = plan_of(ana)
    ana.wire.calls.clear()

    with pytest.raises(KtError, match="does not listen"), exchange(ana.kt, plan, gate=gate):
        pytest.fail("it is not in force")

    assert ana.wire.changes() == []


def test_the_shadow_goes_after_the_pods_are_back_and_while_the_tunnel_is_open(api: FakeApi, ana: Person) -> None:
    order: list[str] = []

    def note(deed: str) -> None:
        if deed.startswith(("patch Deployment", "delete")):
            how = "open" if ana.tunnels[0].is_open else "closed"
            order.append(f"{deed.rpartition(' ')[0]} {how}, {len(api.names('Pod'))} pods")

    with exchange(ana.kt, plan_of(ana)):
        ana.wire.before = note

    assert order == [
        "patch Deployment open, 1 pods", "patch Deployment open, 4 pods", "delete Pod open, 4 pods",
        "delete Secret closed, 3 pods", "delete Lease closed, 3 pods",
    ]  # fmt: skip


def test_pods_that_do_not_come_back_are_waited_for_so_long_and_no_longer(
    api: FakeApi, ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ktpy.modes.scale.SLOW_SECONDS", 0.01)
    seen: list[bool] = []

    def note(deed: str) -> None:
        if deed.startswith("delete Pod"):
            seen.append(any(isinstance(event, Waiting) and event.step == "give back" for event in ana.told))

    with exchange(ana.kt, plan_of(ana), recover_wait=0.05):
        api.kubelet = kubelets.never
        ana.wire.before = note

    assert seen == [True]
    assert "No pod of deployment/shop is Ready after 0 s" in notes(ana)
    assert replicas_of(shop(api)) == 3
    assert api.names("Lease") == []


def test_a_shadow_that_is_never_ready_scales_nothing(
    api: FakeApi, ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ktpy.modes.scale.is_ready", lambda pod: False)
    user = person(api, timeout=0.05)

    with pytest.raises(KtError, match="is not Ready although its tunnel is up"), exchange(user.kt, plan_of(user)):
        pytest.fail("it is not in force")

    assert replicas_of(shop(api)) == 3


def test_pods_that_stay_are_told(api: FakeApi, ana: Person) -> None:
    api.controlled = frozenset()
    user = person(api, timeout=0.05)

    with exchange(user.kt, plan_of(user)):
        assert "pod/shop-5f7b-2 still there: requests go to this laptop and to them" in notes(user)


def test_an_api_server_that_is_away_at_the_end_is_waited_for(
    api: FakeApi, ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = essence(api)
    with exchange(ana.kt, plan_of(ana)):
        away: list[bool] = []

        def gone(deed: str) -> None:
            if deed.endswith("Deployment shop") and len(away) < 2:
                away.append(ana.tunnels[0].is_open)
                raise Unreachable("no answer")

        ana.wire.before = gone
        monkeypatch.setattr("ktpy.session.Stop", NoWait)

    assert away == [True, True]
    assert alike(essence(api)) == alike(before)


class NoWait:
    def wait(self, seconds: float) -> bool:
        return False


# its owner's writes


def test_an_owner_who_scales_up_meanwhile_is_told_of_and_keeps_his_number(api: FakeApi, ana: Person) -> None:
    with exchange(ana.kt, plan_of(ana)):
        scale(api, 2)
        assert still(lambda: "deployment/shop was scaled to 2 by kubectl at" in notes(ana), ana.kt.stop)
        assert not ana.kt.stop.is_asked

    assert replicas_of(shop(api)) == 2
    assert "ktpy" not in str(shop(api))
    assert len(api.names("Pod")) == 2


def test_an_owner_who_deletes_the_workload_ends_the_run(api: FakeApi, ana: Person) -> None:
    with exchange(ana.kt, plan_of(ana)):
        api.remove("Deployment", "shop")
        assert ana.kt.stop.wait(10)

    assert isinstance(ana.kt.stop.error, NotFound)
    assert api.names("Lease") == []


def test_an_edit_of_something_else_survives(api: FakeApi, ana: Person) -> None:
    def edit(now: Object) -> None:
        now["metadata"]["annotations"]["team"] = "payments"
        now["spec"]["template"]["spec"]["containers"][0]["image"] = "shop:2"

    with exchange(ana.kt, plan_of(ana)):
        api.edit("Deployment", "shop", edit)

    assert annotations_of(shop(api)) == {"team": "payments"}
    assert shop(api)["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:2"
    assert replicas_of(shop(api)) == 3
    assert notes(ana) == ""


def test_a_session_that_another_ends_stops(api: FakeApi, ana: Person) -> None:
    with exchange(ana.kt, plan_of(ana)) as link:
        bob = someone(api, "bob")
        undo.end(bob.cluster, undo.holder_named(bob.cluster, link.session.id), "bob", force=True)
        assert ana.kt.stop.wait(10)

    assert isinstance(ana.kt.stop.error, Taken)
    assert replicas_of(shop(api)) == 3


def test_an_isolated_workload_has_an_isolated_shadow_also_while_no_pod_of_it_runs(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy goes by a label that the shadow, which wears what the Service selects by, has not."""
    monkeypatch.setattr(names, "HEARTBEAT_SECONDS", 0.001)
    api.put(things.service())
    thing = workload()
    thing["spec"]["template"]["metadata"]["labels"] = {**things.SELECTOR, "version": "1"}
    controlled(api, thing)
    api.put(things.policy("v1", {"matchLabels": {"version": "1"}}))
    ana, before = someone(api), api.names("NetworkPolicy")

    plan = plan_of(ana)
    assert plan.due.ready == ("1 NetworkPolicy made, which ends with it",)
    assert [deed for deed, _, _ in steps(ana.kt, plan)][3].startswith("create networkpolicy/ktpy-ana-")
    with exchange(ana.kt, plan) as link:
        (made,) = [name for name in api.names("NetworkPolicy") if name != "v1"]
        policy = api.read("NetworkPolicy", made) or {}
        assert policy["spec"]["podSelector"]["matchLabels"] == labels_of(api.read("Pod", link.shadow.name) or {})
        lists = len([call for call in ana.wire.calls if call == "list NetworkPolicy"])
        assert soon(lambda: len([c for c in ana.wire.calls if c == "list NetworkPolicy"]) > lists + 2, ana)
        assert (api.read("NetworkPolicy", made) or {}) == policy

    assert api.names("NetworkPolicy") == before
