"""kill -9 before or after any call of `exchange --mode scale`: anybody gives the replicas back, and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from ktpy import undo
from ktpy.errors import Taken
from ktpy.model import names
from ktpy.model.names import CLEAN_SECONDS
from ktpy.model.ref import Object, annotations_of, labels_of
from ktpy.model.scaling import replicas_of
from ktpy.model.target import Target
from ktpy.modes.scale import exchange, looked
from ktpy.upkeep.clean import clean, dead
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.controller import controlled
from tests.fakes.deaths import Walk, cleaned, recovered, same
from tests.fakes.run import Person, person
from tests.fakes.wire import Killed

SHOP = Target("Service", "shop")
KINDS = ("Deployment", "StatefulSet")


def a_team(kind: str = "Deployment") -> FakeApi:
    api = FakeApi()
    api.put(things.service())
    api.put(things.service("cart", selector={"app": "cart"}))
    api.put(things.deployment("cart", labels={"app": "cart"}))
    thing = things.deployment(kind=kind)
    thing["spec"]["replicas"] = 2
    thing["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"containerPort": 8080, "name": "web"}]
    controlled(api, thing)
    return api


def whole_run(user: Person) -> None:
    """Look, hold, beat once, and give back."""
    with exchange(user.kt, looked(user.kt, SHOP, ())) as link:
        link.session.renew()


def whole_hold(kind: str = "Deployment") -> FakeApi:
    """What kill -9 leaves of it in force."""
    api = a_team(kind)
    with exchange(person(api).kt, looked(person(api).kt, SHOP, ())):
        return api.snapshot()


def shop(api: FakeApi, kind: str = "Deployment") -> Object:
    found = api.read(kind, "shop")
    assert found is not None
    return found


def shop_recovered(api: FakeApi) -> None:
    recovered(api, "shop")


WALK = Walk(a_team, whole_run)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("give_back", [cleaned, shop_recovered])
def test_killed_at_any_call_its_replicas_are_given_back_by_anybody(
    give_back: Callable[[FakeApi], None], when: str
) -> None:
    WALK.is_given_back(give_back, when)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_cleaner_that_is_killed_too_leaves_what_the_next_one_finishes(when: str) -> None:
    WALK.is_given_back_by_the_next(whole_hold(), when)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("give_back", [cleaned, shop_recovered])
@pytest.mark.parametrize("orphan", [True, False])
def test_a_session_whose_lease_was_deleted_is_found_by_its_mark_on_the_workload(
    kind: str, give_back: Callable[[FakeApi], None], orphan: bool
) -> None:
    wreck = whole_hold(kind)
    (lease,) = wreck.names("Lease")
    wreck.remove("Lease", lease, orphan=orphan)

    give_back(wreck)

    assert same(wreck) == same(a_team(kind))


def test_who_may_not_list_workloads_gives_back_what_a_lease_names() -> None:
    wreck = whole_hold()
    wreck.time += CLEAN_SECONDS + 40
    bob = person(wreck, "bob")
    bob.wire.rights -= {"list deployments.apps", "list statefulsets.apps"}

    (result,) = clean(bob.kt, dead(bob.kt, CLEAN_SECONDS), older_than=CLEAN_SECONDS)

    assert "deployment/shop given back" in result.report.did
    assert same(wreck) == same(a_team())


def test_while_the_workload_cannot_be_given_back_the_lease_stays_and_it_is_said() -> None:
    wreck = whole_hold()
    wreck.time += CLEAN_SECONDS + 40
    bob = person(wreck, "bob")
    bob.wire.rights -= {"patch deployments.apps"}

    (result,) = clean(bob.kt, dead(bob.kt, CLEAN_SECONDS), older_than=CLEAN_SECONDS)

    assert result.report.left[0].startswith("deployment/shop given back: ")
    assert len(wreck.names("Lease")) == 1
    cleaned(wreck, "eve")
    assert same(wreck) == same(a_team())


def test_a_scaling_that_arrives_after_clean_changes_nothing() -> None:
    api = a_team()
    ana, after_clean = person(api), []
    plan = looked(ana.kt, SHOP, ())

    def stall(deed: str) -> None:
        """It is on its way, its laptop sleeps, and a colleague cleans up."""
        if deed == "patch Deployment shop" and not after_clean:
            cleaned(api)
            after_clean.append(same(api))

    ana.wire.before = stall
    with pytest.raises(Taken, match="ended by bob on bob-laptop"), exchange(ana.kt, plan):
        pytest.fail("it must not come into force")

    assert after_clean == [same(a_team())]
    assert same(api) == after_clean[0]
    assert all(replicas_of(state) == 2 for state in api.past("Deployment", "shop"))  # not for a moment


def test_a_give_back_of_what_was_never_scaled_writes_no_annotation_that_replicasets_would_keep() -> None:
    api = a_team()
    ana = person(api)
    ana.wire.before = lambda deed: ana.wire.die() if deed == "patch Deployment shop" else None
    with contextlib.suppress(Killed):
        whole_run(ana)

    cleaned(api)

    states = api.past("Deployment", "shop")
    assert not any(names.NOTE in annotations_of(state) for state in states)
    assert any(names.SESSION in labels_of(state) for state in states), "its version has moved"


def test_a_number_that_its_owner_has_set_meanwhile_survives() -> None:
    wreck = whole_hold()
    wreck.edit("Deployment", "shop", lambda now: now["spec"].update(replicas=4))

    cleaned(wreck)

    assert replicas_of(shop(wreck)) == 4
    assert "ktpy" not in str(shop(wreck))


def test_copies_that_wear_our_marks_are_never_touched() -> None:
    """As an owner might apply them; and a note that `kubectl rollout undo` brought back."""
    wreck = whole_hold()
    marks, note = labels_of(shop(wreck)), annotations_of(shop(wreck))
    for name, meta in {
        "copy": {"labels": marks, "annotations": note},
        "labelled": {"labels": marks},
        "noted": {"annotations": note},
    }.items():
        twin = things.deployment(name, labels={"app": name})
        wreck.put({**twin, "metadata": {**twin["metadata"], **meta}})
    before = [wreck.read("Deployment", name) for name in ("copy", "labelled", "noted")]
    (lease,) = wreck.names("Lease")
    without_lease = wreck.snapshot()
    without_lease.remove("Lease", lease)

    for api in (wreck, without_lease):
        cleaned(api)

        assert [api.read("Deployment", name) for name in ("copy", "labelled", "noted")] == before
        assert replicas_of(shop(api)) == 2
        assert undo.sessions(person(api).cluster) == []


def test_a_workload_that_was_made_anew_keeps_its_number() -> None:
    wreck = whole_hold()
    old = shop(wreck)
    wreck.remove("Deployment", "shop")
    kept = {key: old["metadata"][key] for key in ("name", "namespace", "labels", "annotations")}
    wreck.put({**old, "metadata": kept})

    cleaned(wreck)

    assert replicas_of(shop(wreck)) == 0
    assert "ktpy" not in str(shop(wreck))
    assert undo.sessions(person(wreck).cluster) == []


def test_nothing_beyond_the_published_role_is_asked_but_autoscalers() -> None:
    user = person(a_team())

    whole_run(user)

    assert not any(call.startswith(("get Secret", "list Secret", "watch Secret")) for call in user.wire.calls)
    assert [call for call in user.wire.calls if "Autoscaler" in call] == ["list HorizontalPodAutoscaler"]
