"""Giving back: what is ours goes, what is not stays, a failure stops nothing, and what is left is said."""

from __future__ import annotations

import pytest

from ktpy import restore, undo
from ktpy.errors import Taken, Unreachable
from ktpy.model import manifests, names
from ktpy.model.diversion import diverted, holder_of, selector_of
from ktpy.model.liveness import Life, rfc3339
from ktpy.model.manifests import Identity
from ktpy.model.names import SessionId
from ktpy.model.ports import PodPort
from ktpy.model.ref import Object, annotations_of, labels_of
from ktpy.model.shape import PodShape
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.meshes import left_by, owners, table
from tests.fakes.run import Person, person
from tests.fakes.wire import Killed

ANA, BOB = SessionId("ana-1"), SessionId("bob-2")


def held(api: FakeApi, session: SessionId = ANA, *, name: str = "shop") -> Person:
    """NAME held by SESSION, with its Lease, Secret and pod, as an exchange in force leaves it."""
    user = person(api, session.partition("-")[0])
    cluster = user.cluster
    if api.read("Service", name) is None:
        api.put(things.service(name))
    identity = Identity(session, user.kt.user.name, user.kt.user.host, "exchange", f"service/{name}")
    lease = cluster.create(manifests.lease(identity, "team", rfc3339(api.time)))
    cluster.create(manifests.key_secret(session, lease, {"authorized_keys": "x"}))
    pod = names.shadow_name(name, "exchange", session)
    cluster.create(manifests.shadow_pod(pod, session, lease, shape=PodShape(image="x"), ports=[PodPort(80)], wears={}))
    cluster.change(cluster.ref("Service", name), lambda now: diverted(now, session, names.selector_value(session)))
    user.wire.calls.clear()
    return user


def service(api: FakeApi, name: str = "shop") -> Object:
    found = api.read("Service", name)
    assert found is not None
    return found


def test_everything_is_given_back_in_order_the_lease_last(api: FakeApi) -> None:
    ana = held(api)

    report = undo.give_back(ana.cluster, ANA, late_writes=False)

    assert selector_of(service(api)) == things.SELECTOR
    assert [api.names(kind) for kind in ("Pod", "Secret", "Lease")] == [[], [], []]
    assert ana.wire.changes() == [
        "patch Service shop", "patch Service shop", "delete Pod shop-kt-exchange-1", "delete Secret ktpy-ana-1",
        "delete Lease ktpy-ana-1",
    ]  # fmt: skip
    assert report.did == (
        "service/shop given back", "pod/shop-kt-exchange-1 deleted", "secret/ktpy-ana-1 deleted",
        "lease/ktpy-ana-1 deleted",
    )  # fmt: skip
    assert (report.left, report.again) == ((), False)


def test_giving_back_twice_does_nothing_more(api: FakeApi) -> None:
    ana = held(api)
    undo.give_back(ana.cluster, ANA)
    version = service(api)["metadata"]["resourceVersion"]

    report = undo.give_back(ana.cluster, ANA)

    assert report == undo.Report()
    assert service(api)["metadata"]["resourceVersion"] == version


def test_nothing_of_others_goes(api: FakeApi) -> None:
    ana = held(api)
    held(api, BOB, name="cart")
    before = service(api, "cart")

    undo.give_back(ana.cluster, ANA)

    assert service(api, "cart") == before
    assert api.names("Lease") == ["ktpy-bob-2"]
    assert api.names("Pod") == ["cart-kt-exchange-2"]


def copied(api: FakeApi, *, name: str = "shop-copy") -> Object:
    """The Service as `kubectl get -o yaml`, cleaned and applied, makes it again: marks and all."""
    source = service(api)
    meta = {field: dict(source["metadata"][field]) for field in ("labels", "annotations")}
    return api.put({**source, "metadata": {"name": name, "namespace": "team", **meta}})


def test_a_copy_of_a_diverted_service_is_not_touched_and_not_taken_for_a_session(api: FakeApi) -> None:
    ana = held(api)
    copy = copied(api)
    labelled = api.put({**things.service("labelled"), "metadata": {"name": "labelled", "labels": labels_of(copy)}})

    undo.give_back(ana.cluster, ANA)

    assert (service(api, "shop-copy"), service(api, "labelled")) == (copy, labelled)
    assert selector_of(service(api)) == things.SELECTOR
    assert undo.sessions(person(api).cluster) == []


def test_a_copy_of_a_lease_is_no_session(api: FakeApi) -> None:
    held(api)
    lease = api.read("Lease", "ktpy-ana-1")
    assert lease is not None
    api.put({**lease, "metadata": {"name": "copy", "namespace": "team", "labels": labels_of(lease)}})
    api.remove("Lease", "ktpy-ana-1", orphan=True)

    (holder,) = undo.sessions(person(api).cluster)

    assert (holder.session, holder.life) == (ANA, Life.ENDED)


def test_a_give_back_that_was_killed_in_the_middle_of_touching_is_found_without_a_lease(api: FakeApi) -> None:
    ana = held(api)
    restore.put_back(ana.cluster, ana.cluster.ref("Service", "shop"), ANA)
    before = labels_of(service(api))
    restore.touch(ana.cluster, ana.cluster.ref("Service", "shop"), ANA)
    api.remove("Lease", "ktpy-ana-1")
    bob = person(api, "bob")

    (holder,) = undo.sessions(bob.cluster)
    undo.end(bob.cluster, holder, "bob")

    assert labels_of(service(api)) == before
    assert names.NOTE not in annotations_of(service(api))
    assert undo.sessions(bob.cluster) == []


def test_a_service_that_another_session_took_meanwhile_stays_his_with_his_entry(api: FakeApi) -> None:
    ana = held(api)
    api.edit("Service", "shop", lambda now: now.update(diverted(now, BOB, "kt-2")), manager=names.MANAGER)
    before = service(api)

    undo.give_back(ana.cluster, ANA)

    assert holder_of(service(api)) == BOB
    assert service(api) == before


def test_what_cannot_be_deleted_is_said_and_the_rest_goes_on(api: FakeApi) -> None:
    ana = held(api)
    ana.wire.rights -= {"delete pods"}

    report = undo.give_back(ana.cluster, ANA)

    assert selector_of(service(api)) == things.SELECTOR
    assert api.names("Secret") == []
    assert api.names("Lease") == ["ktpy-ana-1"]
    (left,) = report.left
    assert left.startswith("pod/shop-kt-exchange-1 deleted: ")
    assert not report.again


def test_while_the_service_cannot_be_given_back_the_shadow_and_the_lease_stay(api: FakeApi) -> None:
    ana = held(api)
    ana.wire.rights -= {"patch services"}

    report = undo.give_back(ana.cluster, ANA)

    assert report.left
    assert [len(api.names(kind)) for kind in ("Pod", "Secret", "Lease")] == [1, 1, 1]


def test_no_answer_is_worth_another_try(api: FakeApi) -> None:
    ana = held(api)
    ana.wire.fail_at(1, Unreachable("gone"))

    assert undo.give_back(ana.cluster, ANA).again
    assert undo.give_back(ana.cluster, ANA).left == ()


def test_a_bug_is_not_swallowed(api: FakeApi) -> None:
    ana = held(api)
    ana.wire.fail_at(1, Killed())

    with pytest.raises(Killed):
        undo.give_back(ana.cluster, ANA)


def test_a_give_back_of_another_moves_the_version_though_nothing_is_held(api: FakeApi) -> None:
    ana = held(api)
    restore.put_back(ana.cluster, ana.cluster.ref("Service", "shop"), ANA)
    before = service(api)["metadata"]["resourceVersion"]

    undo.give_back(person(api, "bob").cluster, ANA)

    assert service(api)["metadata"]["resourceVersion"] != before
    assert names.SESSION not in labels_of(service(api))


def test_a_pod_that_is_going_already_is_not_deleted_again(api: FakeApi) -> None:
    ana = held(api)
    going = {"deletionTimestamp": "2027-01-01T00:00:00Z", "deletionGracePeriodSeconds": 1}
    api.edit("Pod", "shop-kt-exchange-1", lambda now: now["metadata"].update(going))

    undo.give_back(ana.cluster, ANA)

    assert "delete Pod shop-kt-exchange-1" not in ana.wire.calls


def test_a_copy_of_a_shadow_is_not_ours_without_owner_and_own_name(api: FakeApi) -> None:
    held(api)
    shadow = api.read("Pod", "shop-kt-exchange-1")
    assert shadow is not None
    assert undo.was_born_ours(shadow, ANA)
    assert not undo.was_born_ours(shadow, BOB)

    copy = {**shadow, "metadata": {**shadow["metadata"], "name": "copy", "ownerReferences": []}}
    orphan = {**shadow, "metadata": {**shadow["metadata"], "ownerReferences": []}}
    adopted = {**shadow, "metadata": {**shadow["metadata"], "ownerReferences": [{"kind": "ReplicaSet", "name": "x"}]}}

    assert [undo.was_born_ours(thing, ANA) for thing in (copy, orphan, adopted)] == [False, True, False]


def test_sessions_are_found_by_lease_and_by_what_they_left(api: FakeApi) -> None:
    held(api)
    held(api, BOB, name="cart")
    api.remove("Lease", "ktpy-bob-2", orphan=True)

    ana, bob = undo.sessions(person(api).cluster)

    assert (ana.session, ana.life, ana.owner) == (ANA, Life.ALIVE, "ana")
    assert (bob.session, bob.life) == (BOB, Life.ENDED)


def test_a_named_session_without_a_lease_is_lost(api: FakeApi) -> None:
    held(api)

    assert undo.holder_named(person(api).cluster, ANA).life is Life.ALIVE
    assert undo.holder_named(person(api).cluster, BOB).life is Life.ENDED


def test_ending_another_takes_his_lease_first(api: FakeApi) -> None:
    held(api)
    bob = person(api, "bob")
    (holder,) = undo.sessions(bob.cluster)

    undo.end(bob.cluster, holder, "bob", force=True)

    assert bob.wire.changes()[0] == "patch Lease ktpy-ana-1"
    assert selector_of(service(api)) == things.SELECTOR


def test_a_living_session_is_not_ended_without_force(api: FakeApi) -> None:
    held(api)
    bob = person(api, "bob")
    (holder,) = undo.sessions(bob.cluster)

    with pytest.raises(Taken, match="is alive"):
        undo.end(bob.cluster, holder, "bob")

    assert bob.wire.changes() == []


def test_one_who_wakes_up_while_his_lease_is_taken_is_judged_again(api: FakeApi) -> None:
    held(api)
    api.time += 100
    bob = person(api, "bob")
    (holder,) = undo.sessions(bob.cluster)

    def wake(deed: str) -> None:
        if deed == "patch Lease ktpy-ana-1":
            api.edit("Lease", "ktpy-ana-1", lambda now: now["spec"].update(renewTime="now"), manager=names.MANAGER)

    bob.wire.before = wake
    with pytest.raises(Taken, match="is alive"):
        undo.end(bob.cluster, holder, "bob")

    assert holder_of(service(api)) == ANA


def test_two_cleaners_at_once_both_succeed(api: FakeApi) -> None:
    held(api)
    api.time += 400
    bob, eve = person(api, "bob"), person(api, "eve")
    (holder,) = undo.sessions(bob.cluster)
    reports = []

    def race(deed: str) -> None:
        bob.wire.before = lambda deed: None
        reports.append(undo.end(eve.cluster, holder, "eve"))

    bob.wire.before = race
    reports.append(undo.end(bob.cluster, holder, "bob"))

    assert [report.left for report in reports] == [(), ()]
    assert selector_of(service(api)) == things.SELECTOR
    assert api.names("Lease") == []


def test_a_lease_that_is_gone_cannot_be_taken(api: FakeApi) -> None:
    assert undo.end_by(person(api).cluster, ANA, "bob", may=lambda holder: True) is None


def test_a_refused_right_is_told_and_not_raised(api: FakeApi) -> None:
    ana = held(api)
    ana.wire.rights -= {"list services"}

    report = undo.give_back(ana.cluster, ANA)

    assert report.left[0].startswith("looked for what it holds: ")
    assert api.names("Lease") == ["ktpy-ana-1"]


def test_forgetting_nothing_is_nothing(api: FakeApi) -> None:
    restore.forget_us(person(api).cluster, None)


def test_a_session_is_dead_by_age_or_by_its_end(api: FakeApi) -> None:
    held(api)
    (holder,) = undo.sessions(person(api).cluster)

    assert not undo.is_dead(holder, 32)
    assert undo.is_dead(holder, -1)
    assert undo.is_dead(undo.holder_named(person(api).cluster, BOB), 32)


# routers


def test_the_target_of_a_lease_is_its_services_name(api: FakeApi) -> None:
    held(api)

    assert undo.target_of(api.read("Lease", "ktpy-ana-1")) == "shop"
    assert undo.target_of(None) == ""


def test_a_give_back_strikes_the_rows_and_the_last_one_ends_the_router() -> None:
    wreck = left_by("ana", "bob")
    router, before = table(wreck).router, service(wreck)
    first, second = owners(wreck)
    eve = person(wreck, "eve")

    report = undo.give_back(eve.cluster, SessionId(first))

    assert "its routes struck" in report.did
    assert (owners(wreck), service(wreck)) == ((second,), before)
    assert undo.give_back(eve.cluster, SessionId(second), linger=0.0).left == ()
    assert selector_of(service(wreck)) == things.SELECTOR
    assert names.lease_name(router) not in wreck.names("Lease")


def test_a_router_is_no_session_while_it_has_a_lease_and_a_lost_one_after() -> None:
    wreck = left_by("ana")
    router = table(wreck).router
    assert [holder.owner for holder in undo.sessions(person(wreck).cluster)] == ["ana"]

    wreck.remove("Lease", names.lease_name(router))

    assert router in [holder.session for holder in undo.sessions(person(wreck).cluster)]
    undo.give_back(person(wreck, "eve").cluster, router)
    assert selector_of(service(wreck)) == things.SELECTOR


def test_while_the_routes_cannot_be_struck_the_lease_stays() -> None:
    wreck = left_by("ana")
    (session,) = owners(wreck)
    eve = person(wreck, "eve")
    eve.wire.rights -= {"patch configmaps"}

    report = undo.give_back(eve.cluster, SessionId(session))

    assert report.left[0].startswith("its routes struck: ")
    assert names.lease_name(session) in wreck.names("Lease")
    assert not report.again
