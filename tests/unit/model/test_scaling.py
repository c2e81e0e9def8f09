"""Which workload is behind a Service, what a shadow of it wears, and how its replicas go and come back."""

from __future__ import annotations

import copy

import pytest

from ktpy.errors import KtError, NotFound, Taken
from ktpy.model.diversion import REPLICAS, given_back, holder_of, note_of, touched
from ktpy.model.names import NOTE, ROLE, SESSION, SessionId
from ktpy.model.ref import Object, Ref, annotations_of, labels_of
from ktpy.model.scaling import (
    autoscaler_of,
    behind,
    beside,
    is_scaled_by,
    must_have_replicas,
    owner_of,
    replicas_of,
    scaled,
    selects,
    serves,
    worn,
)
from tests.fakes import things

ANA, BOB = SessionId("ana-1"), SessionId("bob-2")
SHOP = things.service()


def shop(replicas: int = 3, *, kind: str = "Deployment", name: str = "shop", uid: str = "uid-1") -> Object:
    thing = things.stored(things.deployment(name, kind=kind), uid=uid)
    thing["spec"]["replicas"] = replicas
    return thing


def controlled(kind: str, name: str, **labels: str) -> Object:
    """A pod that NAME of KIND made."""
    owner = {"kind": kind, "name": name, "uid": "x", "controller": True}
    return things.pod(f"{name}-x", labels={**things.SELECTOR, **labels}, owners=[owner])


OF_SHOP = controlled("ReplicaSet", "shop-5f7b", **{"pod-template-hash": "5f7b"})


# there and back


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_a_scaled_workload_given_back_is_the_one_that_was_taken(kind: str) -> None:
    before = shop(kind=kind)

    after = scaled(before, ANA, SHOP)

    assert replicas_of(after) == 0
    assert is_scaled_by(after, ANA)
    assert given_back(after, ANA) == before
    assert given_back(given_back(after, ANA), ANA) == before


def test_scaling_writes_the_note_beside_the_number_and_nothing_into_the_pods() -> None:
    before = shop()
    untouched = copy.deepcopy(before)

    after = scaled(before, ANA, SHOP)

    note = note_of(after)
    assert note is not None
    assert (note.session, note.uid, note.was, note.set) == (ANA, "uid-1", {REPLICAS: "3"}, {REPLICAS: "0"})
    assert labels_of(after) == {SESSION: ANA}
    assert after["spec"] == {**before["spec"], "replicas": 0}
    assert before == untouched


def test_a_number_that_its_owner_has_set_meanwhile_stays() -> None:
    after = scaled(shop(), ANA, SHOP)
    after["spec"]["replicas"] = 5

    assert holder_of(after) is None
    assert given_back(after, ANA) == shop(5)


def copied_to_another() -> Object:
    return {**(thing := scaled(shop(), ANA, SHOP)), "metadata": {**thing["metadata"], "uid": "another"}}


def brought_back_by_a_rollout_undo() -> Object:
    """ReplicaSets keep a Deployment's annotations, not its labels."""
    thing = scaled(shop(), ANA, SHOP)
    del thing["metadata"]["labels"]
    return thing


@pytest.mark.parametrize("make", [copied_to_another, brought_back_by_a_rollout_undo])
def test_a_stale_note_restores_nothing_and_is_taken_off(make) -> None:  # type: ignore[no-untyped-def]
    thing = make()

    after = given_back(thing, ANA)

    assert holder_of(thing) is None
    assert replicas_of(after) == 0
    assert NOTE not in annotations_of(after)
    assert given_back(thing, BOB)["spec"] == thing["spec"]


def test_a_note_with_a_number_that_is_none_restores_nothing() -> None:
    thing = scaled(shop(), ANA, SHOP)
    thing["metadata"]["annotations"][NOTE] = thing["metadata"]["annotations"][NOTE].replace('"3"', '"many"')

    assert replicas_of(given_back(thing, ANA)) == 0


def test_another_sessions_workload_is_neither_scaled_nor_given_back() -> None:
    held = scaled(shop(), BOB, SHOP)

    assert given_back(held, ANA) == held
    with pytest.raises(Taken, match="was taken by session bob-2 a moment ago"):
        scaled(held, ANA, SHOP)


def test_scaling_again_keeps_the_owners_number_in_the_note() -> None:
    once = scaled(shop(), ANA, SHOP)

    assert scaled(once, ANA, SHOP) == once


def test_a_stale_note_does_not_hold_a_workload() -> None:
    thing = scaled(shop(), BOB, SHOP)
    thing["spec"]["replicas"] = 2

    note = note_of(scaled(thing, ANA, SHOP))

    assert note is not None
    assert (note.session, note.was) == (ANA, {REPLICAS: "2"})


def test_a_touched_workload_has_no_annotation_that_its_replicasets_would_keep() -> None:
    thing = touched(shop(), ANA)

    assert labels_of(thing) == {SESSION: ANA}
    assert annotations_of(thing) == {}
    assert given_back(thing, ANA) == shop()


def test_what_stands_at_0_already_is_refused() -> None:
    must_have_replicas(shop(1))
    with pytest.raises(KtError, match="deployment/shop has 0 replicas already"):
        must_have_replicas(shop(0))
    with pytest.raises(KtError, match="0 replicas already"):
        scaled(shop(0), ANA, SHOP)


def test_a_workload_that_has_got_other_pods_meanwhile_is_not_scaled() -> None:
    thing = shop()
    thing["spec"]["template"]["metadata"]["labels"] = {"app": "other"}

    with pytest.raises(KtError, match="has got other pods meanwhile"):
        scaled(thing, ANA, SHOP)


def test_a_workload_that_says_no_number_has_one_replica() -> None:
    thing = shop()
    del thing["spec"]["replicas"]

    assert replicas_of(thing) == 1


# what is behind a Service


def test_pods_are_known_by_their_owner() -> None:
    bare_set = controlled("ReplicaSet", "shop-5f7b")
    uncontrolled = things.pod("x", owners=[{"kind": "Lease", "name": "ktpy-1"}])

    assert owner_of(OF_SHOP) == ("Deployment", "shop")
    assert owner_of(bare_set) == ("ReplicaSet", "shop-5f7b")
    assert owner_of(controlled("StatefulSet", "db")) == ("StatefulSet", "db")
    assert owner_of(uncontrolled) == ("Pod", "x")


def test_pods_that_end_or_are_ours_are_no_originals() -> None:
    going = {**OF_SHOP, "metadata": {**OF_SHOP["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    done = {**controlled("Job", "import"), "status": {"phase": "Succeeded"}}
    ours = things.pod("shop-kt-scale-1", labels={**things.SELECTOR, ROLE: "shadow"})

    assert [serves(pod) for pod in (OF_SHOP, going, done, ours)] == [True, False, False, False]


def test_the_one_workload_behind_a_service_is_found_with_or_without_pods() -> None:
    other = things.deployment("cart", labels={"app": "cart"})

    assert behind(SHOP, [OF_SHOP], [other, shop()]) == shop()
    assert behind(SHOP, [], [other, shop(0)]) == shop(0)
    assert behind(SHOP, [OF_SHOP], [shop(), shop(0, name="shop-old")]) == shop()


def test_several_workloads_are_named_and_refused() -> None:
    with pytest.raises(KtError, match="leads to several workloads: deployment/shop, statefulset/db") as refused:
        behind(SHOP, [OF_SHOP], [shop(), shop(kind="StatefulSet", name="db")])
    assert refused.value.try_ == ("ktpy exchange shop      without --mode scale",)


@pytest.mark.parametrize(
    ("pod", "name"),
    [
        (things.pod("by-hand"), "pod/by-hand"),
        (controlled("ReplicaSet", "rs"), "replicaset/rs"),
        (controlled("DaemonSet", "agent"), "daemonset/agent"),
        (controlled("Job", "import"), "job/import"),
        (controlled("ReplicaSet", "gone-5f7b", **{"pod-template-hash": "5f7b"}), "deployment/gone"),
    ],
)
def test_pods_that_nothing_scalable_keeps_are_refused_by_name(pod: Object, name: str) -> None:
    with pytest.raises(KtError, match=f"leads to pods of {name}, which ktpy cannot scale"):
        behind(SHOP, [OF_SHOP, pod], [shop()])


def test_a_service_without_a_workload_is_not_found() -> None:
    with pytest.raises(NotFound, match="no Deployment or StatefulSet behind service/shop"):
        behind(SHOP, [], [])


def test_a_service_without_a_selector_leads_nowhere() -> None:
    assert not selects(things.service(selector={}), shop())


def test_other_services_are_told_apart_by_whether_the_shadow_fits_them() -> None:
    both = things.service("shop-headless", selector={"app": "shop"})
    without = things.service("metrics", selector={"app": "shop", "tier": "web", "part": "all"})
    work = shop()
    work["spec"]["template"]["metadata"]["labels"] = {**things.SELECTOR, "part": "all"}

    found = beside(SHOP, work, [SHOP, both, without, things.service("cart", selector={"app": "cart"})])

    assert found == ([Ref("Service", "shop-headless", "team")], [Ref("Service", "metrics", "team")])


def test_an_autoscaler_is_found_by_its_target() -> None:
    def scaler(kind: str, name: str) -> Object:
        return {"metadata": {"name": f"hpa-{name}"}, "spec": {"scaleTargetRef": {"kind": kind, "name": name}}}

    assert autoscaler_of(shop(), [scaler("Deployment", "cart"), scaler("Deployment", "shop")]) == "hpa-shop"
    assert autoscaler_of(shop(), [scaler("StatefulSet", "shop"), {"metadata": {}, "spec": {}}]) is None


# what the shadow wears


def test_a_shadow_wears_the_selector_and_no_more() -> None:
    assert worn(SHOP) == things.SELECTOR


def test_a_service_that_selects_by_a_controllers_own_label_is_refused() -> None:
    with pytest.raises(KtError, match="selects by pod-template-hash, which a controller gives its pods"):
        worn(things.service(selector={"app": "shop", "pod-template-hash": "5f7b"}))
