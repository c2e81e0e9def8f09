"""Services and marks that are legal and unusual: a mesh of each works, or is refused before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.harness import manifests
from tests.e2e.harness.calm import calm
from tests.e2e.harness.client import InCluster
from tests.e2e.harness.laptop import Server, serving
from tests.e2e.harness.manifests import Manifest
from tests.e2e.harness.meshes import ended, meshing, mixed
from tests.e2e.harness.node import Node
from tests.e2e.harness.people import Person
from tests.e2e.harness.space import Space, opened

FAILED, USAGE, TAKEN = 1, 2, 4
LONG, LONGER = "s" * 62 + "1", "s" * 62 + "2"  # 63 characters, of which the last one differs


def half(name: str, number: int) -> Manifest:
    """A Deployment whose pods are behind service/torn, with a number of its own for the port name `http`."""
    thing = manifests.deployment(name, [("http", number)], replicas=1)
    thing["spec"]["selector"] = {"matchLabels": {"half": name}}
    thing["spec"]["template"]["metadata"]["labels"] = {"app": "torn", "half": name}
    return thing


ODD = (
    *manifests.SHOP,
    manifests.deployment("pay", [("http", 9090)], replicas=1),
    manifests.service("pay", [{"name": "web", "port": 80, "targetPort": "http"}]),
    manifests.service("same", [{"name": "web", "port": 80, "targetPort": 8080}], app="shop"),
    manifests.service("twice", [(80, "http"), (81, 8080)], app="shop"),
    manifests.service(LONG, [(80, "http")], app="shop"),
    manifests.service(LONGER, [(80, "http")], app="shop"),
    half("torn-a", 8080),
    half("torn-b", 8081),
    manifests.service("torn", [(80, "http")]),
)


@pytest.fixture(scope="module")
def space(node: Node, venv: Path) -> Iterator[Space]:
    with opened(node, venv, *ODD) as found:
        yield found


@pytest.fixture(scope="module")
def second(space: Space) -> Iterator[Server]:
    with serving(space.person("bob")) as found:
        yield found


def test_one_port_name_in_several_services_is_another_number_in_each(
    space: Space, ana: Person, bob: Person, client: InCluster, server: Server, second: Server
) -> None:
    """The name `http` is 8080 of the shop's pods and 9090 of pay's; `web` is a port's name of two Services."""
    before = calm(space)
    with (
        meshing(ana, server) as first,
        meshing(bob, second, service="pay", exposed=f"{second.port}:web") as other,
        meshing(bob, second, service="same", exposed=f"{second.port}:web") as third,
    ):
        for name, original, owner in (("shop", "shop", "ana"), ("pay", "pay", "bob"), ("same", "shop", "bob")):
            heads = [(original, ""), ("laptop", f"version: {owner}"), (original, "version: nobody")]
            right, wrong = mixed(client, heads, places=[f"{name}:80"])
            assert (wrong, len(right)) == ({}, 3), name
        ended(first, other, third)
    space.wait_same(before)


def test_two_ports_of_a_service_that_are_one_of_its_pods(
    space: Space, ana: Person, bob: Person, client: InCluster, server: Server, second: Server
) -> None:
    """A row takes the pods' port, by whichever port of the Service a request came."""
    before = calm(space)
    ports = f"{server.port}:80,{second.port}:81"
    torn = ana.run("mesh", "twice", "--expose", ports)
    assert (torn.code, "8080 of the pods is given twice" in torn.err) == (USAGE, True), torn.said
    space.wait_same(before)
    with (
        meshing(ana, server, service="twice", exposed=f"{server.port}:80") as first,
        meshing(bob, second, service="twice", exposed=f"{second.port}:81") as other,
    ):
        same = bob.run("mesh", "twice", "--expose", f"{second.port}:81", "--version-mark", "ana")
        assert (same.code, "ana on" in same.err) == (TAKEN, True), same.said
        heads = [("shop", ""), ("laptop", "version: ana"), ("laptop", "version: bob")]
        right, wrong = mixed(client, heads, places=["twice:80", "twice:81"])
        assert (wrong, len(right)) == ({}, 3)
        ended(first, other)
    space.wait_same(before)


def test_services_with_the_longest_names_do_not_get_in_each_others_way(
    space: Space, ana: Person, bob: Person, client: InCluster, server: Server, second: Server
) -> None:
    before = calm(space)
    with meshing(ana, server, service=LONG) as first, meshing(bob, second, service=LONGER) as other:
        for name, owner, nobody in ((LONG, "ana", "bob"), (LONGER, "bob", "ana")):
            heads = [("shop", ""), ("laptop", f"version: {owner}"), ("shop", f"version: {nobody}")]
            right, wrong = mixed(client, heads, places=[f"{name}:80"])
            assert (wrong, len(right)) == ({}, 3), name
        ended(first, other)
    space.wait_same(before)


def test_a_port_name_that_is_two_numbers_is_refused_before_anything_is_changed(
    space: Space, ana: Person, server: Server
) -> None:
    before = calm(space)
    done = ana.run("mesh", "torn", "--expose", str(server.port))
    assert (done.code, "'http' stands for 8080 in some pods and 8081 in others" in done.err) == (FAILED, True), (
        done.said
    )
    space.wait_same(before)


def test_marks_of_every_kind_live_together(
    space: Space, ana: Person, bob: Person, client: InCluster, server: Server
) -> None:
    before = calm(space)
    marks = {
        "0.0.1": "version: 0.0.1",
        "Ünï/1": "version: Ünï/1",
        "x" * 200: f"version: {'x' * 200}",
        "X" * 200: f"version: {'X' * 200}",
        "x-who:ana": "X-Who: ana",
    }
    with ExitStack() as stack:
        sessions = [stack.enter_context(meshing(ana, server, "--version-mark", mark)) for mark in marks]
        sessions.append(stack.enter_context(meshing(bob, server, "--version-mark", "x-who:")))
        headers = [*marks.values(), "x-who: bob"]
        others = ["", "version: 0.0.10", "version: ünï/1", f"version: {'x' * 199}", "x-who: an"]
        right, wrong = mixed(client, [*(("laptop", h) for h in headers), *(("shop", h) for h in others)], 100)
        assert (wrong, len(right)) == ({}, len(headers) + len(others))
        ended(*sessions)
    space.wait_same(before)


REFUSED = {
    "longer than any header": ("x" * 1025, "more than 1024 characters"),
    "two lines": ("ana\nbob", "cannot be printed"),
    "a name with a space": ("x who:ana", "'x who' cannot be the name of a header"),
    "a name that is not ASCII": ("ü:ana", "'ü' cannot be the name of a header"),
}


def test_marks_that_no_request_can_have_are_refused_before_anything_is_changed(
    space: Space, ana: Person, server: Server
) -> None:
    before = calm(space)
    for mark, says in REFUSED.values():
        done = ana.run("mesh", "shop", "--expose", str(server.port), "--version-mark", mark)
        assert (done.code, says in done.err) == (USAGE, True), done.said
    space.wait_same(before)
