"""`ktpy exchange` on the real node: what reaches the laptop, and that nothing is lost on the way there and back."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.harness import manifests
from tests.e2e.harness.client import InCluster
from tests.e2e.harness.laptop import Server, serving
from tests.e2e.harness.people import Person
from tests.e2e.harness.space import Space

URL = "http://shop/"
KEPT = 5  # connections that are opened before
ROUNDS = 6
EACH_ROUND = 100  # answers of either side before the next switch


def test_a_thousand_of_a_thousand_requests_reach_the_laptop_and_kept_connections_stay(
    space: Space, ana: Person, client: InCluster, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    before = space.snapshot()
    with client.loading(URL, "--keep", str(KEPT), "--until-told", "--each") as kept:
        kept.wait_line("shop@", count=KEPT)
        with ana.start("exchange", "shop", "--expose", str(server.port)) as session:
            ready = session.wait_ready()
            client.wait_for(URL, "laptop")
            asked = [len(kept.lines)]
            result = client.load(URL, "--count", "1000")
            kept.wait_line("shop@", after=asked[0], count=KEPT)
            asked.append(len(kept.lines))
            session.interrupt()
            assert session.wait() == 0, session.said()
        stayed = kept.stop()

    assert (result.answers, result.failed) == ({"laptop": 1000}, {})
    # No unprivileged user can see, let alone move, who holds an older connection: ktpy says so, and here it is counted.
    assert "older connections stay with the old pods until their clients reconnect" in ready["affected"]
    assert (stayed.answers.keys(), stayed.failed) == ({"shop"}, {})
    pods = [line.split()[1] for line in kept.lines[: stayed.total]]
    counted = {
        "before": Counter(pods[: asked[0]]),
        "during": Counter(pods[asked[0] : asked[1]]),
        "after": Counter(pods[asked[1] :]),
    }
    assert counted["before"].keys() == counted["during"].keys()  # each connection with the pod that it had
    assert sum(counted["during"].values()) >= KEPT
    with capsys.disabled():
        print(f"\n{KEPT} clients that keep an older connection lost nothing; requests by pod:")
        for when, count in counted.items():
            print(f"  {when:7} {dict(count)}")
    assert client.ask(URL) == "shop"
    space.wait_same(before)


@pytest.fixture
def busy(space: Space) -> Iterator[None]:
    """Other Services change their selectors and ports all the time."""
    others = [manifests.service(f"other-{number}", [(80, 8080)], app="shop") for number in range(4)]
    space.apply(*others)
    with changing(space, [other["metadata"]["name"] for other in others]):
        yield
    space.kubectl("delete", "service", *(other["metadata"]["name"] for other in others))


@contextmanager
def changing(space: Space, names: list[str]) -> Iterator[None]:
    done = threading.Event()

    def change() -> None:
        turn = 0
        while not done.wait(0.2):
            turn += 1
            app = "shop" if turn // len(names) % 2 else "nobody"
            listed = [{"name": "p80", "port": 80, "targetPort": 8000 + turn}]
            where = f"/api/v1/namespaces/{space.name}/services/{names[turn % len(names)]}"
            space.node.direct.merge(where, {"spec": {"selector": {"app": app}, "ports": listed}})

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.usefixtures("busy")
def test_no_new_connection_fails_at_any_switch_while_other_services_change(
    ana: Person, client: InCluster, server: Server
) -> None:
    with client.loading(URL, "--rate", "200", "--until-told", "--each") as load:
        load.wait_line("shop@")
        for _ in range(ROUNDS):
            seen = len(load.lines)
            with ana.start("exchange", "shop", "--expose", str(server.port)) as session:
                session.wait_ready()
                load.wait_line("laptop@", after=seen, count=EACH_ROUND)
                session.interrupt()
                assert session.wait() == 0, session.said()
            load.wait_line("shop@", after=len(load.lines), count=EACH_ROUND)
        result = load.stop()

    assert result.failed == {}, (result.raw["first_failure"], result.answers)
    assert min(result.answers["laptop"], result.answers["shop"]) >= ROUNDS * EACH_ROUND


def test_three_ports_named_and_numeric_are_answered_by_three_laptop_ports(
    space: Space, ana: Person, client: InCluster
) -> None:
    space.deploy(*manifests.THREE)
    before = space.snapshot()
    with serving(ana, ports=3) as server:
        exposed = ",".join(f"{laptop}:{port}" for laptop, port in zip(server.ports, (80, 90, 9100), strict=True))
        with ana.start("exchange", "three", "--expose", exposed) as session:
            ready = session.wait_ready()
            for port in (80, 90, 9100):
                client.wait_for(f"http://three:{port}/", "laptop")
            results = [client.load(f"http://three:{port}/", "--count", "50") for port in (80, 90, 9100)]
            session.interrupt()
            assert session.wait() == 0, session.said()

    assert [(result.answers, result.failed) for result in results] == [({"laptop": 50}, {})] * 3
    assert len(ready["taken"]) == 4, ready  # three ports, and the pods that get nothing new
    space.wait_same(before)


@pytest.mark.parametrize(("target", "service"), [("deploy/three", "three"), ("svc/numeric", "numeric")])
def test_a_target_may_be_written_as_kind_and_name(
    space: Space, ana: Person, client: InCluster, target: str, service: str
) -> None:
    space.deploy(*manifests.THREE, *manifests.NUMERIC)
    with serving(ana, ports=3) as server:
        exposed = [f"{server.port}:{port['port']}" for port in space.service(service)["spec"]["ports"]]
        with ana.start("exchange", target, *(word for one in exposed for word in ("-p", one))) as session:
            session.wait_ready()
            client.wait_for(f"http://{service}/", "laptop")
            session.interrupt()
            assert session.wait() == 0, session.said()
