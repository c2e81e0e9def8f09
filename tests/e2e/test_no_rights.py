"""Who has no rights on a namespace changes nothing through ktpy; who has the Role takes over only what is dead."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from ktpy.model.names import DEAD_SECONDS
from tests.e2e.harness.client import InCluster
from tests.e2e.harness.laptop import Server
from tests.e2e.harness.people import Person
from tests.e2e.harness.process import Ktpy
from tests.e2e.harness.snapshot import Snapshot
from tests.e2e.harness.space import Space

FORBIDDEN, HELD = 5, 4
NOTHING: dict[str, Any] = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {}, "rules": []}
# Everything that could change something, and a right that it must name.
COMMANDS = {
    "exchange shop --mode router --expose PORT": "create leases",
    "exchange shop --mode direct --expose PORT": "create leases",
    "exchange shop --mode scale --expose PORT": "create leases",
    "exchange shop --expose PORT --take-over": "create leases",
    "mesh shop --expose PORT --version-mark eve": "create leases",
    "mesh shop --expose PORT --version-mark ana --take-over": "create leases",
    "mesh shop --expose PORT --mode manual": "create leases",
    "preview mine --expose PORT": "create leases",
    "recover": "list leases",
    "recover --force": "list leases",
    "recover shop --force": "get services",
    "clean --older-than 0": "list leases",
    "clean --all --yes": "list leases",
}


class Held(NamedTuple):
    """ALIVE answers; DEAD was killed WHEN the clock said so."""

    alive: Ktpy
    dead: str
    when: float


@pytest.fixture(scope="module")
def held(space: Space, server: Server) -> Iterator[Held]:
    """Ana's two meshes of service/shop, of which one is dead."""
    ana = space.person("ana")

    def meshing(mark: str) -> Ktpy:
        return ana.start("mesh", "shop", "--expose", str(server.port), "--version-mark", mark)

    with meshing("ana") as alive:
        alive.wait_ready()
        with meshing("old") as dead:
            name = dead.wait_ready()["session"]
            dead.kill()
        yield Held(alive, name, time.monotonic())
        alive.interrupt()
        assert alive.wait() == 0, alive.said()


def lasting(found: Snapshot) -> Snapshot:
    """Without what the living write all the time."""
    return {name: thing for name, thing in found.items() if not name.startswith("Lease/")}


def test_without_rights_every_command_says_which_is_missing_and_changes_nothing(
    space: Space, server: Server, held: Held
) -> None:
    eve = space.newcomer("eve", "eve-nothing", NOTHING)
    before, leases = space.snapshot(), set(space.kubectl("get", "leases", "-o", "name").split())
    for words, right in COMMANDS.items():
        done = eve.run(*words.replace("PORT", str(server.port)).split())

        assert done.code == FORBIDDEN, f"{words}: {done.said}"
        assert all(part in done.err for part in right.split()), f"{words}: {done.said}"
        assert space.name in done.err, f"{words}: {done.said}"
    space.wait_same(before, seconds=0, of=lasting)
    assert set(space.kubectl("get", "leases", "-o", "name").split()) == leases
    assert held.alive.process.poll() is None, held.alive.said()


def test_with_the_role_one_sees_the_owner_and_does_not_get_what_he_holds(
    space: Space, bob: Person, client: InCluster, server: Server, held: Held
) -> None:
    exposed = ("--expose", str(server.port))
    refused = [
        bob.run("mesh", "shop", *exposed, "--version-mark", "ana"),
        bob.run("mesh", "shop", *exposed, "--version-mark", "ana", "--take-over"),
        bob.run("exchange", "shop", *exposed, "--mode", "direct", "--take-over"),
        bob.run("recover", "shop"),
    ]
    seen = bob.run("birdseye")
    for words in (("recover",), ("clean",)):
        done = bob.run(*words)
        assert done.code == 0, done.said

    host = space.node.laptop_network("hostname").strip()
    for done in refused:
        assert done.code == HELD, done.said
        assert f"ana on {host}" in done.err, done.said
    assert f"ana on {host}" in seen.out, seen.said
    assert client.load("http://shop/", "--count", "5", "--header", "version: ana").answers == {"laptop": 5}
    assert held.alive.process.poll() is None, held.alive.said()


def test_with_the_role_one_takes_over_what_is_dead(
    space: Space, bob: Person, client: InCluster, server: Server, held: Held
) -> None:
    time.sleep(max(0.0, held.when + DEAD_SECONDS + 1 - time.monotonic()))  # the truth takes its time

    with bob.start("mesh", "shop", "--expose", str(server.port), "--version-mark", "old", "--take-over") as session:
        session.wait_ready()
        leases = space.kubectl("get", "leases", "-o", "name")
        answers = client.load("http://shop/", "--count", "5", "--header", "version: old").answers
        session.interrupt()
        assert session.wait() == 0, session.said()

    assert answers == {"laptop": 5}
    assert held.dead not in leases
    assert held.alive.process.poll() is None, held.alive.said()
