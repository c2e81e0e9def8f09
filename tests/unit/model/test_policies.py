"""Which NetworkPolicies a router needs: each mend by itself, and all at once against another judge."""

from __future__ import annotations

import ipaddress
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pytest

from ktpy.model.names import ROLE, SELF, SESSION
from ktpy.model.policies import Stage, Verdict, needed
from ktpy.model.policy_rules import Endpoint
from ktpy.model.ref import Object

SHOP = {"app": "shop"}
ROUTER = {"app": "kt-1", ROLE: "router"}
SHADOW = {ROLE: "shadow", "ktpy.io/session": "ana-1"}
SPACE = {"kubernetes.io/metadata.name": "team", "env": "dev"}
POD = Endpoint({**SHOP, "tier": "web"}, {80: 8080}, {"web": 8080})


def stage(*original: Endpoint, router: Mapping[int, int] | None = None) -> Stage:
    doors = router or {80: 8080}
    return Stage("shop", SHOP, SPACE, original or (POD,), Endpoint(ROUTER, doors), Endpoint(SHADOW, doors))


def policy(name: str, who: Object | None = None, **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"podSelector": who or {}, **spec}}


def labelled(**labels: str) -> Object:
    return {"matchLabels": labels}


def pods(**labels: str) -> Object:
    return {"podSelector": labelled(**labels)}


def tcp(port: int | str, **more: int) -> Object:
    return {"protocol": "TCP", "port": port, **more}


def made(verdict: Verdict) -> dict[str, Object]:
    assert verdict.refuse is None
    return {one["metadata"]["name"]: one["spec"] for one in verdict.make}


DENY = policy("deny", policyTypes=["Ingress"])
DENY_OUT = policy("deny-out", policyTypes=["Egress"])
FRONT = {"from": [pods(app="front")], "ports": [tcp(8080)]}
FROM_ROUTER = {"from": [{"podSelector": {"matchLabels": ROUTER}}], "ports": [tcp(8080)]}


def test_without_policies_or_where_they_are_about_others_nothing_is_made() -> None:
    others = policy("cart", labelled(app="cart"), policyTypes=["Ingress", "Egress"])

    assert needed([], stage()) == Verdict()
    assert needed([others], stage()) == Verdict()


def test_isolated_pods_take_the_router_which_takes_their_callers_on_the_same_port() -> None:
    verdict = needed([policy("front", labelled(app="shop"), ingress=[FRONT])], stage())

    assert made(verdict) == {
        "router-in": {"podSelector": {"matchLabels": ROUTER}, "policyTypes": ["Ingress"], "ingress": [FRONT]},
        "in-front": {"podSelector": {"matchLabels": SHOP}, "policyTypes": ["Ingress"], "ingress": [FROM_ROUTER]},
        "shadow-in": {"podSelector": {"matchLabels": SHADOW}, "policyTypes": ["Ingress"], "ingress": [FROM_ROUTER]},
    }
    assert "(front)" in verdict.words[0]
    assert {one["apiVersion"] for one in verdict.make} == {"networking.k8s.io/v1"}


def test_the_peers_of_all_policies_are_copied_whole_and_only_for_the_ports_they_are_for() -> None:
    block = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}
    both = {"namespaceSelector": labelled(env="prod"), **pods(app="x")}
    theirs = [
        DENY,
        policy("a", labelled(tier="web"), ingress=[{"from": [both], "ports": [tcp("web")]}]),
        policy("b", labelled(app="shop"), ingress=[{"from": [block]}, {"from": [pods(app="no")], "ports": [tcp(1)]}]),
    ]
    pod = Endpoint(POD.labels, {80: 8080, 90: 9090}, POD.named)

    spec = made(needed(theirs, stage(pod, router={80: 18080, 90: 9090})))["router-in"]

    assert spec["ingress"] == [
        {"from": [block, both], "ports": [tcp(18080)]},
        {"from": [block], "ports": [tcp(9090)]},
    ]


@pytest.mark.parametrize("rule", [{}, {"from": []}, {"from": None, "ports": [tcp(8080)]}])
def test_pods_that_take_anybody_need_nothing(rule: Object) -> None:
    assert needed([policy("open", labelled(app="shop"), ingress=[rule])], stage()).make == ()


def test_a_router_that_alone_is_isolated_takes_anybody_again_and_its_shadow_takes_it() -> None:
    not_shop = {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["shop"]}]}

    specs = made(needed([policy("rest", not_shop, policyTypes=["Ingress"])], stage()))

    assert specs["router-in"]["ingress"] == [{"ports": [tcp(8080)]}]
    assert specs["shadow-in"]["ingress"] == [FROM_ROUTER]
    assert "in-rest" not in specs


def test_pods_that_take_nobody_get_a_router_that_takes_nobody() -> None:
    specs = made(needed([policy("shut", labelled(app="shop"))], stage()))

    assert specs["router-in"]["ingress"] == []
    assert specs["in-shut"]["ingress"] == [FROM_ROUTER]


def test_pods_isolated_by_different_policies_to_the_same_end_are_each_opened_to_the_router() -> None:
    db = Endpoint({**SHOP, "tier": "db"}, {80: 8080})
    theirs = [policy(tier, labelled(tier=tier), ingress=[FRONT]) for tier in ("web", "db")]

    specs = made(needed(theirs, stage(POD, db)))

    assert set(specs) == {"router-in", "in-web", "in-db", "shadow-in"}
    assert specs["in-db"]["podSelector"] == labelled(app="shop", tier="db")


def test_ours_selects_no_pod_that_theirs_does_not_isolate() -> None:
    is_web = {"key": "tier", "operator": "In", "values": ["web"]}
    theirs = [policy("web", {"matchExpressions": [is_web]}, ingress=[FRONT])]

    assert made(needed(theirs, stage()))["in-web"]["podSelector"] == {"matchExpressions": [is_web], "matchLabels": SHOP}


def test_a_peer_that_means_the_router_too_is_enough() -> None:
    theirs = [policy("inside", ingress=[{"from": [{"podSelector": {}}]}])]

    assert needed(theirs, stage()).make == ()


def test_a_router_that_may_not_send_gets_the_way_to_the_pods_and_to_the_shadow() -> None:
    specs = made(needed([DENY_OUT], stage()))

    assert set(specs) == {"router-out", "shadow-out"}
    assert specs["router-out"] == {
        "podSelector": {"matchLabels": ROUTER},
        "policyTypes": ["Egress"],
        "egress": [{"to": [{"podSelector": {"matchLabels": SHOP}}], "ports": [tcp(8080)]}],
    }
    assert specs["shadow-out"]["egress"][0]["to"] == [{"podSelector": {"matchLabels": SHADOW}}]


def test_callers_that_may_call_the_pods_may_call_the_router() -> None:
    front = labelled(app="front")
    theirs = [policy("front-out", front, policyTypes=["Egress"], egress=[{"to": [pods(app="shop")]}])]

    specs = made(needed(theirs, stage()))

    assert specs == {
        "out-front-out": {
            "podSelector": front,
            "policyTypes": ["Egress"],
            "egress": [{"to": [{"podSelector": {"matchLabels": ROUTER}}], "ports": [tcp(8080)]}],
        }
    }


def test_a_port_name_is_looked_up_in_the_pod_that_receives() -> None:
    to_web = policy("out", labelled(app="front"), policyTypes=["Egress"], egress=[{"ports": [tcp("web")]}])
    named = Endpoint(ROUTER, {80: 18080}, {"web": 18080})

    assert set(made(needed([to_web], stage()))) == {"out-out"}
    assert needed([to_web], Stage("shop", SHOP, SPACE, (POD,), named, Endpoint(SHADOW, {80: 8080}))).make == ()


def test_callers_that_are_let_out_by_address_are_spoken_of() -> None:
    theirs = [policy("net", policyTypes=["Egress"], egress=[{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}])]

    assert "addresses in net" in needed(theirs, stage()).words[-1]


@pytest.mark.parametrize(
    ("theirs", "reason"),
    [
        ([policy("v1", labelled(tier="web"), ingress=[FRONT])], "v1 does not hold for all pods"),
        ([DENY, policy("v1", labelled(tier="web"), ingress=[FRONT])], "NetworkPolicy v1 does not hold"),
        (
            [policy("v1", labelled(app="f"), policyTypes=["Egress"], egress=[{"to": [pods(tier="web")]}])],
            "v1 lets its pods call some pods",
        ),
    ],
)
def test_pods_that_differ_in_who_reaches_them_are_refused(theirs: list[Object], reason: str) -> None:
    verdict = needed(theirs, stage(POD, Endpoint(SHOP, {80: 8080})))

    assert verdict == Verdict(refuse=verdict.refuse)
    assert re.search(reason, verdict.refuse or "")


@pytest.mark.parametrize(
    ("theirs", "reason"),
    [
        ([policy("lax", {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["shop"]}]},
                 ingress=[{}])], "NetworkPolicy lax lets callers reach the router"),
        ([policy("lax", labelled(**{ROLE: "shadow"}), ingress=[{}])], "NetworkPolicy lax lets callers reach a shadow"),
        ([policy("not", labelled(app="f"), policyTypes=["Egress"],
                 egress=[{"to": [pods(app="kt-1")]}])], "not lets its pods call the router but not the pods"),
    ],
)  # fmt: skip
def test_what_no_added_policy_could_narrow_is_refused(theirs: list[Object], reason: str) -> None:
    shut = policy("shut", labelled(app="shop"), ingress=[FRONT])

    assert reason in (needed([*theirs, shut], stage()).refuse or "")


def test_pods_that_do_not_run_or_do_not_agree_on_a_port_are_refused() -> None:
    nobody = Stage("shop", SHOP, SPACE, (), Endpoint(ROUTER, {80: 8080}), Endpoint(SHADOW, {80: 8080}))
    other, none = Endpoint(POD.labels, {80: 9090}), Endpoint(POD.labels, {})

    assert "no pod of service/shop runs" in (needed([DENY_OUT], nobody).refuse or "")
    assert needed([], nobody) == needed([policy("x", labelled(app="cart"))], nobody) == Verdict()
    for pods_ in ((POD, other), (POD, none), (none,)):
        assert "do not answer port 80 at one number" in (needed([DENY], stage(*pods_)).refuse or "")
        assert needed([policy("x", labelled(app="cart"))], stage(*pods_)) == Verdict()


def test_policies_that_were_born_ours_change_nothing_in_the_answer() -> None:
    theirs = [DENY, policy("front", labelled(app="shop"), ingress=[FRONT])]
    first = needed(theirs, stage())

    assert needed([*theirs, *born_ours(first)], stage()) == first
    copied = [policy("copy", labelled(app="shop"), ingress=[{}])]
    copied[0]["metadata"]["labels"] = {ROLE: "policy"}  # a label alone does not make it ours
    assert needed(copied, stage()) == needed([policy("copy", labelled(app="shop"), ingress=[{}])], stage())


def born_ours(verdict: Verdict) -> list[Object]:
    labels = {ROLE: "policy", SESSION: "ana-1"}
    meta = [{"labels": labels, "annotations": {SELF: one["metadata"]["name"]}} for one in verdict.make]
    return [{**one, "metadata": {**one["metadata"], **ours}} for one, ours in zip(verdict.make, meta, strict=True)]


# Another judge: it asks of one connection at a time whether it comes through, and knows nothing of sets of peers.


class Who(NamedTuple):
    """Anything with an address; SPACE is None outside the cluster."""

    space: str | None
    labels: Mapping[str, str]
    address: str
    named: Mapping[str, int] = {}


SPACES = {"team": SPACE, "front": {"kubernetes.io/metadata.name": "front", "env": "prod"}}


def wears(selector: Object, labels: Mapping[str, str]) -> bool:
    for key, value in selector.get("matchLabels", {}).items():
        if key not in labels or labels[key] != value:
            return False
    for one in selector.get("matchExpressions", []):
        there = one["key"] in labels
        listed = there and labels[one["key"]] in one.get("values", [])
        if (one["operator"], there, listed) in REFUSED or (one["operator"] == "In" and not listed):
            return False
    return True


REFUSED = {("NotIn", True, True), ("Exists", False, False), ("DoesNotExist", True, False)}


def means(peer: Object, who: Who) -> bool:
    if "ipBlock" in peer:
        block, address = peer["ipBlock"], ipaddress.ip_address(who.address)
        but = block.get("except", [])
        return address in ipaddress.ip_network(block["cidr"]) and all(
            address not in ipaddress.ip_network(one) for one in but
        )
    if who.space is None:
        return False
    if "namespaceSelector" not in peer:
        return who.space == "team" and wears(peer["podSelector"], who.labels)
    return wears(peer["namespaceSelector"], SPACES[who.space]) and wears(peer.get("podSelector", {}), who.labels)


def passes(way: str, theirs: Sequence[Object], guarded: Who, other: Who, port: int) -> bool:
    """Whether GUARDED's policies let the connection with OTHER through, WAY `ingress` or `egress`."""
    if guarded.space != "team":
        return True
    receiver = guarded if way == "ingress" else other
    on = [p["spec"] for p in theirs if wears(p["spec"]["podSelector"], guarded.labels)]
    on = [spec for spec in on if way.title() in spec["policyTypes"]]
    for spec in on:
        for rule in spec.get(way, []):
            peer = not rule.get({"ingress": "from", "egress": "to"}[way]) or any(
                means(one, other) for one in rule[{"ingress": "from", "egress": "to"}[way]]
            )
            numbers: list[int] = []
            for one in rule.get("ports", []):
                if one.get("protocol", "TCP") == "TCP":
                    first = receiver.named.get(one["port"], -1) if isinstance(one["port"], str) else one["port"]
                    numbers += range(first, one.get("endPort", first) + 1)
            if peer and (not rule.get("ports") or port in numbers):
                return True
    return not on


def reaches(theirs: Sequence[Object], one: Who, other: Who, port: int) -> bool:
    return passes("egress", theirs, one, other, port) and passes("ingress", theirs, other, one, port)


SELECTORS: list[Object] = [
    {},
    labelled(app="shop"),
    labelled(app="shop"),
    labelled(app="cart"),
    labelled(tier="web"),
    labelled(app="shop", tier="web"),
    {"matchExpressions": [{"key": "app", "operator": "In", "values": ["shop", "cart"]}]},
    {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["shop"]}]},
    {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
    {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]},
    {"matchLabels": {"app": "shop"}, "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["db"]}]},
]
SPACE_SELECTORS: list[Object] = [{}, labelled(env="dev"), labelled(env="prod")]
BLOCKS = [{"cidr": "192.0.2.0/24"}, {"cidr": "0.0.0.0/0", "except": ["192.0.2.0/25"]}]
PORTS = [tcp(8080), {"port": 9090}, tcp("web"), tcp(8000, endPort=9000), {"protocol": "UDP", "port": 8080}, tcp(7070)]


def some_policy(dice: random.Random, number: int) -> Object:
    def peer() -> Object:
        match dice.randrange(5):
            case 0:
                return {"ipBlock": dice.choice(BLOCKS)}
            case 1:
                return {"namespaceSelector": dice.choice(SPACE_SELECTORS)}
            case 2:
                return {"namespaceSelector": dice.choice(SPACE_SELECTORS), "podSelector": dice.choice(SELECTORS)}
        return {"podSelector": dice.choice(SELECTORS)}

    def rule(key: str) -> Object:
        who: Object = {key: [peer() for _ in range(dice.choice([0, 1, 1, 2]))]}
        return {**who, **({"ports": dice.sample(PORTS, dice.choice([1, 2]))} if dice.random() < 0.6 else {})}

    types = dice.choice([["Ingress"], ["Ingress"], ["Egress"], ["Ingress", "Egress"]])
    rules = {
        way: [rule(key) for _ in range(dice.choice([0, 1, 1, 2]))]
        for way, key in (("ingress", "from"), ("egress", "to"))
        if way.title() in types
    }
    return policy(f"p{number}", dice.choice(SELECTORS), policyTypes=types, **rules)


def callers() -> Iterator[Who]:
    some: list[Mapping[str, str]] = [{}, {"app": "shop"}, {"app": "cart"}, {"tier": "web"}]
    some += [{"app": "shop", "tier": "db"}, {"app": "cart", "tier": "web"}]
    for number, (space, wearing) in enumerate((space, one) for space in SPACES for one in some):
        yield Who(space, wearing, f"10.3.0.{number}")
    yield Who(None, {}, "192.0.2.1")
    yield Who(None, {}, "192.0.2.200")
    yield Who(None, {}, "203.0.113.9")


def some_stage(dice: random.Random) -> Stage:
    doors = dice.choice([{80: 8080}, {80: 8080, 90: 9090}])
    web, db = {"tier": "web"}, {"tier": "db"}
    tiers: list[Any] = dice.choice([[{}], [web], [web, web], [{}, db]])
    own = {80: 8080, 90: dice.choice([9090, 9091])}
    router = Endpoint(ROUTER, {door: own[door] for door in doors}, dice.choice([{}, {"web": 8080}]))
    shadow = Endpoint(SHADOW, dice.choice([{80: 8080}, dict(router.doors)]), {})
    original = tuple(Endpoint({**SHOP, **tier}, doors, {"web": 8080}) for tier in tiers)
    return Stage("shop", SHOP, SPACE, original, router, shadow)


def check(seed: int) -> Verdict:
    dice = random.Random(seed)
    theirs = [some_policy(dice, number) for number in range(dice.choice([1, 1, 2, 2, 3]))]
    scene = some_stage(dice)
    verdict = needed(theirs, scene)
    said = f"seed {seed}: {theirs} {scene} {verdict}"
    if verdict.refuse:
        assert verdict.make == (), said
        return verdict
    after = [*theirs, *verdict.make]
    original = [Who("team", pod.labels, f"10.1.0.{n}", pod.named) for n, pod in enumerate(scene.original)]
    router = Who("team", scene.router.labels, "10.2.0.1", scene.router.named)
    shadow = Who("team", scene.shadow.labels, "10.2.0.2", scene.shadow.named)
    others = [*callers(), *original]
    for door, number in scene.router.doors.items():
        behind = scene.original[0].doors[door]
        # What goes out by address follows the router's own number, and nobody can know whether it goes there.
        loose = number != behind and any("ipBlock" in str(one["spec"].get("egress")) for one in theirs)
        for one in others:
            was = {reaches(theirs, one, pod, behind) for pod in original if pod.address != one.address}
            now = {reaches(after, one, router, number)}
            spoken = was == {True} and "by grace of addresses" in "".join(verdict.words)
            assert was <= now or spoken or loose, f"{one} {door} {said}"
        assert all(reaches(after, router, pod, behind) for pod in original), said
    for door, number in scene.shadow.doors.items():
        behind = scene.original[0].doors[door]
        assert reaches(after, router, shadow, number), said
        for one in others:
            came = passes("ingress", theirs, original[0], one, behind)
            assert came or not passes("ingress", after, shadow, one, number), f"{one} {said}"
    for _ in range(40):
        one, other, port = dice.choice(others), dice.choice(others), dice.choice([8080, 9090, 7070])
        assert reaches(after, one, other, port) == reaches(theirs, one, other, port), f"{one} {other} {port} {said}"
    inside = set(scene.original[0].doors.values()) & {scene.original[0].doors[door] for door in scene.router.doors}
    for port in {8080, 9090, 9091, 7070} - inside:
        for pod in original:
            came = passes("ingress", theirs, pod, router, port)
            assert passes("ingress", after, pod, router, port) == came, f"{port} {said}"
    assert needed([*theirs, *born_ours(verdict)], scene) == verdict, said
    return verdict


def test_whatever_the_policies_the_router_is_reached_by_just_those_who_reached_the_pods() -> None:
    verdicts = [check(seed) for seed in range(200)]

    assert sum(bool(verdict.make) for verdict in verdicts) > 50
    assert sum(verdict.refuse is None for verdict in verdicts) > 80
