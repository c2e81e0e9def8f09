"""The crash story: kill -9 before or after any call to the API server, and the namespace comes back as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from ktpy import undo
from ktpy.errors import KtError, Taken
from ktpy.model import names
from ktpy.model.diversion import holder_of, selector_of
from ktpy.model.names import CLEAN_SECONDS
from ktpy.model.ref import labels_of
from ktpy.model.target import Target
from ktpy.modes.exchange import exchange, looked
from ktpy.upkeep.clean import clean, dead, strangers
from ktpy.upkeep.recover import recover
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.deaths import Walk, cleaned, recovered, same
from tests.fakes.run import Person, essence, person

SHOP = Target("Service", "shop")


def a_team() -> FakeApi:
    api = FakeApi()
    api.put(things.service())
    api.put(things.service("cart", selector={"app": "cart"}))
    api.put(things.pod("shop-1"))
    api.put(things.deployment())
    return api


def whole_run(user: Person) -> None:
    """Look, hold, beat once, and give back."""
    with exchange(user.kt, looked(user.kt, SHOP, ())) as link:
        link.session.renew()


WALK = Walk(a_team, whole_run)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("give_back", [cleaned, recovered])
def test_killed_at_any_call_it_is_given_back_by_anybody(give_back: Callable[[FakeApi], None], when: str) -> None:
    WALK.is_given_back(give_back, when)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_cleaner_that_is_killed_too_leaves_what_the_next_one_finishes(when: str) -> None:
    WALK.is_given_back_by_the_next(whole_hold(), when)


def whole_hold() -> FakeApi:
    """What kill -9 leaves of an exchange in force."""
    api = a_team()
    with exchange(person(api).kt, looked(person(api).kt, SHOP, ())):
        return api.snapshot()


def test_a_snapshot_of_an_exchange_in_force_is_given_back_on_the_copy() -> None:
    wreck = whole_hold()
    (holder,) = undo.sessions(person(wreck).cluster)

    undo.give_back(person(wreck, "bob").cluster, holder.session)
    undo.give_back(person(wreck, "eve").cluster, holder.session)

    assert same(wreck) == same(a_team())


def test_a_session_that_still_beats_is_not_cleaned() -> None:
    wreck = whole_hold()
    held = essence(wreck)
    bob = person(wreck, "bob")

    assert dead(bob.kt, CLEAN_SECONDS) == []
    assert recover(bob.kt, None, force=False, ask=lambda question: False) == []
    assert essence(wreck) == held


def test_a_session_that_beats_again_while_it_is_cleaned_is_left_alone() -> None:
    wreck = whole_hold()
    bob = person(wreck, "bob")
    wreck.time += CLEAN_SECONDS + 40
    found = dead(bob.kt, CLEAN_SECONDS)
    (lease,) = wreck.names("Lease")
    wreck.edit("Lease", lease, lambda now: now["spec"].update(renewTime="2030-01-01T00:00:00Z"), manager=names.MANAGER)

    (result,) = clean(bob.kt, found, older_than=CLEAN_SECONDS)

    assert "left alone" in result.report.did[0]
    assert wreck.names("Lease") == [lease]


# a session that is not dead but late


def test_a_switch_that_arrives_after_clean_changes_nothing() -> None:
    api = a_team()
    ana, after_clean = person(api), []
    plan = looked(ana.kt, SHOP, ())

    def stall(deed: str) -> None:
        """The switch is on its way, its laptop sleeps, and a colleague cleans up."""
        if deed == "patch Service shop" and not after_clean:
            cleaned(api)
            after_clean.append(same(api))

    ana.wire.before = stall
    with pytest.raises(Taken, match="ended by bob on bob-laptop"), exchange(ana.kt, plan):
        pytest.fail("it must not come into force")

    assert after_clean == [same(a_team())]
    assert same(api) == after_clean[0]
    assert all(selector_of(state) == things.SELECTOR for state in api.past("Service", "shop"))  # not for a moment


def test_a_session_whose_lease_was_deleted_stops_and_makes_no_new_one() -> None:
    api = a_team()
    ana = person(api)

    with exchange(ana.kt, looked(ana.kt, SHOP, ())) as link:
        (lease,) = api.names("Lease")
        api.remove("Lease", lease)
        with pytest.raises(Taken, match="was ended by"):
            link.session.renew()

    assert api.names("Lease") == []
    assert same(api) == same(a_team())


def test_a_lease_orphaned_by_hand_leaves_nothing_behind() -> None:
    wreck = whole_hold()
    (lease,) = wreck.names("Lease")
    wreck.remove("Lease", lease, orphan=True)

    cleaned(wreck)

    assert wreck.names("Pod") == ["shop-1"]
    assert wreck.names("Secret") == []
    assert same(wreck) == same(a_team())


def test_a_service_given_back_by_hand_but_for_its_marks_is_tidied() -> None:
    wreck = whole_hold()
    wreck.edit("Service", "shop", lambda now: now["spec"].update(selector=dict(things.SELECTOR)))

    cleaned(wreck)

    assert same(wreck) == same(a_team())


# what is not ours


def test_copies_that_wear_our_marks_are_never_touched() -> None:
    """EndpointSlices get a Service's labels, ReplicaSets a Deployment's annotations; owners copy whole objects."""
    wreck = whole_hold()
    service = wreck.read("Service", "shop")
    assert service is not None
    marks = labels_of(service)
    twin = things.service("shop-copy")
    twin["metadata"] |= {"labels": marks, "annotations": dict(service["metadata"]["annotations"])}
    twin["spec"]["selector"] = {"app": "twin"}
    slices = {"kind": "EndpointSlice", "metadata": {"name": "shop-x", "namespace": "team", "labels": marks}}
    copies = [
        wreck.put({**slices, "addressType": "IPv4"}),
        wreck.put({**things.deployment("copied"), "metadata": {**twin["metadata"], "name": "copied"}}),
        wreck.put(things.pod("copied-pod", labels={**marks, names.ROLE: names.ROLE_SHADOW})),
        wreck.put(twin),
    ]
    before = [wreck.read(copy["kind"], copy["metadata"]["name"]) for copy in copies]

    cleaned(wreck)

    assert [wreck.read(copy["kind"], copy["metadata"]["name"]) for copy in copies] == before
    assert strangers(person(wreck).kt) == [
        f"pod/copied-pod wears {names.ROLE} but is not ktpy's: left alone",
        f"service/shop-copy wears {names.SESSION} but is not ktpy's: left alone",
    ]


def test_the_owners_edits_during_an_exchange_survive_value_by_value() -> None:
    wreck = whole_hold()

    def edit(now: dict) -> None:  # type: ignore[type-arg]
        now["spec"]["selector"]["app"] = "shop-v2"
        now["spec"]["ports"].append(things.port(443))
        now["metadata"]["labels"]["team"] = "payments"

    wreck.edit("Service", "shop", edit)

    cleaned(wreck)

    after = wreck.read("Service", "shop")
    assert after is not None
    assert selector_of(after) == {"app": "shop-v2", "tier": "web"}
    assert [port["port"] for port in after["spec"]["ports"]] == [80, 443]
    assert labels_of(after) == {"app": "shop", "team": "payments"}
    assert names.NOTE not in (after["metadata"].get("annotations") or {})


def test_an_apply_that_gave_the_service_back_is_not_undone() -> None:
    wreck = whole_hold()
    wreck.edit("Service", "shop", lambda now: now["spec"].update(selector={"app": "shop", "tier": "api"}))

    cleaned(wreck)

    after = wreck.read("Service", "shop")
    assert after is not None
    assert selector_of(after) == {"app": "shop", "tier": "api"}


def test_a_second_user_who_races_to_the_same_service_is_refused_and_leaves_no_trace() -> None:
    api = a_team()
    ana, bob = person(api, "ana"), person(api, "bob")
    plan = looked(bob.kt, SHOP, ())  # both saw it free

    with exchange(ana.kt, looked(ana.kt, SHOP, ())) as link:
        held = same(api)
        with pytest.raises(Taken, match=f"taken by session {link.session.id}"), exchange(bob.kt, plan):
            pytest.fail("two cannot hold one Service")
        service = api.read("Service", "shop")
        assert service is not None
        assert holder_of(service) == link.session.id
        assert same(api) == held

    assert same(api) == same(a_team())


def test_a_race_between_reading_and_writing_has_one_winner() -> None:
    api = a_team()
    ana, bob = person(api, "ana"), person(api, "bob")
    plans = {user.kt.user.name: looked(user.kt, SHOP, ()) for user in (ana, bob)}
    winners: list[str] = []

    with contextlib.ExitStack() as stack:

        def bob_is_faster(deed: str) -> None:
            if deed == "patch Service shop" and not winners:
                winners.append("bob")
                stack.enter_context(exchange(bob.kt, plans["bob"]))

        ana.wire.before = bob_is_faster
        with pytest.raises(KtError, match="taken by session bob"), exchange(ana.kt, plans["ana"]):
            pytest.fail("bob has it")

    assert same(api) == same(a_team())


def test_nobody_may_read_secrets_and_nothing_beyond_the_published_role_is_asked() -> None:
    api = a_team()
    user = person(api)

    whole_run(user)

    assert not any(call.startswith(("get Secret", "list Secret", "watch Secret")) for call in user.wire.calls)
