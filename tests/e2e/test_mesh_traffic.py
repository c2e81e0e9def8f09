"""Three people on two Services, by three kinds of match: every request of every kind is answered by the right side.

KTPY_TEST_REQUESTS: how many in all on kept connections; 6,000 if not said, to be short.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.harness import manifests, peers
from tests.e2e.harness.client import InCluster
from tests.e2e.harness.laptop import serving
from tests.e2e.harness.meshes import ended, meshing, mixed
from tests.e2e.harness.node import Node
from tests.e2e.harness.space import Space, opened
from tests.e2e.test_mesh_joins import ROOMY

REQUESTS = int(os.environ.get("KTPY_TEST_REQUESTS", "6000"))
CONNECTIONS = 50
UPLOAD = 100_000_000
MATCHES = {"ana": ("--version-mark", "ana"), "bob": ("--cookie", "team=blue"), "eve": ("--path", "/api")}
HEADS = [
    ("ana", "version: ana"),
    ("bob", "Cookie: a=b; team=blue"),
    ("eve", "/api/x"),
    ("", "version: other"),
    ("", "Cookie: team=red|/apple?x=/api"),
    ("", ""),
]  # fmt: skip
# What an ingress controller does: it knows the EndpointSlice's addresses, and keeps connections to each.
NGINX = """
daemon off; pid /tmp/nginx.pid; error_log stderr; worker_processes 1;
events {{ worker_connections 512; }}
http {{
    access_log off; client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f;
    uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s;
    upstream shop {{ {servers} keepalive 16; }}
    server {{
        listen 127.0.0.1:8000;
        location / {{
            proxy_pass http://shop; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header Host shop;
        }}
    }}
}}
"""


@pytest.fixture(scope="module")
def space(node: Node, venv: Path) -> Iterator[Space]:
    shops = [manifests.deployment(name, [("http", 8080)], replicas=4) for name in ("shop", "cart")]
    services = [
        manifests.service("shop", [(80, "http")], type="NodePort"),
        manifests.service("cart", [(80, 8080)]),
        peers.service("talk", "talk"),
    ]
    with opened(node, venv, ROOMY, peers.asker(), *shops, peers.deployment("talk", replicas=1), *services) as found:
        found.kubectl("wait", "pod/asker", "--for=condition=Ready", "--timeout=60s")
        yield found


def sided(original: str) -> list[tuple[str, str]]:
    return [(side or original, head) for side, head in HEADS]


def test_every_request_is_answered_by_the_right_side(space: Space, node: Node, client: InCluster) -> None:
    people = {name: space.person(name) for name in MATCHES}  # whose accounts are there before the snapshot
    before = space.snapshot()
    asker = peers.client(node, space.name)
    with ExitStack() as stack:
        sessions = []
        for name, words in MATCHES.items():
            person = people[name]
            server = stack.enter_context(serving(person, name=name))
            for service in ("shop", "cart"):
                sessions.append(stack.enter_context(meshing(person, server, *words, service=service)))
        for service in ("shop", "cart"):
            count = REQUESTS // 2 // CONNECTIONS
            right, wrong = mixed(client, sided(service), count, places=[f"{service}:80"], at_once=CONNECTIONS)
            assert (wrong, sum(right.values()), len(right)) == ({}, count * CONNECTIONS, len(HEADS))
            print(service, right)

        port = space.service("shop")["spec"]["ports"][0]["nodePort"]
        host = space.read("get", "pod", "client")["status"]["hostIP"]
        right, wrong = mixed(client, sided("shop"), 20, places=[f"{host}:{port}"])
        assert (wrong, len(right)) == ({}, len(HEADS)), "by the NodePort"

        addresses = endpoints(space, "shop")
        assert len(addresses) == 2, "the router's pods, and nobody else"
        config = NGINX.format(servers=" ".join(f"server {address};" for address in addresses))
        asker.run("sh", "-c", "cat > /tmp/nginx.conf", text=config)
        with asker.start("nginx", "-c", "/tmp/nginx.conf"):
            asker.run("sh", "-c", "until curl -s -o /tmp/x http://127.0.0.1:8000/; do sleep 0.1; done")
            right, wrong = mixed(asker, sided("shop"), 20, places=["127.0.0.1:8000"])
            asker.run("sh", "-c", "kill $(cat /tmp/nginx.pid)")
        assert (wrong, len(right)) == ({}, len(HEADS)), "by nginx, at the EndpointSlice's addresses"
        ended(*sessions)
    space.wait_same(before)


def endpoints(space: Space, service: str) -> list[str]:
    slices = space.read("get", "endpointslices", "-l", f"kubernetes.io/service-name={service}")["items"]
    return [
        f"{address}:{one['ports'][0]['port']}"
        for one in slices
        for endpoint in one["endpoints"]
        if endpoint["conditions"].get("ready")
        for address in endpoint["addresses"]
    ]


def test_every_protocol_marked_and_not(space: Space, node: Node) -> None:
    """Redis has no marks: it passes to the original, also where its port is exposed."""
    before = space.snapshot()
    asker, ana = peers.client(node, space.name), space.person("ana")
    with (
        peers.serving(node) as server,
        meshing(ana, server, service="talk", exposed=peers.EXPOSED) as session,
    ):
        for mark, side in (("ana", "laptop"), ("", "talk"), ("other", "talk")):
            told = json.loads(asker.run("python3", "/ask.py", "all", "talk", mark, str(UPLOAD)))
            print(mark or "unmarked", told)
            assert told == dict.fromkeys(told, side) | {"Redis": "talk"}
        ended(session)
    space.wait_same(before)
