"""`clean` ends what is dead, leaves what lives, and reports copies."""

from __future__ import annotations

from ktpy.errors import Forbidden
from ktpy.model.diversion import holder_of, selector_of
from ktpy.model.marks import Match
from ktpy.model.names import CLEAN_SECONDS, DEAD_SECONDS, ROLE, ROLE_ROUTER, lease_name
from ktpy.model.ref import uid_of
from ktpy.model.target import Target
from ktpy.modes.mesh import looked, mesh
from ktpy.upkeep import clean
from tests.fakes import things
from tests.fakes.api import FakeApi, ready
from tests.fakes.left import ktctl_on, wreck_of
from tests.fakes.run import person


def selector(api: FakeApi) -> dict[str, str]:
    return selector_of(api.read("Service", "shop") or {})


def test_a_dead_session_is_given_back(api: FakeApi) -> None:
    wreck = wreck_of(api)
    kt = person(wreck, "bob").kt

    (result,) = clean.clean(kt, clean.dead(kt, CLEAN_SECONDS), older_than=CLEAN_SECONDS)

    assert result.report.did[0] == "service/shop given back"
    assert result.report.left == ()
    assert selector(wreck) == things.SELECTOR
    assert "ana on ana-laptop" in result.what


def test_a_silent_session_is_left_to_recover(api: FakeApi) -> None:
    wreck = wreck_of(api, after=DEAD_SECONDS + 1)

    assert clean.dead(person(wreck).kt, CLEAN_SECONDS) == []
    assert len(clean.dead(person(wreck).kt, DEAD_SECONDS)) == 1


def test_force_ends_living_sessions_too(api: FakeApi) -> None:
    wreck = wreck_of(api, after=1)
    kt = person(wreck, "bob").kt
    (holder,) = clean.undo.sessions(kt.cluster)

    (left_alone,) = clean.clean(kt, [holder], older_than=CLEAN_SECONDS)
    assert "left alone" in left_alone.report.did[0]
    assert holder_of(wreck.read("Service", "shop") or {}) == holder.session

    clean.clean(kt, [holder], older_than=CLEAN_SECONDS, force=True)
    assert selector(wreck) == things.SELECTOR


def test_only_a_dead_ktctl_is_cleaned(api: FakeApi) -> None:
    ktctl_on(api, beat=api.time - 400)
    ktctl_on(api, beat=api.time - 20, service="cart")
    kt = person(api).kt

    (service,) = clean.dead_of_ktctl(kt)
    (result,) = clean.clean_ktctl(kt, [service])

    assert result.what == "service/shop"
    assert selector(api) == things.SELECTOR
    assert api.names("Pod") == ["cart-kt-x1"]


def test_a_clean_namespace_has_nothing_dead_and_no_strangers(api: FakeApi) -> None:
    kt = person(api).kt

    assert (clean.dead(kt, 0), clean.dead_of_ktctl(kt), clean.strangers(kt)) == ([], [], [])


def test_services_that_only_wear_our_marks_are_strangers_and_held_ones_are_not(api: FakeApi) -> None:
    wreck = wreck_of(api, after=1)
    held = wreck.read("Service", "shop") or {}
    labels, notes = (held["metadata"][field] for field in ("labels", "annotations"))
    wreck.put({**things.service(), "metadata": {"name": "labelled", "labels": labels}})
    wreck.put({**things.service(), "metadata": {"name": "noted", "annotations": notes}})
    kt = person(wreck, "bob").kt

    assert clean.strangers(kt) == [
        "service/labelled wears ktpy.io/session but is not ktpy's: left alone",
        "service/noted wears ktpy.io/undo but is not ktpy's: left alone",
    ]


def shared(api: FakeApi, user: str = "ana") -> FakeApi:
    """What a mesh leaves that was killed."""
    for thing in (things.service(), things.pod("shop-1")):
        api.put(thing)
    api.kubelet = lambda pod: {**ready(pod), "podIP": "10.0.0.9"}
    kt = person(api, user).kt
    with mesh(kt, looked(kt, Target("Service", "shop"), (), Match("everything"))):
        return api.snapshot()


def test_a_routers_parts_are_no_strangers() -> None:
    assert clean.strangers(person(shared(FakeApi()), "bob").kt) == []


def test_a_stuntman_that_was_handed_to_draining_pods_is_no_stranger() -> None:
    wreck = shared(FakeApi())
    (name,) = [name for name in wreck.names("Service") if "stuntman" in name]
    pods = [wreck.read("Pod", pod) or {} for pod in wreck.names("Pod") if "router" in pod]
    owners = [{"apiVersion": "v1", "kind": "Pod", "name": p["metadata"]["name"], "uid": uid_of(p)} for p in pods]
    wreck.edit("Service", name, lambda now: now["metadata"].update(ownerReferences=owners))

    assert clean.strangers(person(wreck, "bob").kt) == []


def test_copies_of_a_routers_parts_are_strangers() -> None:
    wreck = shared(FakeApi())
    (name,) = [name for name in wreck.names("Service") if "stuntman" in name]
    stunt = wreck.read("Service", name) or {}
    labels = stunt["metadata"]["labels"]
    wreck.put({**things.service(), "metadata": {"name": "copy", "labels": labels}})
    wreck.put(things.pod("copy-1", labels={**labels, ROLE: ROLE_ROUTER}))

    assert clean.strangers(person(wreck, "bob").kt) == [
        "pod/copy-1 wears ktpy.io/role but is not ktpy's: left alone",
        "service/copy wears ktpy.io/session but is not ktpy's: left alone",
    ]


def test_a_session_that_is_gone_by_now_does_not_keep_the_others_waiting(api: FakeApi) -> None:
    wreck = wreck_of(api)
    bob = person(wreck, "bob")
    (dead,) = clean.dead(bob.kt, CLEAN_SECONDS)
    away: list[str] = []

    def quicker(deed: str) -> None:
        if deed.startswith("patch Lease") and not away:
            away.append(deed)
            wreck.remove("Lease", lease_name(dead.session))

    bob.wire.before = quicker
    results = clean.clean(bob.kt, [dead, dead], older_than=CLEAN_SECONDS)

    assert away
    assert [result.report.left for result in results] == [(), ()]
    assert selector(wreck) == things.SELECTOR


def test_a_failure_with_one_session_is_told_and_the_next_one_is_ended(api: FakeApi) -> None:
    wreck = wreck_of(api)
    bob = person(wreck, "bob")
    (dead,) = clean.dead(bob.kt, CLEAN_SECONDS)
    bob.wire.fail_at(len(bob.wire.calls) + 1, Forbidden("no get on leases"))

    first, second = clean.clean(bob.kt, [dead, dead], older_than=CLEAN_SECONDS)

    assert first.report.left == ("no get on leases",)
    assert second.report.left == ()
    assert selector(wreck) == things.SELECTOR
