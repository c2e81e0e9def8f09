"""Every verb of Cluster, on the fake and on the real API server: what passes here the unit tests may believe."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from ktpy.errors import Conflict, Forbidden, KtError, NotFound
from ktpy.model import manifests, names
from ktpy.model.diversion import diverted, given_back, selector_of
from ktpy.model.liveness import Life, holder_from, moment, renewed_at, rfc3339
from ktpy.model.manifests import Identity
from ktpy.model.names import SessionId
from ktpy.model.ports import PodPort
from ktpy.model.ref import Object, annotations_of, labels_of, ref_of, uid_of
from ktpy.model.rights import Right, is_granted, rights
from ktpy.model.shape import PodShape
from tests.cluster.conftest import World
from tests.fakes import things

SESSION = SessionId("ana-0000abcd")
SHAPE = PodShape(image="localhost/ktpy-shadow:none", node_selector={"ktpy.test/no-such-node": "true"})


def service(world: World, name: str = "shop", **how: Any) -> Object:
    thing = things.service(name, **how)
    thing["metadata"]["namespace"] = world.cluster.namespace
    return thing


def shop(world: World) -> Object:
    """The Service as the gateway reads it, made by its owner."""
    world.put(service(world))
    found = world.cluster.get(world.ref("Service", "shop"))
    assert found is not None
    return found


def lease(world: World, session: SessionId = SESSION) -> Object:
    identity = Identity(session, "ana", "mbp-7", "exchange", "service/shop")
    return manifests.lease(identity, world.cluster.namespace, rfc3339(world.cluster.now()))


def shadow(owner: Object, name: str = "shop-kt-exchange-0000abcd") -> Object:
    return manifests.shadow_pod(name, SESSION, owner, shape=SHAPE, ports=[PodPort(80, "web")], wears={})


def relabel(key: str, value: str) -> Object:
    return {"op": "add", "path": f"/metadata/labels/{key}", "value": value}


def managers(thing: Object) -> set[str]:
    return {entry.get("manager", "") for entry in thing["metadata"].get("managedFields") or []}


# reading


def test_what_is_not_there_is_none(world: World) -> None:
    assert world.cluster.get(world.ref("Service", "shop")) is None


def test_an_object_read_names_its_kind_and_version(world: World) -> None:
    found = shop(world)

    assert (found["kind"], found["apiVersion"]) == ("Service", "v1")
    assert ref_of(found) == world.ref("Service", "shop")


def test_list_items_name_their_kind_as_single_objects_do(world: World) -> None:
    found = shop(world)

    assert world.cluster.find("Service") == [found]


def test_labels_select_by_value_and_by_key_alone(world: World) -> None:
    shop(world)
    world.put(service(world, "cart"))

    assert [s["metadata"]["name"] for s in world.cluster.find("Service", labels={"app": "cart"})] == ["cart"]
    assert len(world.cluster.find("Service", labels={"app": None})) == 2
    assert world.cluster.find("Service", labels={"app": None, "role": None}) == []


def test_one_name_selects_one_object(world: World) -> None:
    shop(world)
    world.put(service(world, "cart"))

    found, version = world.cluster.find_at("Service", name="cart")

    assert [s["metadata"]["name"] for s in found] == ["cart"]
    assert version.isdigit()


def test_a_list_everywhere_holds_this_namespace_too(world: World) -> None:
    shop(world)

    found, _ = world.cluster.find_at("Service", everywhere=True)

    assert (world.cluster.namespace, "shop") in [(s["metadata"]["namespace"], s["metadata"]["name"]) for s in found]


def test_the_clock_is_the_servers(world: World) -> None:
    made = world.cluster.create(lease(world))

    assert world.cluster.now() == int(world.cluster.now())
    assert abs(world.cluster.now() - moment(made["metadata"]["creationTimestamp"])) <= 1


def test_rights_are_reviewed_one_by_one(world: World) -> None:
    assert all(world.cluster.may(right) for right in rights())
    assert not world.nobody.may(Right("create", "", "pods"))
    assert not world.nobody.may(Right("create", "", "pods", "portforward"))


def test_rules_tell_of_most_rights_at_once(world: World) -> None:
    assert all(is_granted(world.cluster.rules(), right) for right in rights())
    assert not is_granted(world.nobody.rules(), Right("create", "", "pods"))


# creating


def test_what_is_created_comes_back_with_uid_version_and_our_entry(world: World) -> None:
    made = world.cluster.create(lease(world))

    assert made == world.cluster.get(ref_of(made))
    assert uid_of(made)
    assert managers(made) == {names.MANAGER}
    assert labels_of(made)[names.SESSION] == SESSION


def test_a_name_that_is_taken_is_a_conflict(world: World) -> None:
    first = world.cluster.create(lease(world))

    with pytest.raises(Conflict, match="already exists"):
        world.cluster.create(lease(world))

    assert world.cluster.get(ref_of(first)) == first


def test_a_dry_run_is_checked_and_creates_nothing(world: World) -> None:
    made = world.cluster.create(lease(world), dry_run=True)

    assert uid_of(made)
    assert world.cluster.find("Lease", labels={names.ROLE: None}) == []


def test_a_dry_run_meets_a_taken_name(world: World) -> None:
    world.cluster.create(lease(world))

    with pytest.raises(Conflict):
        world.cluster.create(lease(world), dry_run=True)


def test_every_object_of_a_session_passes_a_dry_run_without_its_owner(world: World) -> None:
    """The real namespace enforces Pod Security *restricted*."""
    mine = lease(world)
    owner = {**mine, "metadata": {**mine["metadata"], "uid": "00000000-0000-0000-0000-000000000000"}}
    secret = manifests.key_secret(SESSION, owner, {"authorized_keys": "none"})

    for thing in (mine, secret, shadow(owner)):
        world.cluster.create(thing, dry_run=True)


def test_text_in_a_secret_is_stored_as_data(world: World) -> None:
    owner = world.cluster.create(lease(world))

    made = world.cluster.create(manifests.key_secret(SESSION, owner, {"authorized_keys": "none"}))

    assert made["data"] == {"authorized_keys": "bm9uZQ=="}


def test_a_name_that_kubernetes_does_not_allow_is_told(world: World) -> None:
    with pytest.raises(KtError, match="Invalid value") as refused:
        world.cluster.create(service(world, "No_Name"))

    assert type(refused.value) is KtError


def test_nothing_can_be_created_where_there_is_no_namespace(world: World) -> None:
    elsewhere = type(world.cluster)(world.api, "ktpy-test-no-such-namespace")
    thing = lease(world)
    thing["metadata"]["namespace"] = elsewhere.namespace

    with pytest.raises(NotFound, match="namespaces"):
        elsewhere.create(thing)


def test_a_user_without_rights_is_told_what_he_may_not(world: World) -> None:
    with pytest.raises(Forbidden, match="cannot list"):
        world.nobody.find("Service")
    with pytest.raises(Forbidden, match="cannot be created"):
        world.nobody.create(lease(world))
    with pytest.raises(Forbidden):
        world.nobody.get(world.ref("Service", "shop"))


# changing


def test_a_change_is_written_and_signed(world: World) -> None:
    before = shop(world)

    after = world.cluster.change(ref_of(before), lambda now: diverted(now, SESSION, "kt-1"))

    assert after == world.cluster.get(ref_of(before))
    assert after is not None
    assert selector_of(after) == {"app": "kt-1", "tier": "kt-1"}
    assert managers(after) == {"kubectl", names.MANAGER}


def test_a_change_and_its_undo_leave_the_spec_as_it_was(world: World) -> None:
    before = shop(world)
    world.cluster.change(ref_of(before), lambda now: diverted(now, SESSION, "kt-1"))

    after = world.cluster.change(ref_of(before), lambda now: given_back(now, SESSION))

    assert after is not None
    assert after["spec"] == before["spec"]
    assert labels_of(after) == labels_of(before)
    assert annotations_of(after) == annotations_of(before)


def test_a_change_that_changes_nothing_writes_nothing(world: World) -> None:
    before = shop(world)
    asked: list[str] = []

    after = world.cluster.change(ref_of(before), lambda now: now, before=lambda: asked.append("renewed"))

    assert after == before
    assert asked == []


def test_what_is_gone_cannot_be_changed(world: World) -> None:
    assert world.cluster.change(world.ref("Service", "shop"), lambda now: diverted(now, SESSION, "x")) is None


def test_what_goes_between_reading_and_writing_is_gone(world: World) -> None:
    before = shop(world)

    after = world.cluster.change(
        ref_of(before), lambda now: diverted(now, SESSION, "x"), before=lambda: world.remove(ref_of(before))
    )

    assert after is None


def test_a_write_in_between_is_read_and_kept(world: World) -> None:
    before = shop(world)
    ref = ref_of(before)
    raced: list[Object] = []

    def race() -> None:
        if not raced:
            raced.append(world.edit(ref, relabel("team", "payments")))

    after = world.cluster.change(ref, lambda now: diverted(now, SESSION, "kt-1"), before=race)

    assert after is not None
    assert labels_of(after)["team"] == "payments"
    assert selector_of(after)["app"] == "kt-1"


def test_two_who_take_the_same_thing_away_at_once_both_succeed(world: World) -> None:
    """The patch of the second no longer fits: the server says 422, and 409 is what is meant."""
    ref = ref_of(shop(world))
    world.cluster.change(ref, lambda now: diverted(now, SESSION, "kt-1"))
    first: list[object] = []

    def race() -> None:
        if not first:
            first.append(world.cluster.change(ref, lambda now: given_back(now, SESSION)))

    after = world.cluster.change(ref, lambda now: given_back(now, SESSION), before=race)

    assert first == [after]
    assert after is not None
    assert selector_of(after) == things.SELECTOR


def test_many_changes_at_once_all_take_effect(world: World) -> None:
    before = shop(world)
    ref = ref_of(before)

    def mark(number: int) -> None:
        def how(now: Object) -> Object:
            meta = now["metadata"]
            return {**now, "metadata": {**meta, "labels": {**labels_of(now), f"n{number}": "1"}}}

        world.cluster.change(ref, how)

    threads = [threading.Thread(target=mark, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    after = world.cluster.get(ref)
    assert after is not None
    assert {f"n{number}" for number in range(4)} <= labels_of(after).keys()


def test_others_who_write_all_the_time_are_a_conflict(world: World) -> None:
    before = shop(world)
    count = iter(range(99))

    with pytest.raises(Conflict, match="all the time"):
        world.cluster.change(
            ref_of(before),
            lambda now: diverted(now, SESSION, "kt-1"),
            before=lambda: world.edit(ref_of(before), relabel("n", str(next(count)))),
        )


def test_a_patch_of_an_older_version_is_a_conflict(world: World) -> None:
    before = shop(world)
    world.edit(ref_of(before), relabel("n", "1"))

    with pytest.raises(Conflict):
        world.cluster.patch(before, [relabel("n", "2")])


def test_a_patch_meant_for_an_object_of_the_same_name_before_this_one_is_a_conflict(world: World) -> None:
    before = shop(world)
    world.remove(ref_of(before))
    again = shop(world)

    with pytest.raises(Conflict):
        world.cluster.patch(before, [relabel("n", "2")])

    assert world.cluster.get(ref_of(again)) == again


def test_a_patch_of_nothing_is_not_found(world: World) -> None:
    before = shop(world)
    world.remove(ref_of(before))

    with pytest.raises(NotFound):
        world.cluster.patch(before, [relabel("n", "1")])


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/metadata/annotations/none"},
        {"op": "replace", "path": "/spec/ports/7", "value": {}},
        {"op": "replace", "path": "/metadata/uid", "value": "another"},
        {"op": "add", "path": "/metadata/annotations/x", "value": "y"},
    ],
)
def test_a_patch_that_does_not_fit_is_refused_whole(world: World, operation: Object) -> None:
    before = shop(world)

    with pytest.raises(KtError) as refused:
        world.cluster.patch(before, [relabel("n", "1"), operation])

    assert type(refused.value) is KtError
    assert world.cluster.get(ref_of(before)) == before


def test_replacing_a_key_that_is_not_there_adds_it(world: World) -> None:
    before = shop(world)

    after = world.cluster.patch(before, [{"op": "replace", "path": "/metadata/labels/n", "value": "1"}])

    assert labels_of(after)["n"] == "1"


def test_a_patch_that_changes_nothing_makes_no_new_version(world: World) -> None:
    before = shop(world)

    assert world.cluster.patch(before, [relabel("app", "shop")]) == before


def test_keys_with_slashes_and_tildes_are_patched(world: World) -> None:
    before = shop(world)

    after = world.cluster.change(
        ref_of(before),
        lambda now: {**now, "metadata": {**now["metadata"], "annotations": {"a.io/b": "1", "c": "~/x"}}},
    )
    assert after is not None
    gone = world.cluster.change(
        ref_of(before), lambda now: {**now, "metadata": {**now["metadata"], "annotations": {"c": "~/y"}}}
    )

    assert annotations_of(after) == {"a.io/b": "1", "c": "~/x"}
    assert gone is not None
    assert annotations_of(gone) == {"c": "~/y"}


# leaving no trace


def test_our_entry_can_be_taken_off_what_others_own(world: World) -> None:
    before = shop(world)
    after = world.cluster.change(ref_of(before), lambda now: diverted(now, SESSION, "kt-1"))
    assert after is not None

    bare = world.cluster.forget_us(after)

    assert bare == world.cluster.get(ref_of(before))
    assert bare is not None
    assert managers(bare) == {"kubectl"}
    assert selector_of(bare) == selector_of(after)


def test_our_entry_can_be_taken_off_where_it_is_the_only_one(world: World) -> None:
    made = world.cluster.create(service(world))

    bare = world.cluster.forget_us(made)

    assert bare is not None
    assert managers(bare) == set()


def test_forgetting_twice_writes_once(world: World) -> None:
    made = world.cluster.create(service(world))
    bare = world.cluster.forget_us(made)
    assert bare is not None

    assert world.cluster.forget_us(bare) == bare


def test_forgetting_goes_on_when_somebody_writes_in_between(world: World) -> None:
    made = world.cluster.create(service(world))
    world.edit(ref_of(made), relabel("n", "1"))

    bare = world.cluster.forget_us(made)

    assert bare is not None
    assert names.MANAGER not in managers(bare)
    assert labels_of(bare)["n"] == "1"


def test_what_is_gone_has_forgotten_us(world: World) -> None:
    made = world.cluster.create(service(world))
    world.remove(ref_of(made))

    assert world.cluster.forget_us(made) is None


def test_a_change_after_forgetting_signs_again(world: World) -> None:
    before = shop(world)
    world.cluster.forget_us(world.cluster.change(ref_of(before), lambda now: diverted(now, SESSION, "kt-1")) or {})

    after = world.cluster.change(ref_of(before), lambda now: given_back(now, SESSION))

    assert after is not None
    assert names.MANAGER in managers(after)


# deleting and collecting


def test_what_is_deleted_is_gone_and_deleting_again_says_so(world: World) -> None:
    made = world.cluster.create(lease(world))

    assert world.cluster.delete(ref_of(made), uid=uid_of(made)) is True
    assert world.cluster.get(ref_of(made)) is None
    assert world.cluster.delete(ref_of(made), uid=uid_of(made)) is False


def test_another_object_of_the_same_name_is_left_alone(world: World) -> None:
    old = world.cluster.create(lease(world))
    world.cluster.delete(ref_of(old))
    new = world.cluster.create(lease(world))

    assert world.cluster.delete(ref_of(new), uid=uid_of(old)) is False
    assert world.cluster.get(ref_of(new)) == new


def test_a_pod_that_no_node_has_is_gone_at_once(world: World) -> None:
    owner = world.cluster.create(lease(world))
    pod = world.cluster.create(shadow(owner))

    assert world.cluster.delete(ref_of(pod), uid=uid_of(pod), grace=1) is True
    assert world.soon(lambda: world.cluster.get(ref_of(pod)) is None)


def test_what_a_lease_owns_goes_with_it(world: World) -> None:
    owner = world.cluster.create(lease(world))
    pod = world.cluster.create(shadow(owner))
    secret = world.cluster.create(manifests.key_secret(SESSION, owner, {"authorized_keys": "none"}))

    world.cluster.delete(ref_of(owner), uid=uid_of(owner))

    assert world.soon(lambda: world.cluster.get(ref_of(pod)) is None)
    assert world.soon(lambda: world.cluster.get(ref_of(secret)) is None)


def test_an_orphaned_pod_stays_and_has_lost_its_owner(world: World) -> None:
    owner = world.cluster.create(lease(world))
    pod = world.cluster.create(shadow(owner))

    world.remove(ref_of(owner), policy="Orphan")

    assert world.soon(lambda: world.cluster.get(ref_of(owner)) is None)
    left = world.cluster.get(ref_of(pod))
    assert left is not None
    assert not left["metadata"].get("ownerReferences")


# the heartbeat


def test_the_stamp_of_a_heartbeat_is_the_servers(world: World) -> None:
    made = world.cluster.create(lease(world))

    beaten = world.cluster.patch(made, [{"op": "replace", "path": "/spec/renewTime", "value": rfc3339(5.5)}])

    assert beaten["spec"]["renewTime"] == "1970-01-01T00:00:05.500000Z"
    assert abs(renewed_at(beaten) - world.cluster.now()) <= 2
    assert holder_from(beaten, world.cluster.now()).life is Life.ALIVE


def test_a_heartbeat_after_the_lease_was_deleted_does_not_bring_it_back(world: World) -> None:
    made = world.cluster.create(lease(world))
    world.cluster.delete(ref_of(made))

    with pytest.raises(NotFound):
        world.cluster.patch(made, [{"op": "replace", "path": "/spec/renewTime", "value": rfc3339(5.5)}])

    assert world.cluster.get(ref_of(made)) is None


# watching


def collected(world: World, count: int, **how: Any) -> list[tuple[str, str]]:
    """The first COUNT events of a watch on Services, as (type, name)."""
    found: list[tuple[str, str]] = []
    with world.cluster.watch("Service", seconds=10, **how) as lines:
        for event in lines:
            if event["type"] != "BOOKMARK":
                found.append((event["type"], event["object"]["metadata"]["name"]))
            if len(found) == count:
                break
    return found


def test_a_watch_begins_with_all_that_is_there(world: World) -> None:
    shop(world)

    assert collected(world, 1) == [("ADDED", "shop")]


def test_a_watch_from_a_version_tells_what_came_after(world: World) -> None:
    _, version = world.cluster.find_at("Service")
    ref = ref_of(shop(world))
    world.edit(ref, relabel("n", "1"))
    world.remove(ref)

    events = collected(world, 3, since=version)

    assert events == [("ADDED", "shop"), ("MODIFIED", "shop"), ("DELETED", "shop")]


def test_a_watch_hears_of_one_name_only(world: World) -> None:
    _, version = world.cluster.find_at("Service")
    world.put(service(world, "cart"))
    shop(world)

    assert collected(world, 1, since=version, name="shop") == [("ADDED", "shop")]


def test_what_begins_or_ceases_to_match_comes_and_goes_for_a_watch(world: World) -> None:
    ref = ref_of(shop(world))
    _, version = world.cluster.find_at("Service")
    world.edit(ref, relabel("n", "1"))
    world.edit(ref, {"op": "remove", "path": "/metadata/labels/n"})

    assert collected(world, 2, since=version, labels={"n": None}) == [("ADDED", "shop"), ("DELETED", "shop")]


def test_a_watched_object_is_the_one_that_a_read_gives(world: World) -> None:
    found = shop(world)

    with world.cluster.watch("Service", seconds=10) as lines:
        event = next(iter(lines))

    assert event["object"] == found


def test_a_deleted_object_in_the_history_still_has_its_last_state(world: World) -> None:
    made = world.cluster.create(lease(world))
    world.cluster.patch(
        made, [{"op": "add", "path": f"/metadata/annotations/{_escaped(names.ENDED_BY)}", "value": "bob"}]
    )
    world.cluster.delete(ref_of(made))

    with world.cluster.watch("Lease", name=made["metadata"]["name"], since=made["metadata"]["resourceVersion"],
                             seconds=10) as lines:  # fmt: skip
        last = next(event for event in lines if event["type"] == "DELETED")

    assert annotations_of(last["object"])[names.ENDED_BY] == "bob"


def test_a_watch_ends_by_itself_after_the_seconds_it_was_given(world: World) -> None:
    _, version = world.cluster.find_at("Service")

    with world.cluster.watch("Service", since=version, seconds=1) as lines:
        assert [event for event in lines if event["type"] != "BOOKMARK"] == []


def test_a_watch_can_be_cancelled_from_another_thread(world: World) -> None:
    _, version = world.cluster.find_at("Service")
    seen: list[object] = []
    with world.cluster.watch("Service", since=version) as lines:
        reader = threading.Thread(target=lambda: seen.extend(e for e in lines if e["type"] != "BOOKMARK"))
        reader.start()
        lines.cancel()
        reader.join(10)

    assert not reader.is_alive()
    assert seen == []


def _escaped(key: str) -> str:
    return key.replace("/", "~1")
