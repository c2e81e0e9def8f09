"""A Service with three exposed ports: whatever breaks between pod and laptop, all three answer again by themselves."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ktpy.model.names import ROLE
from tests.e2e.harness import manifests
from tests.e2e.harness.client import Running
from tests.e2e.harness.laptop import Server, serving
from tests.e2e.harness.links import lossy_link, silent_link
from tests.e2e.harness.node import Node
from tests.e2e.harness.people import Person
from tests.e2e.harness.process import Ktpy
from tests.e2e.harness.proxied import proxied
from tests.e2e.harness.space import Space, opened
from tests.e2e.harness.until import until

PORTS = (80, 90, 9100)
BACK_SECONDS = 5.0
GONE_SECONDS = 7.0
STEADY = 20  # requests in a row, two seconds of them
SLEEP_SECONDS = 120.0


@pytest.fixture(scope="module")
def place(node: Node, venv: Path) -> Iterator[Space]:
    listed = [(80, "http"), (90, 9090), (9100, "admin")]
    with opened(node, venv, *manifests.THREE, manifests.service("slept", listed, app="three")) as found:
        yield found


@pytest.fixture(scope="module")
def laptop(place: Space) -> Iterator[Server]:
    with serving(place.person("ana"), ports=len(PORTS)) as found:
        yield found


@contextlib.contextmanager
def exchanging(person: Person, laptop: Server, service: str = "three") -> Iterator[Ktpy]:
    exposed = ",".join(f"{ours}:{theirs}" for ours, theirs in zip(laptop.ports, PORTS, strict=True))
    with person.start("exchange", service, "--expose", exposed) as session:
        session.wait_ready()
        yield session


@pytest.fixture(scope="module", autouse=True)
def sleeper(place: Space, laptop: Server) -> Iterator[tuple[Ktpy, float]]:
    """A session that is stopped, as a laptop that sleeps, while the other tests run; and since when."""
    with exchanging(place.person("ana"), laptop, "slept") as session:
        asked(place, "slept")
        session.signal(signal.SIGSTOP)
        yield session, time.monotonic()


def asked(place: Space, service: str) -> None:
    """Each port is answered by the laptop, on twenty new connections."""
    for port in PORTS:
        result = place.client().load(f"http://{service}:{port}/", "--count", "20")
        assert (result.answers, result.failed) == ({"laptop": 20}, {}), f"port {port}"


@contextlib.contextmanager
def asking(place: Space, service: str) -> Iterator[list[Running]]:
    """Ten requests a second on each port, each noted with the second it began."""
    with contextlib.ExitStack() as stack:
        words = ("--rate", "10", "--timeout", "1", "--until-told", "--each")
        yield [stack.enter_context(place.client().loading(f"http://{service}:{port}/", *words)) for port in PORTS]


def outcomes(load: Running, since: float) -> list[tuple[float, bool]]:
    """When each request since SINCE began, in seconds after it, and whether the laptop answered, in that order."""
    found = []
    for line in list(load.lines):
        began, _, who = line.partition(" ")
        if began.replace(".", "").isdigit() and float(began) >= since:
            found.append((float(began) - since, who.startswith("laptop@")))
    return sorted(found)


def back(load: Running, since: float) -> float | None:
    """Seconds after SINCE from which on every request is answered; None while fewer than two seconds of them are."""
    found = outcomes(load, since)
    lost = [began for began, is_good in found if not is_good]
    good = [began for began, _ in found if not lost or began > lost[-1]]
    return good[0] if len(good) >= STEADY else None


def must_come_back(loads: list[Running], what: str) -> None:
    """All ports, for good, within the time that was promised, counted from now."""
    since = time.time()
    until(lambda: all(back(load, since) is not None for load in loads), f"{what}: all ports answer", seconds=45)
    seconds = [back(load, since) or 0.0 for load in loads]
    before = [sum(not good for _, good in outcomes(load, since - GONE_SECONDS - 1)) for load in loads]
    print(f"{what}: back for good after {', '.join(f'{s:.2f}' for s in seconds)} s; requests lost: {before}")
    assert max(seconds) < BACK_SECONDS, what


def shadow(place: Space) -> str:
    """The one living shadow of the Service under test."""
    found = place.read("get", "pods", "-l", f"{ROLE}=shadow")["items"]
    living = [p["metadata"] for p in found if "deletionTimestamp" not in p["metadata"]]
    (name,) = [meta["name"] for meta in living if meta["name"].startswith("three")]
    return str(name)


@contextlib.contextmanager
def silent_kubelet(place: Space) -> Iterator[None]:
    """The kubelet, through which every port-forward goes, does not run."""
    find = "for p in /proc/[0-9]*; do [ $(cat $p/comm) = kubelet ] && echo ${p#/proc/}; done; true"
    (pid,) = place.node.enter("sh", "-c", find).split()
    place.node.enter("kill", "-STOP", pid)
    try:
        yield
    finally:
        place.node.enter("kill", "-CONT", pid)


@pytest.mark.parametrize("silence", [silent_link, lossy_link, silent_kubelet])
def test_all_ports_answer_again_after_seven_seconds_of_silence(
    place: Space, laptop: Server, silence: Callable[[Space], contextlib.AbstractContextManager[None]]
) -> None:
    if not place.node.own:
        pytest.skip("the link and the kubelet of somebody's cluster are not ours to stop")
    with exchanging(place.person("ana"), laptop) as session, asking(place, "three") as loads:
        until(lambda: all(outcomes(load, 0) for load in loads), "all ports are asked")
        with silence(place):
            time.sleep(GONE_SECONDS)
        must_come_back(loads, silence.__name__)
        asked(place, "three")
        print(session.said())
        session.interrupt()
        assert session.wait() == 0, session.said()


def delete(place: Space, name: str) -> None:
    place.kubectl("delete", "pod", name, "--wait=false")


def delete_at_once(place: Space, name: str) -> None:
    place.kubectl("delete", "pod", name, "--grace-period=0", "--force")


def evict(place: Space, name: str) -> None:
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": place.name}}
    where = f"/api/v1/namespaces/{place.name}/pods/{name}/eviction"
    place.node.kubectl("create", "--raw", where, "-f", "-", text=json.dumps(eviction))


@pytest.mark.parametrize("remove", [delete, delete_at_once, evict])
def test_all_ports_answer_again_when_the_shadow_is_gone(
    place: Space, laptop: Server, remove: Callable[[Space, str], None]
) -> None:
    with exchanging(place.person("ana"), laptop) as session, asking(place, "three") as loads:
        until(lambda: all(outcomes(load, 0) for load in loads), "all ports are asked")
        old = shadow(place)
        remove(place, old)
        # The one that goes may answer for another moment: what counts is that the port stays answered.
        until(lambda: shadow(place) != old, "another shadow takes its place")
        must_come_back(loads, remove.__name__)
        asked(place, "three")
        print(session.said())
        session.interrupt()
        assert session.wait() == 0, session.said()


def test_all_ports_answer_again_when_the_port_forward_is_cut(place: Space, laptop: Server) -> None:
    with proxied(place.person("ana")) as (ana,), exchanging(ana.person, laptop), asking(place, "three") as loads:
        until(lambda: all(outcomes(load, 0) for load in loads), "all ports are asked")
        assert ana.proxy.cut_streams() == 1
        must_come_back(loads, "port-forward cut")
        asked(place, "three")


def test_a_session_that_slept_for_two_minutes_answers_again(place: Space, sleeper: tuple[Ktpy, float]) -> None:
    session, since = sleeper
    time.sleep(max(0.0, since + SLEEP_SECONDS - time.monotonic()))
    with asking(place, "slept") as loads:
        until(lambda: all(outcomes(load, 0) for load in loads), "all ports are asked")
        session.signal(signal.SIGCONT)
        must_come_back(loads, "slept for 2 minutes")
        asked(place, "slept")
    print(session.said())
    session.interrupt()
    assert session.wait() == 0, session.said()
