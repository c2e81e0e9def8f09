"""A namespace in which NetworkPolicies deny all but what the team named: ours are made before the switch, and go.

The test cluster's network does not enforce policies: what is seen here is that the decision is right about objects as a
real API server keeps them, and that all of ours come and go. That they let through who got in before and nobody else, a
judge of single connections says in tests/unit/model/test_policies.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.harness import manifests
from tests.e2e.harness.client import InCluster
from tests.e2e.harness.laptop import Server
from tests.e2e.harness.node import Node
from tests.e2e.harness.people import Person
from tests.e2e.harness.process import Ktpy
from tests.e2e.harness.space import Space, opened, published_role

FORBIDDEN = 5
OF_ROUTER = ("in-deny", "out-front", "router-in", "router-out")
OF_SHADOW = ("shadow-in", "shadow-out")


def policy(name: str, who: dict[str, Any], **spec: Any) -> manifests.Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": who, **spec},
    }


FRONT, SHOP = {"matchLabels": {"app": "front"}}, {"matchLabels": {"app": "shop"}}
WEB = [{"protocol": "TCP", "port": 8080}]
THEIRS = (
    policy("deny", {}, policyTypes=["Ingress", "Egress"]),
    policy("shop", SHOP, ingress=[{"from": [{"podSelector": FRONT}], "ports": [{"port": "http"}]}]),
    policy("front", FRONT, policyTypes=["Egress"], egress=[{"to": [{"podSelector": SHOP}], "ports": WEB}]),
)


@pytest.fixture(scope="module")
def space(node: Node, venv: Any) -> Iterator[Space]:
    with opened(node, venv, *manifests.SHOP, *THEIRS) as found:
        yield found


def ours(space: Space) -> dict[str, list[str]]:
    """Session or router → what was made for it."""
    found: dict[str, list[str]] = {}
    for one in space.read("get", "networkpolicies", "-l", "ktpy.io/role=policy")["items"]:
        whose = one["metadata"]["labels"]["ktpy.io/session"]
        found.setdefault(whose, []).append(one["metadata"]["name"].removeprefix(f"ktpy-{whose}-"))
    return found


def spec(space: Space, tail: str) -> dict[str, Any]:
    items = space.read("get", "networkpolicies", "-l", "ktpy.io/role=policy")["items"]
    (found,) = [one["spec"] for one in items if one["metadata"]["name"].endswith(tail)]
    return dict(found)


def selected(space: Space, selector: dict[str, Any]) -> list[str]:
    wanted = ",".join(f"{key}={value}" for key, value in selector["matchLabels"].items())
    return space.kubectl("get", "pods", "-l", wanted, "-o", "name").split()


def meshing(person: Person, server: Server, *words: str) -> Ktpy:
    return person.start("mesh", "shop", "--expose", str(server.port), *words)


def ended(session: Ktpy) -> None:
    session.interrupt()
    assert session.wait() == 0, session.said()


def test_two_who_share_the_shop_make_what_it_takes_and_leave_nothing(
    space: Space, ana: Person, bob: Person, client: InCluster, server: Server
) -> None:
    before = space.snapshot()
    with meshing(ana, server) as first:
        ready = first.wait_ready()
        assert "6 NetworkPolicies made, which end with it" in ready["taken"]
        router = next(name for name in ours(space) if name.startswith("router-"))
        assert ours(space) == {router: [*OF_ROUTER], ready["session"]: [*OF_SHADOW]}

        router_in = spec(space, "-router-in")
        assert router_in["ingress"] == [{"from": [{"podSelector": FRONT}], "ports": WEB}]
        assert all("shop-kt-router" in pod for pod in selected(space, router_in["podSelector"]))
        assert len(selected(space, router_in["podSelector"])) == 2
        (shadow,) = selected(space, spec(space, "-shadow-in")["podSelector"])
        assert "-kt-mesh-" in shadow
        assert len(selected(space, spec(space, "-in-deny")["podSelector"])) == 3  # the shop's own, which deny isolates
        assert client.load("http://shop/", "--count", "5", "--header", "version: ana").answers == {"laptop": 5}

        done = bob.run("--output", "json", "mesh", "shop", "--expose", str(server.port), "--dry-run")
        deeds = [json.loads(line).get("do", "") for line in done.out.splitlines() if '"do"' in line]
        assert [deed[-10:] for deed in deeds if "networkpolicy" in deed] == ["shadow-out", "-shadow-in"], done.said
        with meshing(bob, server) as second:
            second.wait_ready()
            assert {len(made) for made in ours(space).values()} == {4, 2}
            ended(second)
        assert ours(space).keys() == {router, ready["session"]}
        ended(first)
    space.wait_same(before)


def test_what_a_kill_leaves_clean_takes_away(space: Space, ana: Person, bob: Person, server: Server) -> None:
    before = space.snapshot()
    with meshing(ana, server) as session:
        session.wait_ready()
        session.kill()
    assert len(ours(space)) == 2

    done = bob.run("clean", "--older-than", "0")

    assert done.code == 0, done.said
    space.wait_same(before)


def test_a_direct_exchange_lets_the_same_callers_reach_the_shadow(space: Space, ana: Person, server: Server) -> None:
    before = space.snapshot()
    with ana.start("exchange", "shop", "--expose", str(server.port), "--mode", "direct") as session:
        session.wait_ready()
        ((_, made),) = ours(space).items()
        assert made == ["out-front", "shadow-in"]
        assert spec(space, "-shadow-in")["ingress"] == [{"from": [{"podSelector": FRONT}], "ports": WEB}]
        ended(session)
    space.wait_same(before)


@pytest.mark.parametrize("mode", ["router", "direct"])
def test_who_may_not_make_them_is_told_before_anything_is_created(space: Space, server: Server, mode: str) -> None:
    role = published_role(space.name)
    role["rules"] = [
        {**rule, "verbs": ["list"]} if rule["resources"] == ["networkpolicies"] else rule for rule in role["rules"]
    ]
    eve = space.newcomer("eve", f"eve-{mode}", role)
    before = space.snapshot()

    done = eve.run("exchange", "shop", "--expose", str(server.port), "--mode", mode)

    assert done.code == FORBIDDEN, done.said
    assert "create networkpolicies.networking.k8s.io" in done.err
    assert re.search(r"NetworkPolicies here \(deny, front, shop\) would part the (router|shadow)", done.err), done.said
    assert re.search(r"networkpolicy/ktpy-\S+-in", done.err), done.said
    assert "ktpy doctor --print-role" in done.err
    space.wait_same(before, seconds=0)
