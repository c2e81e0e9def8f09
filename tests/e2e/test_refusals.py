"""What an exchange refuses before it changes anything: each with its sentence and its exit code."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import pytest

from tests.e2e.harness import manifests
from tests.e2e.harness.laptop import Server, free_port
from tests.e2e.harness.people import Done, Person
from tests.e2e.harness.space import Space
from tests.e2e.harness.until import until

FAILED, USAGE, NOT_FOUND, HELD, FORBIDDEN = 1, 2, 3, 4, 5
PULL_SECONDS = 10.0
DEAD_SECONDS = 32.0

DNS = {"name": "dns", "port": 53, "protocol": "UDP"}
ODD: tuple[dict[str, Any], ...] = (
    manifests.service("elsewhere", [(80, 80)], type="ExternalName", externalName="shop.example.com", selector=None),
    manifests.service("by-hand", [(80, 8080)], selector=None),
    manifests.service("headless", [(80, "http")], app="shop", clusterIP="None"),
    manifests.service("udp", [DNS]),
    manifests.service("mixed", [DNS, (80, "http")], app="shop"),
    manifests.service("two-ports", [(80, "http"), (81, 8081)], app="shop"),
    manifests.service("front-a", [(80, "http")], app="several"),
    manifests.service("front-b", [(80, "http")], app="several"),
    manifests.deployment("several", [("http", 8080)], replicas=0),
    manifests.service("orphan", [(80, "http")], app="shop"),
)  # fmt: skip


class Refusal(NamedTuple):
    """ARGUMENTS of exchange (PORT: the laptop's), the exit CODE, and what the error must SAY."""

    arguments: str
    code: int
    says: tuple[str, ...]


REFUSALS = {
    "a Service that is not there, with a near name": Refusal(
        "shopp --expose PORT", NOT_FOUND, ("service/shopp", "did you mean", "ktpy exchange shop ")
    ),
    "a Service that is not there, like nothing": Refusal("zzz --expose PORT", NOT_FOUND, ("service/zzz", "NAMESPACE")),
    "a Deployment that is not there": Refusal("deploy/zzz --expose PORT", NOT_FOUND, ("deployment/zzz",)),
    "an ExternalName": Refusal("elsewhere --expose PORT", FAILED, ("ExternalName", "shop.example.com")),
    "no selector": Refusal("by-hand --expose PORT", FAILED, ("service/by-hand has no selector",)),
    "headless": Refusal("headless --expose PORT", FAILED, ("service/headless is headless",)),
    "a UDP port": Refusal("udp --expose PORT:53", FAILED, ("UDP",)),
    "a UDP port beside the exposed one": Refusal("mixed --expose PORT:80", FAILED, ("53", "not TCP")),
    "an unknown port": Refusal("shop --expose PORT:99", NOT_FOUND, ("no port '99'", "80", "--expose")),
    "an unknown port name": Refusal("shop --expose PORT:grpc", NOT_FOUND, ("no port 'grpc'", "p80")),
    "several ports and none said": Refusal("two-ports --expose PORT", USAGE, ("several ports", "--expose 8080:80")),
    "several ports and one given": Refusal("two-ports --expose PORT:80", FAILED, ("81", "--expose 8080:80,8081:81")),
    "a workload behind several Services": Refusal("deploy/several --expose PORT", FAILED, ("front-a", "front-b")),
    "a pod": Refusal("pod/shop-1 --expose PORT", USAGE, ("pod cannot be exchanged", "Service")),
    "an unknown kind": Refusal("cronjob/shop --expose PORT", USAGE, ("'cronjob'",)),
    "no such port number": Refusal("shop --expose 99999", USAGE, ("99999", "65535")),
    "a silent laptop port": Refusal("shop --expose SILENT", FAILED, ("Nothing listens on 127.0.0.1:SILENT",
                                                                  "--no-check-ports")),
    "no --expose and a silent port": Refusal("shop", FAILED, ("Nothing listens on 127.0.0.1:8080",)),
    "more than the quota leaves": Refusal("shop --expose PORT --requests cpu=990m --limits cpu=1", FORBIDDEN,
                                          ("exceeded quota", "requests.cpu")),
    "more than a container may have": Refusal("shop --expose PORT --limits cpu=3", FORBIDDEN, ("cpu",)),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def odd(space: Space) -> None:
    space.apply(*ODD)


@pytest.fixture(scope="module", autouse=True)
def killed(space: Space, server: Server, odd: None) -> float:
    """When the session that still holds service/orphan was killed; the other tests run while its heartbeat ages."""
    ana = space.person("ana")
    with ana.start("exchange", "orphan", "--expose", str(server.port)) as session:
        session.wait_ready()
        session.kill()
    return time.monotonic()


def exchange(person: Person, server: Server, text: str) -> tuple[Done, int]:
    """`ktpy exchange TEXT`, and the silent port that stood in it."""
    silent = free_port(person)
    words = text.replace("PORT", str(server.port)).replace("SILENT", str(silent)).split()
    return person.run("exchange", *words), silent


@pytest.mark.parametrize("why", REFUSALS)
def test_refused_with_a_sentence_and_nothing_changed(space: Space, ana: Person, server: Server, why: str) -> None:
    refusal = REFUSALS[why]
    before = space.snapshot()

    done, silent = exchange(ana, server, refusal.arguments)

    assert done.code == refusal.code, done.said
    for part in refusal.says:
        assert part.replace("SILENT", str(silent)).replace("NAMESPACE", space.name) in done.err, done.said
    assert "Traceback" not in done.err
    space.wait_same(before, seconds=0)


def test_a_silent_port_is_no_hindrance_with_no_check_ports(space: Space, ana: Person) -> None:
    with ana.start("exchange", "shop", "--no-check-ports", "--expose", str(free_port(ana))) as session:
        session.wait_ready()
        session.interrupt()
        assert session.wait() == 0, session.said()


def test_held_by_a_living_session_names_owner_host_and_age(
    space: Space, ana: Person, bob: Person, server: Server
) -> None:
    with ana.start("exchange", "shop", "--expose", str(server.port)) as session:
        name = session.wait_ready()["session"]
        before = space.snapshot()

        plain, _ = exchange(bob, server, "shop --expose PORT")
        taking, _ = exchange(bob, server, "shop --expose PORT --take-over")

        assert space.snapshot()["Service/shop"] == before["Service/shop"]
        session.interrupt()
        assert session.wait() == 0, session.said()
    host = space.node.laptop_network("hostname").strip()
    for done in (plain, taking):
        assert done.code == HELD, done.said
        for part in ("service/shop", name, "ana", host, "s ago"):
            assert part in done.err, done.said


def test_an_image_that_cannot_be_pulled_is_told_in_the_nodes_words_and_leaves_nothing(
    space: Space, ana: Person, server: Server
) -> None:
    before = space.snapshot()
    started = time.monotonic()

    done, _ = exchange(ana, server, "shop --expose PORT --image localhost/not-there:1")

    assert time.monotonic() - started < PULL_SECONDS
    assert done.code == FAILED, done.said
    for part in ("localhost/not-there:1", "pull", "ktpy images build", "ktpy images load", "images push --prefix"):
        assert part in done.err, done.said
    space.wait_same(before)


def test_no_room_for_one_more_pod_is_refused_before_anything_is_made(space: Space, ana: Person, server: Server) -> None:
    until(lambda: not any(_is_going(pod) for pod in space.read("get", "pods")["items"]), "all is quiet", seconds=15)
    used = len(space.read("get", "pods")["items"])
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tight"},
             "spec": {"hard": {"pods": str(used)}}}  # fmt: skip
    space.apply(quota)
    space.kubectl("wait", "quota/tight", f"--for=jsonpath={{.status.used.pods}}={used}", "--timeout=20s")
    before = space.snapshot()

    done, _ = exchange(ana, server, "shop --expose PORT")

    space.wait_same(before, seconds=0)
    space.kubectl("delete", "quota", "tight")
    assert done.code == FORBIDDEN, done.said
    assert "exceeded quota: tight" in done.err, done.said


def test_a_session_whose_heartbeat_stopped_may_be_taken_over_by_another_user(
    space: Space, bob: Person, server: Server, killed: float
) -> None:
    time.sleep(max(0.0, killed + DEAD_SECONDS + 1 - time.monotonic()))  # the truth takes its time

    refused, _ = exchange(bob, server, "orphan --expose PORT")
    with bob.start("exchange", "orphan", "--expose", str(server.port), "--take-over") as session:
        session.wait_ready()
        space.client().wait_for("http://orphan/", "laptop")
        session.interrupt()
        assert session.wait() == 0, session.said()

    assert refused.code == HELD, refused.said
    assert "whose heartbeat stopped" in refused.err
    assert "--take-over" in refused.err
    assert space.service("orphan")["spec"]["selector"] == {"app": "shop"}
    assert _leases(space) == []


def _is_going(pod: dict[str, Any]) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _leases(space: Space) -> list[str]:
    return [lease["metadata"]["name"] for lease in space.read("get", "leases")["items"]]
