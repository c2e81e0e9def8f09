"""Many who join and leave, under load: unmarked requests and streams notice nothing, and no pod of the team's does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import peers
from tests.e2e.harness.laptop import serving
from tests.e2e.harness.meshes import ended, meshing
from tests.e2e.harness.node import Node
from tests.e2e.harness.space import Space, opened

JOINS = int(os.environ.get("KTPY_TEST_JOINS", "3"))  # ten take two minutes more
URL = "http://shop/"
ROOMY = {
    "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"},
    "spec": {"hard": {"requests.cpu": "2", "requests.memory": "2Gi", "limits.cpu": "40", "limits.memory": "10Gi",
                      "pods": "60"}},
}  # fmt: skip


@pytest.fixture(scope="module")
def space(node: Node, venv: Path) -> Iterator[Space]:
    with opened(
        node, venv, ROOMY, peers.asker(), peers.deployment("shop", replicas=3), peers.service("shop", "shop")
    ) as found:
        found.kubectl("wait", "pod/asker", "--for=condition=Ready", "--timeout=60s")
        yield found


def pods(space: Space) -> dict[str, Any]:
    """The team's own: uid and restarts."""
    found = space.read("get", "pods", "-l", "app=shop")["items"]
    return {pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["restartCount"] for pod in found}


def test_joins_and_leaves_under_load(space: Space, node: Node) -> None:
    """200 unmarked requests a second and 50 marked, half of each on kept connections."""
    before, team = space.snapshot(), pods(space)
    ana, bob, client = space.person("ana"), space.person("bob"), space.client()
    asker = peers.client(node, space.name)
    words = ("--until-told", "--timeout", "10")
    mine = ("--header", "version: ana", *words)
    with ExitStack() as stack:
        enter = stack.enter_context
        server, other = enter(serving(ana)), enter(serving(bob))
        old = enter(asker.start("python3", "/ask.py", "stay", "shop"))  # since before there is a router
        old.wait_line("open")
        loads = [enter(client.loading(URL, "--rate", "100", "--each", *words)),
                 enter(client.loading(URL, "--keep", "10", *words))]  # fmt: skip
        loads[0].wait_line("shop@", count=50)
        with meshing(ana, server, exposed=f"{server.port}:80") as first:
            marked = [enter(client.loading(URL, "--rate", "25", *mine)),
                      enter(client.loading(URL, "--keep", "3", *mine))]  # fmt: skip
            through = enter(asker.start("python3", "/ask.py", "stay", "shop"))
            through.wait_line("open")
            for number in range(JOINS):
                with meshing(bob, other, "--version-mark", f"m{number}", exposed=f"{other.port}:80") as one:
                    assert client.load(URL, "--count", "5", "--header", f"version: m{number}").answers == {"laptop": 5}
                    ended(one)
            theirs = [load.stop() for load in marked]
            ended(first)
        loads[0].wait_line("shop@", after=len(loads[0].lines), count=600)  # 6 s: longer than routers linger
        streams = [old.stop(), through.stop()]
        results = [load.stop() for load in loads]

    for result in results:
        assert (result.failed, set(result.answers)) == ({}, {"shop"}), result.raw
    for result in theirs:
        assert (result.failed, set(result.answers)) == ({}, {"laptop"}), result.raw
    for result in streams:
        assert result.failed == {}, result.raw
    print("unmarked", [result.total for result in results], "marked", [result.total for result in theirs])
    print("streams", [result.answers for result in streams])
    assert pods(space) == team
    space.wait_same(before)
