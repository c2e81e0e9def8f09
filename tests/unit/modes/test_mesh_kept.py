"""While a mesh lasts: what its owner, the cluster and others do to Service, shadow, table and router pods."""

from __future__ import annotations

import contextlib
import threading

import pytest

from ktpy.errors import Forbidden, KtError, NotFound, Taken
from ktpy.model import names
from ktpy.model.diversion import selector_of
from ktpy.model.events import Note
from ktpy.model.ref import Object, uid_of
from ktpy.modes import mesh as mode
from ktpy.modes.mesh import mesh
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.meshes import (
    TABLE,
    a_team,
    cleaned,
    has_a_home,
    is_meshed_for,
    left_by,
    meshed,
    owners_in_pods,
    plan_of,
    router_pods,
    service,
    soon,
    table,
)
from tests.fakes.run import Person, essence, person


@pytest.fixture
def api() -> FakeApi:
    return a_team()


@pytest.fixture
def ana(api: FakeApi) -> Person:
    return person(api)


@pytest.fixture
def bob(api: FakeApi) -> Person:
    return person(api, "bob")


def apply_again(api: FakeApi, **selector: str) -> None:
    """The owner's `kubectl apply` of what he has in git."""
    api.edit("Service", "shop", lambda now: now["spec"].update(selector={**things.SELECTOR, **selector}))


def has_said(user: Person, words: str) -> bool:
    return any(words in event.text for event in user.told if isinstance(event, Note))


# the owner


def test_an_apply_of_the_same_is_meshed_again(api: FakeApi, ana: Person) -> None:
    before = essence(api)

    with meshed(ana) as link:
        apply_again(api)
        assert soon(lambda: has_said(ana, "meshed again"), ana)
        assert is_meshed_for(api, link)
        assert has_said(ana, "written by kubectl")

    assert essence(api) == before


def test_a_new_selector_is_adopted_for_unmarked_requests_and_for_the_end(api: FakeApi, ana: Person) -> None:
    new = {**things.SELECTOR, "tier": "api"}

    with meshed(ana) as link:
        apply_again(api, tier="api")
        assert soon(lambda: has_said(ana, "meshed again"), ana)
        assert is_meshed_for(api, link)
        has_a_home(api, new)

    assert selector_of(service(api)) == new


def test_a_new_selector_in_the_middle_of_the_switch_is_adopted(api: FakeApi, ana: Person) -> None:
    applied: list[str] = []

    def meanwhile(deed: str) -> None:
        if deed == "patch Service shop" and not applied:
            applied.append(deed)
            apply_again(api, tier="api")

    ana.wire.before = meanwhile
    with meshed(ana) as link:
        assert applied
        assert is_meshed_for(api, link)
        has_a_home(api, {**things.SELECTOR, "tier": "api"})


def test_a_new_selector_after_the_first_one_died_is_adopted_by_who_joins(ana: Person) -> None:
    wreck = left_by("ana")
    apply_again(wreck, tier="api")

    with meshed(person(wreck, "bob")):
        has_a_home(wreck, {**things.SELECTOR, "tier": "api"})


def test_a_service_half_taken_back_is_whole_again_with_the_owners_values_as_original(api: FakeApi, ana: Person) -> None:
    with meshed(ana) as link:
        api.edit("Service", "shop", lambda now: now["spec"]["selector"].update(app="v2"))
        assert soon(lambda: has_said(ana, "meshed again"), ana)
        assert is_meshed_for(api, link)

    assert selector_of(service(api)) == {"app": "v2", "tier": "web"}


def test_an_apply_among_two_users_is_adopted_once_or_twice_to_the_same_end(
    api: FakeApi, ana: Person, bob: Person
) -> None:
    before = essence(api)

    with meshed(ana) as first, meshed(bob) as second:
        apply_again(api)
        assert soon(lambda: is_meshed_for(api, first, second), ana)
        assert not ana.kt.stop.is_asked
        assert not bob.kt.stop.is_asked

    assert essence(api) == before


def test_two_flips_in_a_minute_end_it_and_the_service_is_its_owners(api: FakeApi, ana: Person) -> None:
    with meshed(ana):
        apply_again(api)
        assert soon(lambda: has_said(ana, "meshed again"), ana)
        apply_again(api)
        assert ana.kt.stop.wait(10)

    assert isinstance(ana.kt.stop.error, Forbidden)
    assert "ktpy does not fight" in ana.kt.stop.error.what
    assert selector_of(service(api)) == things.SELECTOR
    assert names.MANAGER not in str(service(api))


def test_two_flips_with_more_than_a_minute_between_are_both_adopted(
    api: FakeApi, ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mode, "FLIP_SECONDS", 0.0)

    with meshed(ana) as link:
        for tier in ("api", "web", "db"):
            apply_again(api, tier=tier)
            assert soon(lambda: is_meshed_for(api, link), ana)
            has_a_home(api, {**things.SELECTOR, "tier": tier})


def test_other_keys_in_the_selector_end_it(api: FakeApi, ana: Person) -> None:
    with meshed(ana):
        api.edit("Service", "shop", lambda now: now["spec"].update(selector={"app": "shop"}))
        assert ana.kt.stop.wait(10)

    assert isinstance(ana.kt.stop.error, KtError)
    assert "another selector" in ana.kt.stop.error.what
    assert selector_of(service(api)) == {"app": "shop"}


def test_a_deleted_service_ends_it(api: FakeApi, ana: Person) -> None:
    with meshed(ana):
        api.remove("Service", "shop")
        assert ana.kt.stop.wait(10)

    assert isinstance(ana.kt.stop.error, NotFound)
    assert api.names("Lease") == []
    assert api.names("Service") == ["cart"]


def test_an_edit_that_leaves_the_diversion_in_force_is_no_flip(api: FakeApi, ana: Person) -> None:
    with meshed(ana) as link:
        api.edit("Service", "shop", lambda now: now["metadata"]["labels"].update(team="payments"))
        link.session.renew()
        assert is_meshed_for(api, link)
        assert not ana.kt.stop.is_asked

    assert service(api)["metadata"]["labels"] == {"app": "shop", "team": "payments"}


# the cluster


def test_a_row_follows_the_address_of_a_shadow_that_is_replaced(api: FakeApi, ana: Person) -> None:
    def row_leads_to(name: str) -> bool:
        address = (api.read("Pod", name) or {}).get("status", {}).get("podIP")
        tables = [table(api).table, *(api.routers.tables[uid_of(pod)] for pod in router_pods(api))]
        return all(found.rows[0].to == {8080: f"{address}:8080"} for found in tables)

    with meshed(ana) as link:
        assert row_leads_to(link.shadow.name)
        api.remove("Pod", link.shadow.name)

        assert soon(lambda: link.shadow.name.endswith("-r2") and row_leads_to(link.shadow.name), ana)


def has_every_pod(api: FakeApi, *links: object) -> bool:
    sessions = {link.session.id for link in links}  # type: ignore[attr-defined]
    return len(router_pods(api)) == 2 and all(set(found) == sessions for found in owners_in_pods(api))


def test_a_router_pod_that_is_replaced_gets_the_table(api: FakeApi, ana: Person, bob: Person) -> None:
    with meshed(ana) as first, meshed(bob) as second:
        old = router_pods(api)[0]
        api.remove("Pod", old["metadata"]["name"])

        assert old["metadata"]["name"] not in api.names("Pod")
        assert soon(lambda: has_every_pod(api, first, second), ana)


def restart(api: FakeApi, pod: Object, count: int) -> None:
    """A container that has begun anew: it is not ready for a moment and has forgotten all."""
    name, ready = pod["metadata"]["name"], pod["status"]
    begun = {"containerStatuses": [{"restartCount": count}]}
    api.edit("Pod", name, lambda now: now.update(status={"phase": "Running", **begun}))
    api.routers.tables.pop(uid_of(pod))
    api.edit("Pod", name, lambda now: now.update(status={**ready, **begun}))


def test_a_router_that_has_restarted_gets_the_table_each_time(api: FakeApi, ana: Person) -> None:
    with meshed(ana) as link:
        for count in (1, 2):
            restart(api, router_pods(api)[0], count)
            assert soon(lambda: has_every_pod(api, link), ana)


def test_a_router_pod_that_comes_while_the_service_is_being_switched_gets_the_table(api: FakeApi, ana: Person) -> None:
    seen: list[str] = []

    def replaced(deed: str) -> None:
        if deed == "patch Service shop" and not seen:
            seen.append(router_pods(api)[0]["metadata"]["name"])
            api.remove("Pod", seen[0])
            ana.kt.stop.wait(0.05)  # until the run has seen it

    ana.wire.before = replaced
    with meshed(ana) as link:
        assert seen
        assert soon(lambda: has_every_pod(api, link), ana)


def test_a_shadow_that_is_replaced_while_the_service_is_being_switched_has_its_address_in_the_row(
    api: FakeApi, ana: Person
) -> None:
    seen: list[str] = []

    def replaced(deed: str) -> None:
        if deed == "patch Service shop" and not seen:
            seen.extend(name for name in api.names("Pod") if "-kt-mesh-" in name)
            api.remove("Pod", seen[0])
            assert soon(lambda: any(name.endswith("-r2") for name in api.names("Pod")), ana)
            ana.kt.stop.wait(0.05)  # until the run has seen it

    def leads(link: object) -> bool:
        address = (api.read("Pod", link.shadow.name) or {}).get("status", {}).get("podIP")  # type: ignore[attr-defined]
        return table(api).table.rows[0].to == {8080: f"{address}:8080"}

    ana.wire.before = replaced
    with meshed(ana) as link:
        assert seen
        assert soon(lambda: leads(link), ana)


def test_a_router_pod_that_does_not_answer_gets_the_table_when_it_does(
    api: FakeApi, ana: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ktpy.router.PUSH_SECONDS", 0.01)
    with meshed(ana) as link:
        plan = plan_of(bob)
        uid = uid_of(router_pods(api)[1])
        api.routers.down.add(uid)
        threading.Timer(0.1, lambda: api.routers.down.clear()).start()
        with mesh(bob.kt, plan) as second:
            assert is_meshed_for(api, link, second)


def test_a_table_that_somebody_has_deleted_ends_the_run_at_the_next_news(api: FakeApi, ana: Person) -> None:
    before = essence(api)
    with meshed(ana):
        api.remove("ConfigMap", TABLE)
        api.remove("Pod", router_pods(api)[0]["metadata"]["name"])
        assert ana.kt.stop.wait(10)

    assert isinstance(ana.kt.stop.error, Taken)
    cleaned(api)
    assert essence(api) == before


def test_the_service_is_never_led_to_a_router_that_has_ended(api: FakeApi, ana: Person, bob: Person) -> None:
    """Its table was deleted by hand, and whoever opened it has given it back."""
    with contextlib.ExitStack() as first:
        first.enter_context(meshed(ana))
        with meshed(bob):
            api.remove("ConfigMap", TABLE)
            first.close()
            assert bob.kt.stop.wait(10)
            has_a_home(api)

    assert isinstance(bob.kt.stop.error, Taken)
    assert selector_of(service(api)) == things.SELECTOR
    assert not [name for name in api.names("Deployment") if "router" in name]
