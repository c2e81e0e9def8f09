"""`mesh`: look first, share one router, and keep every row and every router pod right while it lasts."""

from __future__ import annotations

import threading

import pytest

from ktpy.errors import Forbidden, Interrupted, KtError, NotFound
from ktpy.model import marks, names
from ktpy.model.diversion import selector_of
from ktpy.model.events import Step
from ktpy.model.ports import Expose
from ktpy.model.ref import labels_of
from ktpy.model.target import Target
from ktpy.modes.mesh import Manners, looked, mesh, row_for
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.meshes import (
    SHOP,
    a_team,
    has_a_home,
    is_meshed_for,
    meshed,
    owners,
    owners_in_pods,
    plan_of,
    service,
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


# looking


def test_looking_changes_nothing(api: FakeApi, ana: Person) -> None:
    before = essence(api)

    plan = plan_of(ana)

    assert essence(api) == before
    assert all(call.endswith("(dry run)") for call in ana.wire.changes())
    assert (plan.found, plan.here, str(plan.ref)) == (None, (), "service/shop")


def test_rights_that_are_missing_are_named_and_nothing_is_created(ana: Person) -> None:
    ana.wire.rights -= {"create deployments.apps", "patch configmaps"}

    with pytest.raises(Forbidden, match="configmaps"):
        plan_of(ana)

    assert ana.wire.changes() == []


def test_a_port_may_be_left_to_the_cluster(api: FakeApi, ana: Person) -> None:
    api.edit("Service", "shop", lambda now: now["spec"]["ports"].append(things.port(90, name="more")))
    plan = looked(ana.kt, SHOP, [Expose(5000, "80")], marks.match("a", [], str))

    with mesh(ana.kt, plan):
        links = table(api).ports.links
        raw = {port.listen: port.raw for port in table(api).table.ports if port.listen not in links}
        assert raw == {90: True, 8080: False}
        assert [dict(row.to).keys() for row in table(api).table.rows] == [{8080}]


def test_a_second_user_asks_for_no_router_in_his_dry_run(ana: Person, bob: Person) -> None:
    with meshed(ana):
        plan = plan_of(bob)

    assert not [call for call in bob.wire.calls if "Deployment" in call]
    ((row, holder),) = plan.here
    assert (row.mark, holder.owner) == ("ana", "ana")


def test_a_service_that_has_got_another_port_meanwhile_is_told(api: FakeApi, ana: Person, bob: Person) -> None:
    with meshed(ana):
        api.edit("Service", "shop", lambda now: now["spec"]["ports"].append(things.port(90, name="more")))
        with pytest.raises(KtError, match="started before the Service got port 90"):
            looked(bob.kt, SHOP, [Expose(5000, "80")], marks.match("b", [], str))


def test_a_service_without_pods_behind_the_selector_of_another_kind_is_not_found(ana: Person) -> None:
    with pytest.raises(NotFound):
        looked(ana.kt, Target("Service", "shoq"), (), marks.EVERYTHING)


# sharing


def test_a_mesh_diverts_the_service_and_gives_it_back(api: FakeApi, ana: Person) -> None:
    before = essence(api)

    with meshed(ana) as link:
        assert is_meshed_for(api, link)
        has_a_home(api)
        assert set(selector_of(service(api))) == set(things.SELECTOR)
        shadow = api.read("Pod", link.shadow.name) or {}
        assert not selector_of(service(api)).items() <= labels_of(shadow).items()

    assert essence(api) == before


def test_three_share_one_router_and_the_last_one_ends_it(api: FakeApi, ana: Person, bob: Person) -> None:
    before, eve = essence(api), person(api, "eve")

    with meshed(ana) as first:
        router = table(api).router
        with meshed(bob) as second:
            with meshed(eve) as third:
                assert is_meshed_for(api, first, second, third)
            assert is_meshed_for(api, first, second)
        assert is_meshed_for(api, first)
        assert table(api).router == router
        assert len(api.names("Deployment")) == 2

    assert essence(api) == before


def test_the_first_one_may_leave_before_the_second(api: FakeApi, ana: Person, bob: Person) -> None:
    before = essence(api)
    first, second = meshed(ana), meshed(bob)
    first.__enter__()
    link = second.__enter__()

    first.__exit__(None, None, None)

    assert is_meshed_for(api, link)
    has_a_home(api)
    second.__exit__(None, None, None)
    assert essence(api) == before


def test_two_first_users_at_once_end_with_one_router_and_both_rows(api: FakeApi, ana: Person, bob: Person) -> None:
    before, together = essence(api), threading.Barrier(3, timeout=10)
    plans = {user.kt.user.name: plan_of(user) for user in (ana, bob)}
    failed: list[BaseException] = []

    def take_part(user: Person) -> None:
        try:
            with mesh(user.kt, plans[user.kt.user.name], gate=lambda: None):
                together.wait()
                together.wait()
        except BaseException as error:
            failed.append(error)
            together.abort()

    threads = [threading.Thread(target=take_part, args=(user,)) for user in (ana, bob)]
    for thread in threads:
        thread.start()
    together.wait()
    try:
        assert sorted(owner.partition("-")[0] for owner in owners(api)) == ["ana", "bob"]
        assert {frozenset(found) for found in owners_in_pods(api)} == {frozenset(owners(api))}
        leases = [name for name in api.names("Lease") if "router" in name]
        assert leases == [names.lease_name(table(api).router)]
        has_a_home(api)
    finally:
        together.wait()
        for thread in threads:
            thread.join(10)

    assert failed == []
    assert essence(api) == before


def test_a_race_for_the_table_is_lost_before_anything_of_the_winner_is_touched(
    api: FakeApi, ana: Person, bob: Person
) -> None:
    plan, raced = plan_of(ana), []
    winner = meshed(bob)

    def bob_is_faster(deed: str) -> None:
        if deed.startswith("create ConfigMap") and not raced:
            raced.append(winner.__enter__())

    ana.wire.before = bob_is_faster
    with mesh(ana.kt, plan) as link:
        assert is_meshed_for(api, *raced, link)
        assert [name for name in api.names("Service") if "stuntman" in name] == [
            names.stuntman_name("shop", table(api).router)
        ]
    assert is_meshed_for(api, *raced)
    winner.__exit__(None, None, None)


def test_one_who_fails_while_another_still_starts_does_not_end_his_router(
    api: FakeApi, ana: Person, bob: Person
) -> None:
    plan = plan_of(bob)
    failed: list[str] = []

    def refused() -> None:
        failed.append("bob")
        raise KtError("the command does not listen")

    def gate() -> None:
        with pytest.raises(KtError, match="does not listen"), mesh(bob.kt, plan, gate=refused):
            pytest.fail("it is not in force")

    with mesh(ana.kt, plan_of(ana), gate=gate) as link:
        assert failed
        assert is_meshed_for(api, link)


def test_one_who_comes_and_goes_while_the_first_still_starts_does_not_end_his_router(
    api: FakeApi, ana: Person, bob: Person
) -> None:
    before = essence(api)

    def gate() -> None:
        with meshed(bob) as link:
            assert is_meshed_for(api, link)

    with mesh(ana.kt, plan_of(ana), gate=gate) as link:
        assert is_meshed_for(api, link)

    assert essence(api) == before


def test_if_the_first_one_fails_after_the_second_has_come_and_gone_nothing_is_left(
    api: FakeApi, ana: Person, bob: Person
) -> None:
    before = essence(api)

    def gate() -> None:
        with meshed(bob):
            pass
        raise KtError("the command does not listen")

    with pytest.raises(KtError, match="does not listen"), mesh(ana.kt, plan_of(ana), gate=gate):
        pytest.fail("it is not in force")

    assert essence(api) == before


def test_a_gate_that_fails_or_ctrl_c_at_it_switches_nothing(api: FakeApi, ana: Person) -> None:
    before, version = essence(api), service(api)["metadata"]["resourceVersion"]

    with pytest.raises(Interrupted), mesh(ana.kt, plan_of(ana), gate=lambda: ana.kt.stop.ask("Ctrl-C")):
        pytest.fail("it is not in force")

    assert essence(api) == before
    assert service(api)["metadata"]["resourceVersion"] == version


def test_steps_are_told_in_order(ana: Person, bob: Person) -> None:
    with meshed(ana), meshed(bob):
        pass

    told = [[event.name for event in user.told if isinstance(event, Step)] for user in (ana, bob)]
    assert told[0] == ["look", "shadow pod", "tunnel", "router", "routes", "switch", "follow", "give back"]
    assert told[1] == ["look", "shadow pod", "tunnel", "routes", "give back"]


def test_the_row_says_what_was_asked_for(api: FakeApi, ana: Person) -> None:
    manners = Manners(strict=True, hold=3.0, mirror=True, inspect=True, add=(("X-By", "ktpy"),))
    plan = looked(ana.kt, SHOP, [Expose(5000, "80")], marks.match("x-dev:ana", [], str), manners)

    with mesh(ana.kt, plan) as link:
        (row,) = table(api).table.rows
        shadow = api.read("Pod", link.shadow.name) or {}
        assert row.to == {8080: f"{shadow['status']['podIP']}:8080"}
        assert (row.strict, row.hold, row.mirror, row.inspect, row.add) == (
            True,
            3.0,
            True,
            True,
            ((b"x-by", b"ktpy"),),
        )
        assert str(plan.match) == "x-dev: ana"
        assert row_for(link.session.id, plan, "fd00::1").to == {8080: "[fd00::1]:8080"}
