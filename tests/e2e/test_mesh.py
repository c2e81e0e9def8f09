"""Many laptops, one Service: marked requests find their laptop, all others the cluster, whoever comes, goes or dies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.harness.client import InCluster
from tests.e2e.harness.laptop import Server, serving
from tests.e2e.harness.people import Person
from tests.e2e.harness.process import Ktpy
from tests.e2e.harness.space import Space

URL = "http://shop/"
TAKEN = 4

# Keeps 20 connections; each request has one of the heads by chance, and must be answered by the side that it names.
MIXED = """
import asyncio, collections, json, random, sys
heads, count = json.loads(sys.argv[1]), int(sys.argv[2])
wrong, right = collections.Counter(), collections.Counter()
async def one():
    reader, writer = await asyncio.open_connection("shop", 80)
    for _ in range(count):
        side, head = random.choice(heads)
        path = "/api/x" if "/api" in head else "/"
        lines = "".join(line + "\\r\\n" for line in head.split("|") if ": " in line)
        writer.write(f"GET {path} HTTP/1.1\\r\\nHost: shop\\r\\n{lines}\\r\\n".encode())
        answer = await reader.readuntil(b"\\r\\n\\r\\n")
        length = next(int(l.split(b":")[1]) for l in answer.split(b"\\r\\n") if l.lower().startswith(b"content-length"))
        told = json.loads(await reader.readexactly(length))
        (right if told["service"] == side else wrong)[head + " -> " + told["service"]] += 1
    writer.close()
async def main():
    await asyncio.gather(*(one() for _ in range(20)))
asyncio.run(main())
print(json.dumps([right, wrong]))
"""


def mixed(client: InCluster, heads: list[tuple[str, str]], count: int = 50) -> tuple[dict[str, int], dict[str, int]]:
    """What was answered by the right side and by the wrong one; HEADS: (side, header lines divided by |)."""
    right, wrong = json.loads(client.run("python3", "-c", MIXED, json.dumps(heads), str(count)))
    return right, wrong


@contextmanager
def meshing(person: Person, server: Server, *words: str) -> Iterator[Ktpy]:
    with person.start("mesh", "shop", "--expose", str(server.port), *words) as session:
        session.wait_ready()
        yield session


def ended(session: Ktpy) -> None:
    session.interrupt()
    assert session.wait() == 0, session.said()


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
        heads = [("shop", ""), ("laptop", "version: ana"), ("shop", "version: other"), ("laptop", "/api")]
        right, wrong = mixed(client, heads)
        assert (wrong, sum(right.values()), len(right)) == ({}, 1000, 4)
        ended(second)
        heads = [("shop", ""), ("laptop", "version: ana"), ("shop", "/api")]
        right, wrong = mixed(client, heads, 20)
        assert (wrong, len(right)) == ({}, 3)
        ended(first)
    space.wait_same(before)


@pytest.mark.parametrize("mark", ["0.0.1", "Ünï/1", "x" * 200, "x-who:ana", "x-who:"])
def test_any_mark_will_do(space: Space, ana: Person, client: InCluster, server: Server, mark: str) -> None:
    with meshing(ana, server, "--version-mark", mark) as session:
        key, colon, value = mark.partition(":")
        header = f"{key}: {value or 'ana'}" if colon else f"version: {mark}"
        right, wrong = mixed(client, [("laptop", header), ("shop", "version: another")], 5)
        assert (wrong, len(right)) == ({}, 2), session.said()
        ended(session)


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
