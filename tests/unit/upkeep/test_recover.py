"""`recover` ends what is dead, one's own after a question, and another's only by force."""

from __future__ import annotations

import pytest

from ktpy.errors import NotFound, Taken
from ktpy.model.diversion import selector_of
from ktpy.model.names import DEAD_SECONDS
from ktpy.upkeep.recover import left_of, recover
from tests.fakes import meshes, things
from tests.fakes.api import FakeApi
from tests.fakes.left import ktctl_on, wreck_of
from tests.fakes.run import person

DEAD = DEAD_SECONDS + 1


def never(question: str) -> bool:
    raise AssertionError(question)


def selector(api: FakeApi, name: str = "shop") -> dict[str, str]:
    return selector_of(api.read("Service", name) or {})


@pytest.mark.parametrize("service", [None, "shop"])
def test_a_dead_holder_is_ended_by_anybody(api: FakeApi, service: str | None) -> None:
    wreck = wreck_of(api, after=DEAD)

    results = recover(person(wreck, "bob").kt, service, force=False, ask=never)

    assert selector(wreck) == things.SELECTOR
    assert left_of(results) == []
    assert len(results) == 1


def test_a_living_session_of_another_is_refused_by_name_and_passed_over_without(api: FakeApi) -> None:
    wreck = wreck_of(api, after=1)
    bob = person(wreck, "bob")

    with pytest.raises(Taken, match="service/shop is held by session ana") as refused:
        recover(bob.kt, "shop", force=False, ask=never)
    assert refused.value.try_ == ("ask ana", "ktpy recover shop --force")
    assert recover(bob.kt, None, force=False, ask=never) == []
    assert bob.wire.changes() == []


def test_force_ends_a_living_session_of_another(api: FakeApi) -> None:
    wreck = wreck_of(api, after=1)

    recover(person(wreck, "bob").kt, "shop", force=True, ask=never)

    assert selector(wreck) == things.SELECTOR


@pytest.mark.parametrize("answer", [True, False])
def test_ones_own_living_session_is_asked_for(api: FakeApi, answer: bool) -> None:
    wreck, asked = wreck_of(api, after=1), []

    results = recover(
        person(wreck, "ana").kt, "shop", force=False, ask=lambda question: asked.append(question) or answer
    )

    assert len(asked) == 1
    assert "alive and yours" in asked[0]
    assert (selector(wreck) == things.SELECTOR) is answer
    assert len(results) == answer


def test_only_the_named_service_is_recovered(api: FakeApi) -> None:
    wreck = wreck_of(wreck_of(api, after=1), "bob", service="cart", after=DEAD)

    recover(person(wreck, "eve").kt, "cart", force=False, ask=never)

    assert selector(wreck, "cart") == things.SELECTOR
    assert selector(wreck, "shop") != things.SELECTOR


def test_a_service_marked_by_a_session_without_lease_is_recovered(api: FakeApi) -> None:
    wreck = wreck_of(api, after=1)
    (lease,) = wreck.names("Lease")
    wreck.remove("Lease", lease)

    recover(person(wreck, "bob").kt, "shop", force=False, ask=never)

    assert selector(wreck) == things.SELECTOR


@pytest.mark.parametrize("force", [False, True])
def test_a_copy_of_a_held_service_says_nothing_about_its_session(api: FakeApi, force: bool) -> None:
    wreck = wreck_of(api, after=1)
    held = wreck.read("Service", "shop") or {}
    meta = {field: held["metadata"][field] for field in ("labels", "annotations")}
    copy = wreck.put({**held, "metadata": {"name": "copy", "namespace": "team", **meta}})

    assert recover(person(wreck, "bob").kt, "copy", force=force, ask=never) == []
    assert wreck.read("Service", "copy") == copy
    assert wreck.read("Service", "shop") == held


def test_a_service_that_is_not_there_is_told(api: FakeApi) -> None:
    with pytest.raises(NotFound):
        recover(person(api).kt, "none", force=False, ask=never)


def test_nothing_held_is_nothing_done(api: FakeApi) -> None:
    api.put(things.service())

    assert recover(person(api).kt, "shop", force=False, ask=never) == []


def test_a_dead_ktctl_is_recovered_and_a_running_one_respected(api: FakeApi) -> None:
    ktctl_on(api, beat=api.time - 400)
    ktctl_on(api, beat=api.time - 20, service="cart")
    kt = person(api).kt

    with pytest.raises(Taken, match="running ktctl, seen 20 s ago"):
        recover(kt, "cart", force=True, ask=never)
    (result,) = recover(kt, None, force=False, ask=never)

    assert result.what == "service/shop"
    assert selector(api) == things.SELECTOR
    assert selector(api, "cart") != things.SELECTOR


def test_what_could_not_be_given_back_is_gathered(api: FakeApi) -> None:
    wreck = wreck_of(api, after=DEAD)
    bob = person(wreck, "bob")
    bob.wire.rights -= {"delete secrets"}

    results = recover(bob.kt, None, force=False, ask=never)

    (left,) = left_of(results)
    assert left.startswith("secret/ktpy-ana-")


def test_a_session_of_a_router_is_found_by_its_row_when_its_lease_is_gone() -> None:
    wreck = meshes.left_by("ana")
    for lease in wreck.names("Lease"):
        if "router" not in lease:
            wreck.remove("Lease", lease, orphan=True)
    eve = person(wreck, "eve")

    results = recover(eve.kt, "shop", force=False, ask=never)

    assert not left_of(results)
    assert meshes.same(wreck) == meshes.same(meshes.a_team())
