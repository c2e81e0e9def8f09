"""The crash story of meshes: kill -9 before or after any call, also one to a router pod, and nothing is lost."""

from __future__ import annotations

import contextlib
import random

import pytest

from ktpy import undo
from ktpy.errors import KtError
from ktpy.model import names
from ktpy.model.diversion import selector_of
from ktpy.model.names import CLEAN_SECONDS, DEAD_SECONDS
from ktpy.model.ref import labels_of
from ktpy.modes.mesh import mesh
from ktpy.upkeep.clean import clean, dead, strangers, sweep
from ktpy.upkeep.recover import left_of, recover
from tests.fakes import things
from tests.fakes.meshes import (
    a_team,
    cleaned,
    has_a_home,
    is_meshed_for,
    left_by,
    meshed,
    owners,
    plan_of,
    router_pods,
    same,
    service,
    still_the_same,
    whole_run,
)
from tests.fakes.run import Person, person
from tests.fakes.wire import Killed

READS = ("get", "list", "watch", "ask GET")
MORE = 6  # calls that a run may have beyond those of another: threads do not always meet in the same order
SEED = random.SystemRandom().randrange(10**6)


def run(user: Person, plan) -> None:  # type: ignore[no-untyped-def]
    with mesh(user.kt, plan) as link:
        link.session.renew()


TEAM = a_team()
PLAN = plan_of(person(TEAM))
BEFORE = same(TEAM)


def calls_of_a_first_run() -> list[str]:
    user = person(TEAM.snapshot())
    run(user, PLAN)
    return user.wire.calls


CALLS = calls_of_a_first_run()


def points(when: str, calls: list[str]) -> list[int]:
    """The calls to be killed at: all that change something, and of those that only read a share, before them.

    Between two changes the cluster is the same at every call.
    """
    chance = random.Random(SEED)

    def counts(number: int) -> bool:
        if number > len(calls) or not calls[number - 1].startswith(READS):
            return True
        return when == "before" and chance.random() < 0.3

    return [number for number in range(1, len(calls) + MORE) if counts(number)]


def killed(user: Person, number: int, when: str) -> bool:
    """Whether USER's run came so far as to be killed at its call NUMBER."""
    user.wire.fail_at(number, Killed(), when=when)
    with contextlib.suppress(Killed):
        run(user, PLAN)
        return False
    return True


def test_a_mesh_has_as_many_calls_as_this_suite_kills() -> None:
    assert 30 < len(CALLS) < 80


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_first_user_killed_at_any_call_leaves_nothing_that_clean_does_not_find(when: str) -> None:
    chance = random.Random(SEED)
    print(f"seed {SEED}")

    for number in points(when, CALLS):
        wreck = TEAM.snapshot()
        wreck.drains = chance.random() < 0.5
        killed(person(wreck), number, when)
        has_a_home(wreck)
        cleaned(wreck)
        wreck.drained()
        once = wreck._version
        assert same(wreck) == BEFORE, f"killed {when} call {number}"
        cleaned(wreck)
        assert wreck._version == once, f"killed {when} call {number}: the second clean wrote again"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_second_user_killed_at_any_call_disturbs_nobody(when: str) -> None:
    api = TEAM.snapshot()
    ana = person(api)

    with meshed(ana) as link:
        plan, held = plan_of(person(api, "bob"), "bob"), still_the_same(api)
        for number in points(when, CALLS):
            bob = person(api, "bob")
            bob.wire.fail_at(number, Killed(), when=when)
            with contextlib.suppress(Killed), mesh(bob.kt, plan) as his:
                his.session.renew()
            has_a_home(api)
            cleaned(api, alive=link)

            assert is_meshed_for(api, link), f"killed {when} call {number}"
            assert still_the_same(api) == held, f"killed {when} call {number}"
            once = api._version
            cleaned(api, after=0)
            assert api._version == once
        assert not ana.kt.stop.is_asked

    assert same(api) == BEFORE


WRECK = left_by("ana", "bob")


def clean_up(user: Person) -> None:
    clean(user.kt, dead(user.kt, CLEAN_SECONDS), older_than=CLEAN_SECONDS)
    sweep(user.kt, older_than=CLEAN_SECONDS)


def calls_of_a_cleaner() -> list[str]:
    eve = person(WRECK.snapshot(), "eve")
    eve.wire.api.time += CLEAN_SECONDS + 40
    clean_up(eve)
    return eve.wire.calls


CLEANING = calls_of_a_cleaner()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_cleaner_that_is_killed_too_leaves_what_the_next_one_finishes(when: str) -> None:
    chance = random.Random(SEED)
    print(f"seed {SEED}")

    for number in points(when, CLEANING):
        copy = WRECK.snapshot()
        copy.drains = chance.random() < 0.5
        eve = person(copy, "eve")
        eve.wire.fail_at(number, Killed(), when=when)
        copy.time += CLEAN_SECONDS + 40
        with contextlib.suppress(Killed):
            clean_up(eve)
        has_a_home(copy)
        cleaned(copy, "dan")
        copy.drained()

        assert same(copy) == BEFORE, f"the cleaner was killed {when} call {number}"


def test_recover_does_the_same_half_a_minute_later() -> None:
    wreck = WRECK.snapshot()
    wreck.time += DEAD_SECONDS + 2

    results = recover(person(wreck, "eve").kt, None, force=False, ask=lambda question: False)

    assert not left_of(results)
    assert same(wreck) == BEFORE


def test_nobody_has_to_clean_before_he_may_share() -> None:
    wreck = WRECK.snapshot()
    wreck.time += DEAD_SECONDS + 2

    with meshed(person(wreck, "dan")) as link:
        assert link.session.id in owners(wreck)
        has_a_home(wreck)

    cleaned(wreck)
    assert same(wreck) == BEFORE


def test_two_who_clean_at_once_do_not_get_into_each_others_way() -> None:
    wreck = WRECK.snapshot()
    wreck.time += CLEAN_SECONDS + 40
    eve = person(wreck, "eve")
    done: list[str] = []

    def meanwhile(deed: str) -> None:
        if deed.startswith("delete") and not done:
            done.append(deed)
            cleaned(wreck, "dan", after=0)

    eve.wire.before = meanwhile
    cleaned_by = clean(eve.kt, dead(eve.kt, CLEAN_SECONDS), older_than=CLEAN_SECONDS)

    assert done
    assert not left_of(cleaned_by)
    assert same(wreck) == BEFORE


def test_a_session_that_beats_keeps_the_router_though_its_opener_is_dead() -> None:
    api = TEAM.snapshot()
    ana, bob = person(api, "ana"), person(api, "bob")
    with contextlib.suppress(Killed), mesh(ana.kt, PLAN), meshed(bob) as link:
        ana.wire.die()
        cleaned(api, alive=link)

        assert is_meshed_for(api, link)
        has_a_home(api)

    assert same(api) == BEFORE


# not dead but late


def deeds_of_a_run() -> list[str]:
    user = person(TEAM.snapshot())
    run(user, PLAN)
    found = [deed.partition("-0000")[0] for deed in user.wire.calls if not deed.startswith(("get", "list", "watch"))]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("late", deeds_of_a_run())
def test_a_deed_that_arrives_after_clean_changes_nothing_for_good(late: str) -> None:
    """It is on its way, its laptop sleeps, and a colleague cleans up."""
    api = TEAM.snapshot()
    ana, seen = person(api), []

    def stall(deed: str) -> None:
        if deed.startswith(late) and not seen:
            seen.append(api._version)
            cleaned(api)
            assert late.startswith("create") or same(api) == BEFORE

    ana.wire.before = stall
    with contextlib.suppress(KtError):
        run(ana, PLAN)

    assert seen
    assert same(api) == BEFORE
    past = [change.new for change in api._history if change.version > seen[0] and change.new]
    diverted = [
        one for one in past if one["metadata"]["name"] == "shop" and one["kind"] == "Service"
        and selector_of(one) != things.SELECTOR
    ]  # fmt: skip
    assert len(diverted) <= 1  # the state that clean met


def test_a_row_that_arrives_after_clean_is_refused_where_others_share_the_service() -> None:
    api = TEAM.snapshot()
    with meshed(person(api, "ana")) as link:
        bob, late = person(api, "bob"), []

        def stall(deed: str) -> None:
            if deed.startswith("patch ConfigMap") and not late:
                late.append(deed)
                cleaned(api, alive=link)

        bob.wire.before = stall
        with pytest.raises(KtError, match="ended by eve on eve-laptop"), meshed(bob):
            pytest.fail("it must not come into force")

        assert late
        assert not [state for state in api.past("ConfigMap", "shop-kt-router") if '"owner":"bob' in str(state)]
        assert is_meshed_for(api, link)


# what is not ours


def test_copies_that_wear_the_marks_of_a_router_are_never_touched() -> None:
    wreck = WRECK.snapshot()
    held = service(wreck)
    marks = {**labels_of(held), names.ROLE: names.ROLE_STUNTMAN}
    config = wreck.read("ConfigMap", "shop-kt-router") or {}
    (pod, _) = router_pods(wreck)
    copies = [
        wreck.put({**things.service("copy"), "metadata": {"name": "copy", "labels": marks}}),
        wreck.put({**config, "metadata": {"name": "copied-kt-router", "labels": labels_of(config)}}),
        wreck.put({**pod, "metadata": {"name": "copied-pod", "labels": labels_of(pod)}}),
    ]

    said = strangers(person(wreck).kt)
    cleaned(wreck)

    assert [wreck.read(copy["kind"], copy["metadata"]["name"]) for copy in copies[:2]] == copies[:2]
    assert wreck.read("Pod", "copied-pod") is not None
    assert any("copied-pod" in line for line in said)
    assert any("service/copy" in line for line in said)


def test_secrets_are_never_read_and_nothing_beyond_the_published_role_is_asked() -> None:
    api = TEAM.snapshot()
    user = person(api)

    whole_run(user)

    assert not any(call.startswith(("get Secret", "list Secret", "watch Secret")) for call in user.wire.calls)
    assert {undo.holder_named(user.cluster, holder.session).life for holder in undo.sessions(user.cluster)} == set()
