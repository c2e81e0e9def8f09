"""What other pods can do to a router: have their requests routed, and read its health; nothing that changes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ktpy.model import names, routes
from tests.e2e.harness.client import InCluster
from tests.e2e.harness.laptop import Server
from tests.e2e.harness.process import Ktpy
from tests.e2e.harness.space import Space

READ, MISSING, NOT_SO = 200, 404, 405
PATHS = ("/", "/routes", "/drain", "/stats", "/healthz", "/readyz", "/metrics")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
HOSTS = ("", "localhost")  # by its address, and as somebody who lies about where he is

# Each of METHODS on each of PATHS of HOST:PORT; what came, a status or the kind of failure.
ASK = """
import http.client, json, sys
host, port, methods, paths, names, body = sys.argv[1], int(sys.argv[2]), *map(json.loads, sys.argv[3:6]), sys.argv[6]
found = []
for name in names:
    for method in methods:
        for path in paths:
            server = http.client.HTTPConnection(host, port, timeout=3)
            try:
                server.request(method, path, body, {"Host": name} if name else {})
                answer = server.getresponse()
                found.append([method, path, answer.status, answer.read().decode()])
            except OSError as error:
                found.append([method, path, type(error).__name__, ""])
            server.close()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def session(space: Space, server: Server) -> Iterator[Ktpy]:
    with space.person("ana").start("mesh", "shop", "--expose", str(server.port), "--version-mark", "ana") as running:
        running.wait_ready()
        yield running
        running.interrupt()
        assert running.wait() == 0, running.said()


def asked(client: InCluster, address: str, port: int, table: str) -> list[list[Any]]:
    """What a pod gets of that PORT; TABLE is the body of each request."""
    wanted = [json.dumps(list_) for list_ in (METHODS, PATHS, HOSTS)]
    found: list[list[Any]] = json.loads(client.run("python3", "-c", ASK, address, str(port), *wanted, table))
    return found


def test_a_routers_control_port_is_closed_to_other_pods_and_its_health_port_changes_nothing(
    space: Space, session: Ktpy, client: InCluster
) -> None:
    found = routes.read(space.read("get", "configmap", names.router_name("shop")))
    empty = routes.without(found, *found.sessions).table.to_json()  # it would cut ana off
    pods = space.read("get", "pods", "-l", f"{names.ROLE}={names.ROLE_ROUTER}")["items"]
    ports = found.ports
    assert len(pods) == 2
    for pod in pods:
        address = pod["status"]["podIP"]
        for closed in (ports.control, ports.inspect, ports.web):
            tried = asked(client, address, closed, empty)
            assert {outcome for _, _, outcome, _ in tried} == {"ConnectionRefusedError"}, (closed, tried)
        health = asked(client, address, ports.health, empty)
        read = {(method, path) for method, path, outcome, _ in health if outcome == READ}
        assert read == {("GET", path) for path in ("/healthz", "/readyz", "/metrics")}
        assert {outcome for _, _, outcome, _ in health} == {READ, MISSING, NOT_SO}, health
        assert [text for method, path, _, text in health if (method, path) == ("GET", "/readyz")] == ["ready\n"] * 2

    assert client.load("http://shop/", "--count", "20", "--header", "version: ana").answers == {"laptop": 20}
    assert client.load("http://shop/", "--count", "20").answers == {"shop": 20}
    assert routes.read(space.read("get", "configmap", names.router_name("shop"))) == found
    kept = client.load("http://shop/", "--keep", "4", "--seconds", "1", "--header", "version: ana")
    assert (kept.failed, set(kept.answers)) == ({}, {"laptop"})
