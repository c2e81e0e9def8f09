"""Many laptops, one Service: marked requests find their laptop, all others the cluster, whoever comes, goes or dies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.harness.client import InCluster
from tests.e2e.harness.laptop import Server, serving
from tests.e2e.harness.meshes import ended, meshing, mixed
from tests.e2e.harness.people import Person
from tests.e2e.harness.space import Space

URL = "http://shop/"
TAKEN = 4


@pytest.fixture(scope="module")
def ben(space: Space) -> Iterator[Server]:
    """Bob's own process."""
    with serving(space.person("bob")) as found:
        yield found


def owned_pods(space: Space) -> dict[str, Any]:
    """The team's own pods: uid and restarts."""
    pods = space.read("get", "pods", "-l", "app=shop")["items"]
    return {pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods}


def test_each_request_goes_to_the_side_that_it_names(
    space: Space, ana: Person, bob: Person, client: InCluster, server: Server, ben: Server
) -> None:
    before = space.snapshot()
    with meshing(ana, server, "--version-mark", "ana") as first, meshing(bob, ben, "--path", "/api") as second:
        heads = [("shop", ""), ("laptop", "version: ana"), ("shop", "version: other"), ("laptop", "/api/x")]
        right, wrong = mixed(client, heads)
        assert (wrong, sum(right.values()), len(right)) == ({}, 1000, 4)
        ended(second)
        heads = [("shop", ""), ("laptop", "version: ana"), ("shop", "/api/x")]
        right, wrong = mixed(client, heads, 20)
        assert (wrong, len(right)) == ({}, 3)
        ended(first)
    space.wait_same(before)


def test_unmarked_requests_notice_nothing_of_joins_leaves_and_deaths(
    space: Space, ana: Person, bob: Person, client: InCluster, server: Server, ben: Server
) -> None:
    before, pods = space.snapshot(), owned_pods(space)
    with (
        client.loading(URL, "--rate", "50", "--until-told", "--each", "--timeout", "10") as fresh,
        client.loading(URL, "--keep", "10", "--until-told", "--timeout", "10") as kept,
    ):
        fresh.wait_line("shop@")
        with meshing(ana, server) as first:
            for _ in range(2):
                with meshing(bob, ben, "--version-mark", "bob") as second:
                    ended(second)
            with meshing(bob, ben, "--version-mark", "bob") as second:
                second.kill()
                assert client.load(URL, "--count", "20", "--header", "version: bob").answers == {"shop": 20}
            assert client.load(URL, "--count", "20", "--header", "version: ana").answers == {"laptop": 20}
            ended(first)
        bob.run("clean", "--older-than", "0")
        fresh.wait_line("shop@", after=len(fresh.lines), count=100)
        new, old = fresh.stop(), kept.stop()

    assert (new.failed, set(new.answers)) == ({}, {"shop"}), new.raw
    assert (old.failed, set(old.answers)) == ({}, {"shop"}), old.raw
    assert owned_pods(space) == pods
    space.wait_same(before)


def test_a_mark_that_is_taken_is_refused_with_its_owner(
    space: Space, ana: Person, bob: Person, server: Server, ben: Server
) -> None:
    with meshing(ana, server, "--version-mark", "same") as session:
        done = bob.run("mesh", "shop", "--expose", str(ben.port), "--version-mark", "same")
        assert done.code == TAKEN
        assert "ana on" in done.err
        ended(session)


def test_an_exchange_beside_marks_takes_the_rest_and_a_second_one_is_refused(
    space: Space, ana: Person, bob: Person, client: InCluster, server: Server
) -> None:
    with (
        serving(bob) as whole,
        bob.start("exchange", "shop", "--expose", str(whole.port), "--mode", "router") as everything,
    ):
        everything.wait_ready()
        with meshing(ana, server) as session:
            right, wrong = mixed(client, [("laptop", ""), ("laptop", "version: ana")], 10)
            assert wrong == {}
            done = ana.run("exchange", "shop", "--expose", str(server.port), "--mode", "router")
            assert (done.code, "bob on" in done.err) == (TAKEN, True), done.said
            ended(everything)
            right, wrong = mixed(client, [("shop", ""), ("laptop", "version: ana")], 10)
            assert (wrong, len(right)) == ({}, 2)
            ended(session)


def test_a_router_pod_that_is_deleted_is_replaced_and_has_every_row(
    space: Space, ana: Person, client: InCluster, server: Server
) -> None:
    with meshing(ana, server) as session, client.loading(URL, "--rate", "50", "--until-told", "--each") as load:
        load.wait_line("shop@")
        name = space.kubectl("get", "pods", "-l", "ktpy.io/role=router", "-o", "name").split()[0]
        space.kubectl("delete", name, "--wait=false")
        space.kubectl("rollout", "status", "deployment/shop-kt-router", "--timeout=60s")
        right, wrong = mixed(client, [("shop", ""), ("laptop", "version: ana")], 20)
        result = load.stop()
        assert (wrong, len(right)) == ({}, 2), session.said()
        assert (result.failed, set(result.answers)) == ({}, {"shop"}), result.raw
        ended(session)


def test_what_the_owner_makes_of_the_selector_is_the_original_from_then_on(
    space: Space, ana: Person, client: InCluster, server: Server
) -> None:
    before = space.snapshot()
    with meshing(ana, server) as session:
        selector = space.read("get", "service", "shop")["spec"]["selector"]
        space.kubectl("patch", "service", "shop", "--type=merge", "-p", '{"spec": {"selector": {"app": "shop"}}}')
        session.wait_text("its selector is the original from now on")
        assert space.read("get", "service", "shop")["spec"]["selector"] == selector
        right, wrong = mixed(client, [("shop", ""), ("laptop", "version: ana")], 10)
        assert (wrong, len(right)) == ({}, 2)
        ended(session)
    space.wait_same(before)
