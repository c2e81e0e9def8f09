"""The crash story of a preview: kill -9 before or after any call to the API server, and nothing of it is left."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ktpy import undo
from ktpy.errors import Taken
from ktpy.model import names, preview
from ktpy.model.diversion import selector_of
from ktpy.model.names import CLEAN_SECONDS, DEAD_SECONDS
from ktpy.model.preview import Wanted
from ktpy.model.ref import Object, labels_of
from ktpy.model.rights import INGRESS
from ktpy.modes.preview import looked
from ktpy.modes.preview import preview as previewed
from ktpy.upkeep.clean import dead, strangers
from ktpy.upkeep.recover import recover
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.deaths import Walk, cleaned, recovered, same
from tests.fakes.run import Person, essence, person

WANTED = Wanted("web", preview.routes(["5000:80,5001:81"]), external=True, host="web.example.com")


def a_team() -> FakeApi:
    api = FakeApi()
    api.put(things.service())
    api.put(things.pod("shop-1"))
    return api


def a_user(api: FakeApi, name: str = "ana") -> Person:
    """Who also has the rights for --host."""
    user = person(api, name)
    user.wire.rights |= {str(right) for right in INGRESS}
    return user


def whole_run(user: Person) -> None:
    """Look, hold, beat once, and give back."""
    with previewed(user.kt, looked(user.kt, WANTED)) as link:
        link.session.renew()


def whole_hold() -> FakeApi:
    """What kill -9 leaves of a preview in force."""
    api = a_team()
    user = a_user(api)
    with previewed(user.kt, looked(user.kt, WANTED)):
        return api.snapshot()


def service(api: FakeApi, name: str = "web") -> Object:
    found = api.read("Service", name)
    assert found is not None
    return found


WALK = Walk(a_team, whole_run, a_user)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("give_back", [cleaned, recovered])
def test_killed_at_any_call_nothing_is_left_by_anybodys_clean(give_back: Callable[[FakeApi], None], when: str) -> None:
    WALK.is_given_back(give_back, when)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_cleaner_that_is_killed_too_leaves_what_the_next_one_finishes(when: str) -> None:
    WALK.is_given_back_by_the_next(whole_hold(), when)


def test_giving_back_deletes_the_service_before_the_shadow_and_the_lease_last() -> None:
    wreck = whole_hold()
    bob = person(wreck, "bob")
    (holder,) = undo.sessions(bob.cluster)

    report = undo.give_back(bob.cluster, holder.session)

    assert [call.split()[:2] for call in bob.wire.changes()] == [
        ["delete", "Service"], ["delete", "Pod"], ["delete", "Secret"], ["delete", "Lease"],
    ]  # fmt: skip
    assert report.did[0] == "service/web taken away"
    assert undo.give_back(bob.cluster, holder.session) == undo.Report()


def test_while_the_service_cannot_be_deleted_the_shadow_and_the_lease_stay() -> None:
    wreck = whole_hold()
    bob = person(wreck, "bob")
    bob.wire.rights -= {"delete services"}
    (holder,) = undo.sessions(bob.cluster)

    report = undo.give_back(bob.cluster, holder.session)

    assert report.left[0].startswith("service/web taken away: ")
    assert [len(wreck.names(kind)) for kind in ("Service", "Pod", "Lease")] == [2, 2, 1]


def test_a_service_that_is_going_already_is_not_deleted_again() -> None:
    wreck = whole_hold()
    wreck.edit("Service", "web", lambda now: now["metadata"].update(deletionTimestamp="2027-01-01T00:00:00Z"))
    bob = person(wreck, "bob")
    (holder,) = undo.sessions(bob.cluster)

    undo.give_back(bob.cluster, holder.session)

    assert "delete Service web" not in bob.wire.calls


def test_a_living_preview_is_neither_cleaned_nor_a_stranger() -> None:
    wreck = whole_hold()
    held = essence(wreck)
    bob = person(wreck, "bob")

    assert dead(bob.kt, CLEAN_SECONDS) == []
    assert recover(bob.kt, None, force=False, ask=lambda question: False) == []
    assert strangers(bob.kt) == []
    assert essence(wreck) == held


def test_a_dead_one_is_recovered_by_its_name() -> None:
    wreck = whole_hold()
    wreck.time += DEAD_SECONDS + 2

    (result,) = recover(person(wreck, "bob").kt, "web", force=False, ask=lambda question: False)

    assert "service/web taken away" in result.report.did
    assert same(wreck) == same(a_team())


def test_a_living_one_is_not_recovered_by_its_name() -> None:
    wreck = whole_hold()

    with pytest.raises(Taken, match="held by session ana-"):
        recover(person(wreck, "bob").kt, "web", force=False, ask=lambda question: False)


@pytest.mark.parametrize("pod_too", [False, True])
def test_a_lease_orphaned_by_hand_leaves_nothing_behind(pod_too: bool) -> None:
    """--cascade=orphan takes the owners off; an Ingress, of which nobody has the right to list it, would stay."""
    api = a_team()
    user = person(api)
    with previewed(user.kt, looked(user.kt, Wanted("web", WANTED.routes))):
        wreck = api.snapshot()
    (lease,) = wreck.names("Lease")
    wreck.remove("Lease", lease, orphan=True)
    if pod_too:
        (pod,) = [name for name in wreck.names("Pod") if name != "shop-1"]
        wreck.remove("Pod", pod)

    cleaned(wreck)

    assert same(wreck) == same(a_team())


# what is not ours


def copied(api: FakeApi, name: str) -> Object:
    """The published Service as `kubectl get -o yaml`, cleaned and applied, makes it again: marks and all."""
    source = service(api)
    meta = {field: dict(source["metadata"][field]) for field in ("labels", "annotations")}
    return {**source, "metadata": {"name": name, "namespace": "team", **meta}}


@pytest.mark.parametrize("give_back", [cleaned, recovered])
@pytest.mark.parametrize("orphaned", [False, True])
def test_a_copy_that_wears_our_marks_is_never_touched(give_back: Callable[[FakeApi], None], orphaned: bool) -> None:
    wreck = whole_hold()
    mine = wreck.put(copied(wreck, "web-copy"))
    if orphaned:
        (lease,) = wreck.names("Lease")
        wreck.remove("Lease", lease, orphan=True)

    give_back(wreck)
    give_back(wreck)

    assert wreck.names("Service") == ["shop", "web-copy"]
    assert service(wreck, "web-copy") == mine
    assert strangers(person(wreck).kt) == [f"service/web-copy wears {names.SESSION} but is not ktpy's: left alone"]


@pytest.mark.parametrize("after", [False, True])
def test_a_copy_under_the_very_same_name_is_its_owners(after: bool) -> None:
    """He has saved the preview's manifest and applies it, AFTER the end or in the place of a dead one."""
    wreck = whole_hold()
    thing = copied(wreck, "web")
    if after:
        cleaned(wreck)
    else:
        wreck.remove("Service", "web")
    mine = wreck.put(thing)

    cleaned(wreck)
    recovered(wreck)

    assert service(wreck) == mine
    assert wreck.names("Lease") == []
    assert undo.sessions(person(wreck).cluster) == []


def test_a_service_applied_over_a_dead_ones_is_handed_over_and_not_deleted() -> None:
    wreck = whole_hold()

    def apply(now: Object) -> None:
        now["spec"]["selector"]["app"] = "web"
        now["metadata"]["labels"]["team"] = "shop"

    wreck.edit("Service", "web", apply)

    cleaned(wreck)
    cleaned(wreck)

    assert selector_of(service(wreck)) == {"app": "web"}
    assert labels_of(service(wreck)) == {"team": "shop"}
    assert "ktpy" not in str(service(wreck))
    assert [wreck.names(kind) for kind in ("Lease", "Secret", "Pod")] == [[], [], ["shop-1"]]


def test_a_service_replaced_while_it_is_handed_over_is_left_alone() -> None:
    wreck = whole_hold()
    wreck.edit("Service", "web", lambda now: now["spec"].update(selector={"app": "web"}))
    bob, mine = person(wreck, "bob"), []
    (holder,) = undo.sessions(bob.cluster)

    def replaced(deed: str) -> None:
        if deed == "patch Service web" and not mine:
            wreck.remove("Service", "web")
            mine.append(wreck.put(things.service("web")))

    bob.wire.before = replaced
    undo.give_back(bob.cluster, holder.session)

    assert [service(wreck)] == mine


def test_nothing_beyond_the_published_role_is_asked_without_a_host() -> None:
    user = person(a_team())

    with previewed(user.kt, looked(user.kt, Wanted("web", WANTED.routes, external=True))):
        pass

    assert not any("Ingress" in call for call in user.wire.calls)
    assert not any(call.startswith(("get Secret", "list Secret", "watch Secret")) for call in user.wire.calls)
