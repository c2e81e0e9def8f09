"""`mesh` in a namespace whose NetworkPolicies isolate its pods: ours come first, go last, and no kill leaves one."""

from __future__ import annotations

import contextlib
import random

import pytest

from ktpy import undo
from ktpy.errors import Forbidden, KtError
from ktpy.model import names
from ktpy.model.events import Note, Step
from ktpy.model.names import CLEAN_SECONDS
from ktpy.model.ref import Object, labels_of, uid_of
from ktpy.modes.mesh import mesh, objects, steps
from ktpy.upkeep.clean import clean, dead, strangers
from ktpy.upkeep.recover import left_of
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.meshes import (
    an_isolated_team,
    cleaned,
    has_a_home,
    is_meshed_for,
    meshed,
    plan_of,
    router_pods,
    same,
    service,
    soon,
    table,
)
from tests.fakes.run import Person, person
from tests.fakes.wire import Killed

TEAM = an_isolated_team()
BEFORE = same(TEAM)
SEED = random.SystemRandom().randrange(10**6)


@pytest.fixture
def api() -> FakeApi:
    return TEAM.snapshot()


@pytest.fixture
def ana(api: FakeApi) -> Person:
    return person(api)


def tails(api: FakeApi, session: str) -> list[str]:
    """What was made for SESSION, or a router."""
    start = f"{names.lease_name(session)}-"
    return [name.removeprefix(start) for name in api.names("NetworkPolicy") if name.startswith(start)]


OF_ROUTER = ["in-deny", "out-cart", "router-in", "router-out"]
OF_SHADOW = ["shadow-in", "shadow-out"]


def test_a_mesh_makes_what_the_decision_asks_for_and_takes_it_back(api: FakeApi, ana: Person) -> None:
    with meshed(ana) as link:
        assert is_meshed_for(api, link)
        assert tails(api, table(api).router) == OF_ROUTER
        assert tails(api, link.session.id) == OF_SHADOW
        router_in = api.read("NetworkPolicy", f"ktpy-{table(api).router}-router-in") or {}
        (pod, _) = router_pods(api)
        assert router_in["spec"]["podSelector"] == {"matchLabels": labels_of(pod)}
        assert labels_of(pod)[names.SESSION] == table(api).router

    assert same(api) == BEFORE


def test_the_policies_stand_before_the_pods_that_need_them_and_the_switch(ana: Person) -> None:
    with meshed(ana):
        made = [call for call in ana.wire.changes() if not call.endswith("(dry run)")]

    kinds = [call.partition("-")[0] for call in made]
    policies = [number for number, call in enumerate(kinds) if call == "create NetworkPolicy"]
    assert len(policies) == len(OF_ROUTER) + len(OF_SHADOW)
    for later in ("create ConfigMap", "create Deployment", "create Pod", "patch Service shop"):
        assert max(policies) < kinds.index(later)


def test_looking_asks_the_server_and_dry_run_shows_each_with_what_undoes_it(api: FakeApi, ana: Person) -> None:
    plan = plan_of(ana)

    assert ana.wire.calls.count("create NetworkPolicy (dry run)") == 6
    assert [thing["kind"] for thing in objects(ana.kt, plan)].count("NetworkPolicy") == 6
    shown = [(deed, undo_) for deed, _, undo_ in steps(ana.kt, plan) if "networkpolicy" in deed]
    assert len(shown) == 6
    assert all(undo_ == {"delete": deed.removeprefix("create ")} for deed, undo_ in shown)
    assert any(isinstance(event, Note) and "router from service/shop; ktpy adds 6" in event.text for event in ana.told)
    assert plan.due.ready == ("6 NetworkPolicies made, which end with it",)
    assert same(api) == BEFORE


@pytest.mark.parametrize("verb", ["create", "delete", "patch", "get"])
def test_a_right_that_is_missing_is_named_with_the_policies_before_any_change(
    api: FakeApi, ana: Person, verb: str
) -> None:
    ana.wire.rights -= {f"{verb} networkpolicies.networking.k8s.io"}

    with pytest.raises(Forbidden, match=rf"may not, in namespace team: {verb} networkpolicies") as refused:
        plan_of(ana)

    assert "(cart, deny, shop) would part the router from service/shop" in refused.value.what
    assert "-router-in" in refused.value.what
    assert any("doctor --print-role" in line for line in refused.value.try_)
    assert ana.wire.changes() == []


def test_where_nobody_is_isolated_no_right_is_asked_for() -> None:
    api = TEAM.snapshot()
    for name in ("deny", "shop", "cart"):
        api.remove("NetworkPolicy", name)
    ana = person(api)
    ana.wire.rights = {right for right in ana.wire.rights if "networkpolicies" not in right}

    with meshed(ana) as link:
        assert is_meshed_for(api, link)

    assert api.names("Lease") == []


def test_a_second_user_makes_his_own_and_the_routers_stay_until_the_last_one_leaves(api: FakeApi, ana: Person) -> None:
    bob = person(api, "bob")
    with meshed(bob) as second:
        with meshed(ana) as first:
            assert tails(api, first.session.id) == tails(api, second.session.id) == OF_SHADOW
            assert [call for call in ana.wire.calls if call == "create NetworkPolicy"] == ["create NetworkPolicy"] * 2
        assert tails(api, first.session.id) == []
        assert tails(api, table(api).router) == OF_ROUTER

    assert same(api) == BEFORE


def test_who_joins_mends_what_the_team_has_changed(api: FakeApi, ana: Person) -> None:
    bob = person(api, "bob")
    with meshed(ana) as link:
        router = f"ktpy-{table(api).router}"
        till = {"from": [{"podSelector": {"matchLabels": {"app": "till"}}}]}
        api.put(things.policy("till", {"matchLabels": things.SELECTOR}, ingress=[till]))
        api.remove("NetworkPolicy", "cart")
        api.remove("NetworkPolicy", f"{router}-router-out")
        with meshed(bob) as other:
            assert tails(api, table(api).router) == ["in-deny", "router-in", "router-out"]
            router_in = api.read("NetworkPolicy", f"{router}-router-in") or {}
            assert till["from"][0] in router_in["spec"]["ingress"][0]["from"]
            assert is_meshed_for(api, link, other)

    assert [name for name in api.names("NetworkPolicy") if name.startswith("ktpy")] == []


def test_who_joins_is_refused_where_no_policy_would_do_any_more(api: FakeApi, ana: Person) -> None:
    bob = person(api, "bob")
    with meshed(ana) as link:
        api.put(things.policy("lax", {"matchLabels": {names.ROLE: names.ROLE_ROUTER}}, ingress=[{}]))

        with pytest.raises(KtError, match="lax lets callers reach the router"):
            plan_of(bob)

        assert is_meshed_for(api, link)


def test_they_are_kept_right_while_it_lasts(api: FakeApi, ana: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of ours beside a policy that its owner has deleted would isolate what nobody isolates any more."""
    monkeypatch.setattr(names, "HEARTBEAT_SECONDS", 0.001)
    with meshed(ana):
        for name in ("deny", "shop", "cart"):
            api.remove("NetworkPolicy", name)

        assert soon(lambda: api.names("NetworkPolicy") == [], ana)
        assert any(isinstance(event, Step) and event.name == "policies" for event in ana.told)


def test_the_routers_stay_for_what_is_being_drained_and_the_next_one_does_not_mind(api: FakeApi, ana: Person) -> None:
    api.drains = True
    with meshed(ana) as link:
        router = table(api).router
        pods = {uid_of(pod) for pod in router_pods(api)}

    assert tails(api, link.session.id) == []
    assert tails(api, router) == OF_ROUTER
    for tail in OF_ROUTER:
        owners = (api.read("NetworkPolicy", f"ktpy-{router}-{tail}") or {})["metadata"]["ownerReferences"]
        assert {owner["uid"] for owner in owners} == pods
    with meshed(person(api, "bob")):
        assert tails(api, table(api).router) == OF_ROUTER
        peers = str(api.read("NetworkPolicy", f"ktpy-{table(api).router}-router-in"))
        assert router not in peers
    assert not undo.sessions(ana.cluster)
    assert strangers(ana.kt) == []

    api.drained()
    assert same(api) == BEFORE


def test_whoever_has_an_older_role_cleans_all_the_same(api: FakeApi, ana: Person) -> None:
    with contextlib.suppress(Killed), meshed(ana):
        ana.wire.die()
        wreck = api.snapshot()
    wreck.time += CLEAN_SECONDS + 40
    eve = person(wreck, "eve")
    eve.wire.rights -= {f"{verb} networkpolicies.networking.k8s.io" for verb in ("create", "delete", "patch", "get")}

    results = clean(eve.kt, dead(eve.kt, CLEAN_SECONDS), older_than=CLEAN_SECONDS)

    assert not left_of(results)
    assert same(wreck) == BEFORE


# killed


def run(user: Person) -> None:
    with mesh(user.kt, plan_of(user)) as link:
        link.session.renew()


def calls_of_a_run() -> list[str]:
    user = person(TEAM.snapshot())
    run(user)
    return user.wire.calls


CALLS = calls_of_a_run()
CHANGES = [n for n, call in enumerate(CALLS, 1) if not call.startswith(("get", "list", "watch")) and "dry" not in call]


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_call_it_leaves_nothing_that_clean_does_not_find(when: str) -> None:
    chance = random.Random(SEED)
    print(f"seed {SEED}")

    for number in [*CHANGES, len(CALLS) + 1]:
        wreck = TEAM.snapshot()
        wreck.drains = chance.random() < 0.5
        user = person(wreck)
        user.wire.fail_at(number, Killed(), when=when)
        with contextlib.suppress(Killed):
            run(user)
        has_a_home(wreck)
        cleaned(wreck)
        wreck.drained()
        once = wreck._version
        assert same(wreck) == BEFORE, f"killed {when} call {number}"
        cleaned(wreck)
        assert wreck._version == once, f"killed {when} call {number}: the second clean wrote again"


def test_a_policy_that_arrives_after_clean_is_collected() -> None:
    api = TEAM.snapshot()
    ana, late = person(api), []

    def stall(deed: str) -> None:
        if deed == "create NetworkPolicy" and not late:
            late.append(deed)
            cleaned(api)
            assert same(api) == BEFORE

    ana.wire.before = stall
    with contextlib.suppress(KtError):
        run(ana)

    assert late
    assert same(api) == BEFORE


def test_what_lost_its_owner_by_hand_is_found_by_clean_and_a_copy_is_left_alone(api: FakeApi, ana: Person) -> None:
    copy: Object = {}
    with contextlib.suppress(Killed), meshed(ana) as link:
        original = api.read("NetworkPolicy", f"ktpy-{link.session.id}-shadow-in") or {}
        copy = api.put({**original, "metadata": {"name": "copy", "labels": labels_of(original)}})
        ana.wire.die()
        wreck = api.snapshot()
    for name in wreck.names("Lease"):
        wreck.remove("Lease", name, orphan=True)

    said = strangers(person(wreck).kt)
    cleaned(wreck, after=CLEAN_SECONDS + 40)

    left = [name for name in wreck.names("NetworkPolicy") if name.startswith("ktpy-")]
    assert left == []
    assert wreck.read("NetworkPolicy", "copy") == copy
    assert any("networkpolicy/copy" in line for line in said)
    assert service(wreck)["spec"]["selector"] == things.SELECTOR
