"""kill -9 after every single API call, and before every writing one: another user's clean or recover gives all back.

    KTPY_TEST_WALK=all python -m pytest tests/e2e/test_crash.py      every death of every way
    KTPY_TEST_WALK=mesh,scale …                                       of these two

By itself `direct` is walked whole, and of each other way a sample dies; KTPY_TEST_SEED repeats it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ktpy.model import names, routes
from tests.e2e.harness import manifests
from tests.e2e.harness.calm import calm
from tests.e2e.harness.laptop import Server, serving
from tests.e2e.harness.node import Node
from tests.e2e.harness.process import Ktpy
from tests.e2e.harness.seeds import SEED
from tests.e2e.harness.snapshot import Snapshot
from tests.e2e.harness.space import Space, opened
from tests.e2e.harness.until import until
from tests.e2e.harness.walk import ROOMY, Asking, Way, all_die, batches, calls_of

AT_ONCE = 18
ROUTERS_AT_ONCE = 6  # each has two pods
SHARED = tuple(f"http://s{number}/" for number in range(ROUTERS_AT_ONCE))
HELD = "held"  # the Service of somebody else's mesh, which others join
WAYS = (
    Way("direct", AT_ONCE, "exchange s{n} --mode direct"),
    Way("router", ROUTERS_AT_ONCE, "exchange s{n} --mode router", ("shop", "laptop"), SHARED),
    Way("mesh", ROUTERS_AT_ONCE, "mesh s{n} --version-mark ana", ("shop",), SHARED),
    Way("preview", 14, "preview dying-{n}", ("shop",), ("http://shop/",)),
    Way("scale", 8, "exchange d{n} --mode scale"),
)
# Every wait in a walk has an end of its own; whole ones of other ways take many minutes.
pytestmark = pytest.mark.timeout(3600 if any(way.is_whole for way in WAYS[1:]) else 600)
JOINING = Way("joining", 8, f"mesh {HELD} --version-mark ana-{{n}}", ("shop",), (f"http://{HELD}/",))
CLEAN, RECOVER = ("clean", "--older-than", "0"), ("recover", "--force")
SILENT_SECONDS = 20  # of the dead, when the living have beaten at least once
# What others than its owner write, or what is another after its pods were: see `written`.
MOVING = ("Pod/", "ReplicaSet/", "EndpointSlice/", "Endpoints/")


@pytest.fixture(scope="module")
def crowd(node: Node, venv: Path) -> Iterator[Space]:
    """A namespace with a Service for each session."""
    services = [manifests.service(f"s{number}", [(80, "http")], app="shop") for number in range(AT_ONCE)]
    with opened(node, venv, ROOMY, *manifests.SHOP, *services) as found:
        found.person("eve")
        yield found


@pytest.fixture(scope="module")
def laptop(crowd: Space) -> Iterator[Server]:
    with serving(crowd.person("ana")) as found:
        yield found


@dataclass
class Told:
    """What a walk has come to, for its last line."""

    way: Way
    deaths: int = 0
    unmarked: int = 0

    def __str__(self) -> str:
        how = "all" if self.way.is_whole else f"a sample, KTPY_TEST_SEED={SEED}"
        return (
            f"{self.way.name}: {self.deaths} deaths ({how}), nothing left, {self.unmarked} unmarked requests answered"
        )


def all_of(found: Snapshot) -> Snapshot:
    return found


def written(found: Snapshot) -> Snapshot:
    """What people write, where the pods are others afterwards."""
    return {name: thing for name, thing in found.items() if not name.startswith(MOVING)}


def versions(space: Space) -> dict[str, str]:
    found = space.read("get", "services,leases,secrets,configmaps,deployments")
    return {f"{o['kind']}/{o['metadata']['name']}": o["metadata"]["resourceVersion"] for o in found["items"]}


@contextlib.contextmanager
def workloads(crowd: Space, way: Way) -> Iterator[None]:
    """For each session that scales, one of its own."""
    if way.name != "scale":
        yield
        return
    called = [f"d{number}" for number in range(way.at_once)]
    crowd.deploy(*(manifests.deployment(name, [("http", 8080)], replicas=1) for name in called))
    crowd.apply(*(manifests.service(name, [(80, "http")]) for name in called))
    try:
        yield
    finally:
        crowd.kubectl("delete", "--wait=false", *(f"{kind}/{name}" for name in called for kind in ("svc", "deploy")))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_session_killed_at_any_api_call_is_given_back_by_another_user(
    crowd: Space, laptop: Server, capsys: pytest.CaptureFixture[str], way: Way
) -> None:
    ana, told = crowd.person("ana"), Told(way)
    of = written if way.name == "scale" else all_of
    with workloads(crowd, way):
        before = calm(crowd)
        calls = calls_of(ana, way, laptop.port)
        crowd.wait_same(before, seconds=30, of=of)
        print("the calls of a run:", *calls, sep="\n")
        for number, together in enumerate(batches(way, calls)):
            asking = Asking(crowd.client(), way.urls, way.sides)
            with asking.going_on():
                killed = all_die(ana, way, laptop.port, together)
                print("killed:", *killed, sep="\n")
                given_back(crowd, before, CLEAN if number % 2 == 0 else RECOVER, of=of)
            told.deaths += len(killed)
            told.unmarked += asking.total
            are_back(crowd, way)
    with capsys.disabled():
        print(f"\n{told}")


def given_back(crowd: Space, before: Snapshot, words: Sequence[str], *, of: Callable[[Snapshot], Snapshot]) -> None:
    """By another user, once and for all: a second time writes nothing."""
    bob = crowd.person("bob")
    done = bob.run(*words, seconds=120)
    assert done.code == 0, done.said
    print(f"as before after {crowd.wait_same(before, seconds=30, of=of):.1f} s: {done.err}")

    once = versions(crowd)
    again = bob.run(*words)
    assert again.code == 0, again.said
    assert versions(crowd) == once


def are_back(crowd: Space, way: Way) -> None:
    """The workloads that were at 0 can be scaled again: they have pods."""
    if way.name == "scale":
        for number in range(way.at_once):
            crowd.kubectl("rollout", "status", f"deployment/d{number}", "--timeout=120s")


# beside one who lives


def rows(crowd: Space) -> list[str]:
    """Whose there are."""
    return list(routes.read(crowd.read("get", "configmap", names.router_name(HELD))).sessions)


def lasting(found: Snapshot) -> Snapshot:
    """What the heartbeats and routes of the living do not move."""
    moving = ("Lease/", f"ConfigMap/{names.router_name(HELD)}")
    return {name: {"metadata": {}} if name.startswith(moving) else thing for name, thing in found.items()}


def dead_are_cleaned(crowd: Space, living: str) -> bool:
    """Whether a clean has left nobody's row but that of LIVING; some may still be too young."""
    done = crowd.person("bob").run("clean", "--older-than", str(SILENT_SECONDS), seconds=120)
    assert done.code == 0, done.said
    leases = crowd.read("get", "leases", "-l", f"{names.ROLE}={names.ROLE_SESSION}")["items"]
    return [lease["metadata"]["labels"][names.SESSION] for lease in leases] == [living] == rows(crowd)


@pytest.fixture
def eves(crowd: Space, laptop: Server) -> Iterator[Ktpy]:
    """Eve's mesh, which has been found by its mark."""
    before = calm(crowd)
    service = manifests.service(HELD, [(80, "http")], app="shop")
    crowd.apply(service)
    words = ("mesh", HELD, "--version-mark", "eve", "--expose", str(laptop.port))
    with crowd.person("eve").start(*words) as session:
        session.wait_ready(60)
        assert set(crowd.client().load(f"http://{HELD}/", "--count", "5", "--header", "version: eve").answers) == {
            "laptop"
        }
        session.wait_event("first-request")
        yield session
        session.interrupt()
        assert session.wait(30) == 0, session.said()
    crowd.kubectl("delete", "service", HELD)
    crowd.wait_same(before, seconds=30)


def test_who_lives_never_notices_that_others_who_join_are_killed(
    crowd: Space, laptop: Server, eves: Ktpy, capsys: pytest.CaptureFixture[str]
) -> None:
    ana, told, living = crowd.person("ana"), Told(JOINING), eves.wait_ready()["session"]
    before, said = crowd.snapshot(), eves.said()
    calls = calls_of(ana, JOINING, laptop.port)
    crowd.wait_same(before, seconds=30, of=lasting)
    for together in batches(JOINING, calls):
        unmarked = Asking(crowd.client(), JOINING.urls, JOINING.sides)
        hers = Asking(crowd.client(), JOINING.urls, ("laptop",), "--header", "version: eve")
        with unmarked.going_on(), hers.going_on():
            killed = all_die(ana, JOINING, laptop.port, together)
            print("killed:", *killed, sep="\n")
            until(lambda: dead_are_cleaned(crowd, living), "only the living have rows", seconds=120, every=2)
            crowd.wait_same(before, seconds=30, of=lasting)
        told.deaths += len(killed)
        told.unmarked += unmarked.total
    assert eves.said() == said
    with capsys.disabled():
        print(f"\n{told}")
