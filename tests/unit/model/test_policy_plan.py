"""The policies around a Service as objects: whose they are, whom they select, and what of them is to be done."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ktpy.model import names, policy_plan
from ktpy.model.front import Front, wears
from ktpy.model.manifests import shadow_labels
from ktpy.model.names import SessionId
from ktpy.model.ours import is_policy
from ktpy.model.policy_plan import Due, Part, Walls
from ktpy.model.policy_rules import selects
from ktpy.model.ports import PodPort, Route, ports_of
from ktpy.model.ref import Object, labels_of
from ktpy.model.shape import PodShape
from tests.fakes import things

ROUTER, ANA = SessionId("router-1"), SessionId("ana-1")
POD = things.pod("shop-1")
SERVICE = things.service(ports=[things.port(80, "web")])
PORTS = ports_of(SERVICE, [POD])
FRONT = Front(SERVICE, PORTS, taken=[Route(PORTS[0], PodPort(8080, "web"), "127.0.0.1", 5000)])
CART = {"from": [{"podSelector": {"matchLabels": {"app": "cart"}}}]}
DENY = things.policy("deny", {}, policyTypes=["Ingress", "Egress"])
SHOP = things.policy("shop", {"matchLabels": things.SELECTOR}, ingress=[CART])
WALLS = Walls([DENY, SHOP], {"kubernetes.io/metadata.name": "team"}, things.SELECTOR, [POD])
SHAPE = PodShape("image", labels={"team": "a"})


def lease(session: str) -> Object:
    return things.stored({"metadata": {"name": names.lease_name(session), "namespace": "team"}}, uid=f"uid-{session}")


def router() -> Part:
    template = {
        "metadata": {"labels": {**wears(FRONT, ROUTER), names.ROLE: names.ROLE_ROUTER, names.SESSION: ROUTER}},
        "spec": {"containers": [{"ports": [{"containerPort": 8080, "name": "web"}]}]},
    }
    return policy_plan.router_part(ROUTER, lease(ROUTER), {"spec": {"template": template}}, FRONT)


def shadow(session: SessionId = ANA, **labels: str) -> Part:
    return policy_plan.shadow_part(session, lease(session), shadow_labels(SHAPE, labels, session), FRONT)


def due(walls: Walls = WALLS, mine: Part | None = None) -> Due:
    return policy_plan.due(walls, FRONT, mine or shadow(), router())


def standing(found: Due, *others: Object) -> Walls:
    """What DUE asks for was made, as the API server keeps it: no empty lists."""
    made = [{**one, "spec": {k: v for k, v in one["spec"].items() if v != []}} for one in found.make]
    return replace(WALLS, policies=[*WALLS.policies, *made, *others])


def test_without_policies_nothing_is_due() -> None:
    assert due(Walls()) == Due()
    assert (due(Walls()).names, due(Walls()).ready) == ("", ())


def test_each_is_born_with_a_role_its_own_name_and_the_lease_of_whose_life_it_shares() -> None:
    made = {one["metadata"]["name"]: one for one in due().make}

    assert set(made) == {
        "ktpy-router-1-router-in", "ktpy-router-1-router-out", "ktpy-router-1-in-deny", "ktpy-ana-1-shadow-in",
        "ktpy-ana-1-shadow-out",
    }  # fmt: skip
    for name, one in made.items():
        owner = "router-1" if name.startswith("ktpy-router") else "ana-1"
        assert is_policy(one)
        assert labels_of(one) == {names.ROLE: names.ROLE_POLICY, names.SESSION: owner}
        assert one["metadata"]["ownerReferences"] == [
            {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "name": f"ktpy-{owner}", "uid": f"uid-{owner}"}
        ]
        assert one["metadata"]["namespace"] == "team"
    assert due().ready == ("5 NetworkPolicies made, which end with it",)


def test_the_router_may_ask_a_shadow_whether_its_laptop_is_awake() -> None:
    made = {one["metadata"]["name"]: one["spec"] for one in due().make}
    answers = [shadow().pod.doors[80], names.PULSE_PORT]

    for rule in (made["ktpy-ana-1-shadow-in"]["ingress"][0], made["ktpy-ana-1-shadow-out"]["egress"][0]):
        assert sorted(port["port"] for port in rule["ports"]) == sorted(answers)
    others = [rule for name, spec in made.items() if "shadow" not in name for rule in spec.get("ingress", [])]
    assert names.PULSE_PORT not in [port["port"] for rule in others for port in rule["ports"]]


def test_none_selects_a_pod_that_is_not_ours_unless_a_policy_of_theirs_isolates_it() -> None:
    ours = {**router().pod.labels}, {**shadow().pod.labels}
    strangers = [dict(things.SELECTOR), {"app": "cart"}, {}, {**SHAPE.labels}, {names.ROLE: names.ROLE_ROUTER}]

    for one in due().make:
        selector = one["spec"]["podSelector"]
        got = [labels for labels in strangers if selects(selector, labels)]
        if one["metadata"]["name"].endswith("in-deny"):
            assert got == [things.SELECTOR]
        else:
            assert got == []
            assert [labels for labels in ours if selects(selector, labels)]


def test_what_stands_is_not_made_again_though_the_server_keeps_no_empty_list() -> None:
    nobody = things.policy("shut", {"matchLabels": things.SELECTOR})
    shut = replace(WALLS, policies=[nobody])
    first = due(shut)
    assert [one["spec"]["ingress"] for one in first.make if one["metadata"]["name"].endswith("router-in")] == [[]]
    made = [{**one, "spec": {k: v for k, v in one["spec"].items() if v != []}} for one in first.make]

    again = due(replace(shut, policies=[nobody, *made]))

    assert (again.make, again.mend, again.drop) == ((), (), ())


def test_a_second_user_asks_for_his_shadows_only() -> None:
    bob = due(standing(due()), shadow(SessionId("bob-1")))

    assert [one["metadata"]["name"] for one in bob.make] == ["ktpy-bob-1-shadow-out", "ktpy-bob-1-shadow-in"]
    assert (bob.mend, bob.drop) == ((), ())


def test_what_the_team_has_changed_meanwhile_is_mended_and_dropped() -> None:
    other = {"from": [{"podSelector": {"matchLabels": {"app": "till"}}}]}
    changed = standing(due(), things.policy("more", {"matchLabels": things.SELECTOR}, ingress=[other]))

    ((old, new),) = due(changed).mend

    assert old["metadata"]["name"] == new["metadata"]["name"] == "ktpy-router-1-router-in"
    assert len(new["spec"]["ingress"][0]["from"]) == 2
    opened = replace(changed, policies=[one for one in changed.policies if is_policy(one)])
    assert {one["metadata"]["name"] for one in due(opened).drop} == {one["metadata"]["name"] for one in due().make}
    assert "ktpy-router-1-in-deny" in due(opened).names


def test_those_of_other_sessions_are_nobodys_business() -> None:
    eves = [
        {**one, "metadata": {**one["metadata"], "labels": {**labels_of(one), names.SESSION: "eve-1"}}}
        for one in due().make
    ]

    assert due(replace(WALLS, policies=[*WALLS.policies, *eves])).drop == ()


def test_a_shadow_that_stands_before_the_callers_itself_takes_them_and_sends_nothing_on() -> None:
    out = things.policy("cart", {"matchLabels": {"app": "cart"}}, egress=[{"to": [{"podSelector": {"matchLabels":
                        things.SELECTOR}}]}])  # fmt: skip
    mine = shadow(app="kt-1", tier="kt-1")

    found = policy_plan.due(replace(WALLS, policies=[DENY, SHOP, out]), FRONT, mine, None)

    made = {one["metadata"]["name"]: one["spec"] for one in found.make}
    assert set(made) == {"ktpy-ana-1-shadow-in", "ktpy-ana-1-out-cart"}
    assert made["ktpy-ana-1-shadow-in"]["ingress"] == [{**CART, "ports": [{"protocol": "TCP", "port": 8080}]}]
    assert made["ktpy-ana-1-out-cart"]["egress"][0]["to"] == [{"podSelector": {"matchLabels": dict(mine.pod.labels)}}]
    assert "part the shadow from service/shop" in found.words[0]


def test_what_no_policy_could_mend_is_refused() -> None:
    lax = things.policy("lax", {"matchLabels": {names.ROLE: names.ROLE_ROUTER}}, ingress=[{}])

    found = due(replace(WALLS, policies=[SHOP, lax]))

    assert "lax lets callers reach the router" in found.refuse
    assert found.make == ()


@pytest.mark.parametrize("name", ["a.dotted.name", "x" * 200])
def test_a_policy_of_any_name_gives_ours_a_legal_one(name: str) -> None:
    theirs = things.policy(name, {"matchLabels": things.SELECTOR}, ingress=[CART])

    made = [one["metadata"]["name"] for one in due(replace(WALLS, policies=[theirs])).make]

    assert len(set(made)) == 3
    assert all(len(one) < 120 and "." not in one for one in made)


def test_the_routers_part_is_read_off_its_deployment() -> None:
    assert router().pod.doors == {80: 8080}
    assert router().pod.named == {"web": 8080}
