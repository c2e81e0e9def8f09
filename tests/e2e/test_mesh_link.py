"""A share link: requests without any header find the laptop, by a Service that goes with its session."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.harness.client import InCluster
from tests.e2e.harness.laptop import Server, serving
from tests.e2e.harness.people import Person
from tests.e2e.harness.space import Space, published_role
from tests.e2e.harness.until import until

ASK = """
import json, sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())
"""


def told(client: InCluster, url: str) -> dict[str, Any]:
    """What one request without any header of ours was answered."""
    answer: dict[str, Any] = json.loads(client.run("python3", "-c", ASK, url))
    return answer


@pytest.fixture
def admitted(space: Space) -> Person:
    """ana, with the rights for --host as well."""
    role = published_role(space.name)
    more = {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses"], "verbs": ["create", "delete"]}
    return space.newcomer("ana", "ana-link", {**role, "rules": [*role["rules"], more]})


@pytest.fixture
def ben(space: Space) -> Iterator[Server]:
    """Bob's own process."""
    with serving(space.person("bob")) as found:
        yield found


def test_two_links_mark_their_own_requests_fall_back_and_go_without_a_trace(
    space: Space, ana: Person, bob: Person, client: InCluster, ben: Server
) -> None:
    before = space.snapshot()
    with (
        serving(ana) as mine,
        ana.start("mesh", "shop", "--expose", str(mine.port), "--link") as first,
        bob.start("mesh", "shop", "--expose", str(ben.port), "--baggage", "who=bob", "--link") as second,
    ):
        ready = first.wait_ready()
        assert f"kubectl -n {space.name} port-forward service/shop-link-ana 8000:80" in ready["link"]
        assert "service/shop-link-bob" in second.wait_ready()["link"]
        anas, bobs = (told(client, f"http://shop-link-{who}/") for who in ("ana", "bob"))
        assert [client.ask(url) for url in ("http://shop/", "http://shop-link-ana/")] == ["shop", "laptop"]

        mine.process.kill()
        fallen = told(client, "http://shop-link-ana/")
        second.interrupt()
        assert second.wait() == 0, second.said()
        assert "shop-link-bob" not in space.kubectl("get", "services", "-o", "name")
        first.interrupt()
        assert first.wait() == 0, first.said()

    assert (anas["service"], anas["headers"]["version"]) == ("laptop", "ana")
    assert (bobs["service"], bobs["headers"]["baggage"], "version" in bobs["headers"]) == ("laptop", "who=bob", False)
    assert (fallen["service"], fallen["headers"]["version"]) == ("shop", "ana")
    space.wait_same(before)


def test_after_kill_9_of_one_with_a_host_another_users_clean_leaves_nothing(
    space: Space, admitted: Person, bob: Person, client: InCluster, server: Server
) -> None:
    before = space.snapshot()
    words = ("--expose", str(server.port), "--link", "--host", "web.example.com")
    with admitted.start("mesh", "shop", *words) as session:
        session.wait_ready()
        (rule,) = space.read("get", "ingress", "shop-link-ana")["spec"]["rules"]
        session.kill()
    assert rule["host"] == "web.example.com"
    until(lambda: client.ask("http://shop-link-ana/") == "shop", "the link falls back to the cluster", seconds=20)

    done = bob.run("clean", "--older-than", "0")

    assert done.code == 0, done.said
    assert "service/shop-link-ana" in done.said
    space.wait_same(before, seconds=15)  # the Ingress is the garbage collector's


def test_a_link_without_the_right_for_its_host_or_with_a_name_that_is_taken_makes_nothing(
    space: Space, ana: Person, server: Server
) -> None:
    space.kubectl("create", "service", "clusterip", "shop-link-taken", "--tcp=80")
    before = space.snapshot()
    words = ("mesh", "shop", "--expose", str(server.port), "--link")
    try:
        forbidden = ana.run(*words, "--host", "web.example.com")
        taken = ana.run(*words, "--version-mark", "taken")
        space.wait_same(before, seconds=0)
    finally:
        space.kubectl("delete", "service", "shop-link-taken")

    assert (forbidden.code, "create ingresses.networking.k8s.io" in forbidden.err) == (5, True), forbidden.said
    assert (taken.code, "service/shop-link-taken exists already" in taken.err) == (4, True), taken.said
