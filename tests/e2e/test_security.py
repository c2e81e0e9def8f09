"""What a session shows to others: no key that opens anything else, and no port on the laptop beyond loopback."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

from tests.e2e.harness.laptop import Server
from tests.e2e.harness.node import Node
from tests.e2e.harness.process import Ktpy
from tests.e2e.harness.snapshot import objects
from tests.e2e.harness.space import Space

LISTEN = "0A"
LOOPBACK = ("0100007F", "00000000000000000000000001000000")


@pytest.fixture(scope="module")
def session(space: Space, server: Server) -> Iterator[Ktpy]:
    with space.person("ana").start("exchange", "shop", "--expose", str(server.port)) as running:
        running.wait_ready()
        yield running
        running.interrupt()
        assert running.wait() == 0, running.said()


def private_keys(thing: Any, where: str) -> Iterator[tuple[str, str]]:
    """(where, text) of every string below THING that holds a private key, plain or in base64."""
    if isinstance(thing, dict):
        for key, value in thing.items():
            yield from private_keys(value, f"{where}.{key}")
    elif isinstance(thing, list):
        for value in thing:
            yield from private_keys(value, where)
    elif isinstance(thing, str):
        for text in (thing, _decoded(thing)):
            if "PRIVATE KEY" in text:
                yield where, text


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError:
        return ""


def test_the_only_private_key_in_the_namespace_is_the_shadows_own_host_key(space: Space, session: Ktpy) -> None:
    things = objects(space.node, space.name)
    found = [pair for thing in things for pair in private_keys(thing, f"{thing['kind']}/{thing['metadata']['name']}")]

    ((where, text),) = found
    name = f"ktpy-{session.wait_ready()['session']}"
    assert where == f"Secret/{name}.data.ssh_host_ed25519_key"
    (secret,) = (thing for thing in things if thing["kind"] == "Secret" and thing["metadata"]["name"] == name)
    public = load_ssh_private_key(text.encode(), None).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    allowed = base64.b64decode(secret["data"]["authorized_keys"]).decode()
    assert public.decode().split()[1] not in allowed, "the host key opens the shadow"
    assert "permitlisten" in allowed


def test_the_shadow_has_no_right_in_the_cluster(space: Space, session: Ktpy) -> None:
    (pod,) = space.read("get", "pods", "-l", "ktpy.io/role=shadow")["items"]

    assert pod["spec"]["automountServiceAccountToken"] is False
    mounts = [mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]]
    assert mounts == ["/keys"]


def test_ktpy_listens_nowhere_on_the_laptop_but_on_loopback(session: Ktpy) -> None:
    sockets = {str(link.readlink()) for link in Path(f"/proc/{session.pid}/fd").iterdir()}
    beyond = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{session.pid}/net/{table}").read_text().splitlines()[1:]:
            local, state, inode = (line.split()[column] for column in (1, 3, 9))
            if state == LISTEN and f"socket:[{inode}]" in sockets and local.partition(":")[0] not in LOOPBACK:
                beyond.append(line)

    assert beyond == []


def test_nothing_of_the_key_is_on_the_laptops_disk_or_command_line(space: Space, session: Ktpy) -> None:
    ana = space.person("ana")
    files = [file for file in ana.home.rglob("*") if file.is_file() and file != ana.kubeconfig]

    assert files, "at least the run's log"
    assert [file for file in files if b"PRIVATE KEY" in file.read_bytes()] == []
    assert "KEY" not in Path(f"/proc/{session.pid}/cmdline").read_text()


def test_a_users_files_are_readable_to_him_alone(space: Space, session: Ktpy) -> None:
    folder = space.person("ana").home / ".local/state/ktpy/runs"

    assert folder.stat().st_mode & 0o077 == 0


def test_the_laptop_reaches_nothing_but_the_api_server(node: Node, space: Space) -> None:
    """Else all these tests would prove less than they say."""
    if not node.own:
        pytest.skip("only the laptop of scripts/cluster is fenced in")
    address = space.service()["spec"]["clusterIP"]
    program = f"import socket; socket.create_connection(({json.dumps(address)}, 80), 3)"

    with pytest.raises(Exception, match="returned non-zero exit status"):
        node.laptop_network("python3", "-c", program)
