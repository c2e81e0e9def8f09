"""`exchange`: look at everything first, then take the Service for as long as the block lasts."""

from __future__ import annotations

import pytest

from ktpy.errors import Forbidden, Interrupted, KtError, NotFound, Taken, Unreachable, Usage
from ktpy.model import names
from ktpy.model.diversion import diverted as diverted_by
from ktpy.model.diversion import holder_of, selector_of
from ktpy.model.events import Note, Step, Waiting
from ktpy.model.names import SessionId
from ktpy.model.ports import Expose
from ktpy.model.ref import Object, labels_of
from ktpy.model.target import Target
from ktpy.modes.exchange import Plan, diverted, exchange, last_writer, looked, steps, worn
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.jsonpatch import patched
from tests.fakes.meshes import an_isolated_team, same
from tests.fakes.run import Person, essence, person, still

SHOP = Target("Service", "shop")


@pytest.fixture
def ana(api: FakeApi) -> Person:
    api.put(things.service())
    api.put(things.pod("shop-1"))
    return person(api)


def plan_of(user: Person) -> Plan:
    return looked(user.kt, SHOP, ())


def service(api: FakeApi) -> Object:
    found = api.read("Service", "shop")
    assert found is not None
    return found


def apply_again(api: FakeApi) -> None:
    """The owner's `kubectl apply` of what he has in git."""
    api.edit("Service", "shop", lambda now: now["spec"].update(selector=dict(things.SELECTOR)))


# looking


def test_looking_changes_nothing(api: FakeApi, ana: Person) -> None:
    before = essence(api)

    plan_of(ana)

    assert essence(api) == before
    assert all(call.endswith("(dry run)") for call in ana.wire.changes())


def test_a_plan_has_the_pods_and_a_route_for_each_port(ana: Person) -> None:
    plan = looked(ana.kt, SHOP, [Expose(5000, "http")])

    assert [pod["metadata"]["name"] for pod in plan.pods] == ["shop-1"]
    assert [str(route) for route in plan.routes] == ["80 (http) → 127.0.0.1:5000"]


def test_without_an_expose_the_laptops_port_is_the_containers(ana: Person) -> None:
    assert [route.laptop for route in plan_of(ana).routes] == [8080]


def test_a_port_that_nobody_would_answer_is_refused(api: FakeApi, ana: Person) -> None:
    api.edit("Service", "shop", lambda now: now["spec"]["ports"].append(things.port(90)))

    with pytest.raises(KtError, match="nothing would answer port 90"):
        looked(ana.kt, SHOP, [Expose(5000, "80")])
    with pytest.raises(Usage):
        plan_of(ana)


def test_rights_that_are_missing_are_named_and_nothing_is_created(api: FakeApi, ana: Person) -> None:
    ana.wire.rights -= {"create pods", "patch services"}

    with pytest.raises(Forbidden, match="create pods, patch services"):
        plan_of(ana)

    assert ana.wire.changes() == []


def test_a_service_that_is_held_is_refused_in_the_look(api: FakeApi, ana: Person) -> None:
    with exchange(ana.kt, plan_of(ana)), pytest.raises(Taken, match=r"held by session ana-.* \(exchange, ana on"):
        plan_of(person(api, "bob"))


def test_a_silent_holder_is_ended_by_take_over_only(api: FakeApi, ana: Person) -> None:
    with exchange(ana.kt, plan_of(ana)):
        wreck = api.snapshot()
    wreck.time += names.DEAD_SECONDS + 1
    bob = person(wreck, "bob")

    with pytest.raises(Taken, match="heartbeat stopped"):
        plan_of(bob)
    plan = looked(bob.kt, SHOP, (), take_over=True)

    assert wreck.names("Lease") == []
    with exchange(bob.kt, plan) as link:
        assert holder_of(service(wreck)) == link.session.id
    assert selector_of(service(wreck)) == things.SELECTOR


def test_a_dry_run_takes_nothing_over(api: FakeApi, ana: Person) -> None:
    with exchange(ana.kt, plan_of(ana)):
        wreck = api.snapshot()
    wreck.time += names.DEAD_SECONDS + 1
    before = essence(wreck)

    with pytest.raises(Taken):
        looked(person(wreck, "bob").kt, SHOP, (), take_over=True, dry_run=True)

    assert essence(wreck) == before


def test_the_plan_in_words_names_each_deed_with_its_undo(ana: Person) -> None:
    plan = plan_of(ana)

    made = steps(ana.kt, plan)

    assert [deed.rpartition("/")[0] or deed for deed, _, _ in made] == [
        "create lease", "create secret", "create pod", "patch service",
    ]  # fmt: skip
    _, there, back = made[-1]
    assert patched(patched(plan.service, there["patch"]), back["patch"]) == plan.service
    assert "made at start" in str(made[1])


# holding


def test_an_exchange_points_the_service_here_and_back(api: FakeApi, ana: Person) -> None:
    before = essence(api)

    with exchange(ana.kt, plan_of(ana)) as link:
        value = names.selector_value(link.session.id)
        assert selector_of(service(api)) == {"app": value, "tier": value}
        shadow = api.read("Pod", link.shadow.name)
        assert shadow is not None
        assert selector_of(service(api)).items() <= shadow["metadata"]["labels"].items()

    assert essence(api) == before


def test_the_service_is_switched_only_after_tunnel_and_gate(api: FakeApi, ana: Person) -> None:
    seen: list[tuple[bool, dict[str, str]]] = []

    def gate() -> None:
        seen.append((ana.tunnels[0].is_open, selector_of(service(api))))

    with exchange(ana.kt, plan_of(ana), gate=gate):
        pass

    assert seen == [(True, things.SELECTOR)]


def test_a_gate_that_fails_leaves_the_service_untouched(api: FakeApi, ana: Person) -> None:
    version = service(api)["metadata"]["resourceVersion"]

    def gate() -> None:
        raise KtError("the command does not listen")

    with pytest.raises(KtError, match="does not listen"), exchange(ana.kt, plan_of(ana), gate=gate):
        pytest.fail("it is not in force")

    assert service(api)["metadata"]["resourceVersion"] == version
    assert api.names("Lease") == []


def test_ctrl_c_at_the_gate_switches_nothing(api: FakeApi, ana: Person) -> None:
    plan = plan_of(ana)

    with pytest.raises(Interrupted), exchange(ana.kt, plan, gate=lambda: ana.kt.stop.ask("Ctrl-C")):
        pytest.fail("it is not in force")

    assert "patch Service shop" not in ana.wire.calls


def test_the_service_goes_back_while_shadow_and_tunnel_still_serve(ana: Person) -> None:
    order: list[str] = []

    def note(deed: str) -> None:
        if deed.startswith(("patch Service", "delete")):
            order.append(f"{deed.rpartition(' ')[0]} {'open' if ana.tunnels[0].is_open else 'closed'}")

    with exchange(ana.kt, plan_of(ana)):
        ana.wire.before = note

    assert order == [
        "patch Service open", "patch Service open", "delete Pod closed", "delete Secret closed", "delete Lease closed",
    ]  # fmt: skip


def test_steps_are_told_in_order(ana: Person) -> None:
    with exchange(ana.kt, plan_of(ana)):
        pass

    assert [event.name for event in ana.told if isinstance(event, Step)] == [
        "look", "shadow pod", "tunnel", "switch", "follow", "give back",
    ]  # fmt: skip


def test_ready_is_when_the_services_own_address_leads_here(api: FakeApi, ana: Person) -> None:
    address = service(api)["spec"]["clusterIP"]

    with exchange(ana.kt, plan_of(ana)) as link:
        assert ana.tunnels[0].knocks == [(address, 80)]
        assert link.stats().connections == 0  # our own knocking does not count


def test_an_address_that_does_not_follow_in_time_is_told_and_the_exchange_goes_on(
    ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ktpy.modes.link.FOLLOW_SECONDS", 0.01)
    monkeypatch.setattr("ktpy.modes.link.KNOCK_SECONDS", 0.001)

    def gate() -> None:
        ana.tunnels[0].is_followed = False

    with exchange(ana.kt, plan_of(ana), gate=gate):
        assert any(isinstance(event, Note) and "not yet seen" in event.text for event in ana.told)


def test_a_service_half_taken_back_ends_the_run(api: FakeApi, ana: Person) -> None:
    """With one value of his among ours the selector finds no pod."""
    with exchange(ana.kt, plan_of(ana)):
        api.edit("Service", "shop", lambda now: now["spec"]["selector"].update(app="shop"))
        assert ana.kt.stop.wait(10)

    assert isinstance(ana.kt.stop.error, Taken)
    assert selector_of(service(api)) == things.SELECTOR


def test_a_service_half_taken_back_and_diverted_again_has_its_owners_values_in_the_note(
    api: FakeApi, ana: Person
) -> None:
    with exchange(ana.kt, plan_of(ana), again=True):
        api.edit("Service", "shop", lambda now: now["spec"]["selector"].update(app="v2"))
        assert still(lambda: notes(ana) == 1, ana.kt.stop)

    assert selector_of(service(api)) == {"app": "v2", "tier": "web"}


def test_an_api_server_that_is_away_at_the_end_is_waited_for(
    api: FakeApi, ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = essence(api)
    with exchange(ana.kt, plan_of(ana)):
        away: list[str] = []
        seen: list[bool] = []

        def gone(deed: str) -> None:
            seen.append(ana.tunnels[0].is_open)
            if "Lease" not in deed and len(away) < 2:
                away.append(deed)
                raise Unreachable("no answer")

        ana.wire.before = gone
        monkeypatch.setattr("ktpy.session.Stop", NoWait)

    assert away
    assert seen[0], "the tunnel stays up"
    assert all(seen[: len(away) + 1]), "until the Service is its owner's again"
    assert any(isinstance(event, Waiting) for event in ana.told)
    assert essence(api) == before


class NoWait:
    def wait(self, seconds: float) -> bool:
        return False


# losing it


def test_a_service_taken_back_by_its_owner_ends_the_run_and_is_not_touched(api: FakeApi, ana: Person) -> None:
    with exchange(ana.kt, plan_of(ana)):
        apply_again(api)
        assert ana.kt.stop.wait(10)

    assert isinstance(ana.kt.stop.error, Taken)
    assert "taken back by kubectl at" in ana.kt.stop.error.what
    assert selector_of(service(api)) == things.SELECTOR
    assert names.MANAGER not in str(service(api))


def test_a_service_taken_back_is_diverted_again_if_asked_but_not_for_ever(api: FakeApi, ana: Person) -> None:
    with exchange(ana.kt, plan_of(ana), again=True) as link:
        for time in (1, 2):
            apply_again(api)
            assert still(lambda time=time: notes(ana) == time, ana.kt.stop)  # type: ignore[misc]
            assert holder_of(service(api)) == link.session.id
        apply_again(api)
        assert ana.kt.stop.wait(10)

    assert isinstance(ana.kt.stop.error, Taken)
    assert "ktpy does not fight" in ana.kt.stop.error.what
    assert selector_of(service(api)) == things.SELECTOR


def notes(user: Person) -> int:
    user.kt.stop.poke()
    return len([event for event in user.told if isinstance(event, Note)])


def test_a_deleted_service_ends_the_run(api: FakeApi, ana: Person) -> None:
    with exchange(ana.kt, plan_of(ana)):
        api.remove("Service", "shop")
        assert ana.kt.stop.wait(10)

    assert isinstance(ana.kt.stop.error, NotFound)
    assert api.names("Lease") == []


def test_an_edit_that_leaves_the_diversion_in_force_changes_nothing(api: FakeApi, ana: Person) -> None:
    with exchange(ana.kt, plan_of(ana)) as link:
        api.edit("Service", "shop", lambda now: now["metadata"]["labels"].update(team="payments"))
        link.session.renew()
        assert not ana.kt.stop.is_asked

    assert service(api)["metadata"]["labels"] == {"app": "shop", "team": "payments"}


def test_a_stale_note_does_not_hold_a_service() -> None:
    held = diverted_by(things.stored(things.service()), SessionId("bob-2"), "kt-2")
    copied = {**held, "metadata": {**held["metadata"], "uid": "another"}}

    wears = worn(copied, SessionId("ana-1"))

    assert holder_of(diverted(copied, SessionId("ana-1"), wears)) == "ana-1"
    with pytest.raises(Taken, match="taken by session bob-2"):
        diverted(held, SessionId("ana-1"), wears)


def test_a_selector_with_other_keys_than_the_shadow_wears_is_not_diverted() -> None:
    service = things.stored(things.service())
    wears = worn(service, SessionId("ana-1"))
    service["spec"]["selector"]["track"] = "stable"

    with pytest.raises(KtError, match="has got another selector meanwhile"):
        diverted(service, SessionId("ana-1"), wears)


def test_the_last_writer_is_the_youngest_entry_that_is_not_ours() -> None:
    def wrote(*entries: tuple[str, str]) -> Object:
        return {"metadata": {"managedFields": [{"manager": who, "time": at} for who, at in entries]}}

    assert last_writer(wrote(("helm", "2026-01-01"), ("argocd", "2026-01-02"), ("ktpy", "2026-01-03"))) == (
        "argocd at 2026-01-02"
    )
    status = {"manager": "kube-controller-manager", "time": "2026-01-04", "subresource": "status"}
    assert last_writer({"metadata": {"managedFields": [status]}}) == "somebody"
    assert last_writer({"metadata": {}}) == "somebody"


# where the namespace isolates its pods


def test_an_isolated_shadow_is_let_in_before_the_switch_and_its_policies_end_with_it() -> None:
    api = an_isolated_team()
    ana, before = person(api), same(api)

    with exchange(ana.kt, plan_of(ana)) as link:
        made = [name for name in api.names("NetworkPolicy") if name.startswith(f"ktpy-{link.session.id}-")]
        assert [name.rpartition(f"{link.session.id}-")[2] for name in made] == ["out-cart", "shadow-in"]
        deeds = [call for call in ana.wire.changes() if not call.endswith("(dry run)")]
        assert deeds.index("create NetworkPolicy") < deeds.index("create Pod") < deeds.index("patch Service shop")
        selector = (api.read("NetworkPolicy", made[1]) or {})["spec"]["podSelector"]["matchLabels"]
        assert selector == labels_of(api.read("Pod", link.shadow.name) or {})

    assert same(api) == before


def test_the_policies_are_in_the_plan_and_their_rights_are_asked_for() -> None:
    ana = person(an_isolated_team())
    plan = plan_of(ana)

    shown = [deed for deed, _, _ in steps(ana.kt, plan) if deed.startswith("create networkpolicy/ktpy-ana-")]
    assert [deed[-9:] for deed in shown] == ["shadow-in", "-out-cart"]
    assert ana.wire.calls.count("create NetworkPolicy (dry run)") == 2
    assert plan.due.ready == ("2 NetworkPolicies made, which end with it",)
    ana.wire.rights -= {"delete networkpolicies.networking.k8s.io"}
    with pytest.raises(Forbidden, match="delete networkpolicies"):
        plan_of(ana)
