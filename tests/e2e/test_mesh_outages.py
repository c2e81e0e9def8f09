"""A laptop that is gone, in each way: others notice nothing, its marked requests get the original's answer, or none.

Three sessions at once: ana's as it is by default, bob's strict, and eve's that holds. How long things took is printed.
"""

from __future__ import annotations

import contextlib
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

import pytest

from ktpy.model.names import ROLE
from tests.e2e.harness.calm import calm
from tests.e2e.harness.client import InCluster, Running
from tests.e2e.harness.laptop import Server, serving
from tests.e2e.harness.links import lossy_link, silent_link
from tests.e2e.harness.meshes import ended, meshing
from tests.e2e.harness.people import Person
from tests.e2e.harness.process import Ktpy
from tests.e2e.harness.space import Space
from tests.e2e.harness.until import until

URL = "http://shop/"
KNOWN_SECONDS = 2.0  # after which no request pays any more for finding out
LONG_SECONDS = 20.0  # promised are 1.5 to find out, and 2 to come back: what is printed tells; this node may be busy
SOME = 40

# One request, and all of its answer.
WHY = """
import socket
s = socket.create_connection(("shop", 80), 10)
s.sendall(b"GET / HTTP/1.1\\r\\nHost: shop\\r\\nversion: bob\\r\\nConnection: close\\r\\n\\r\\n")
while data := s.recv(65536):
    print(data.decode(), end="")
"""


class Outcome(NamedTuple):
    """One request: when it began, who answered (or !why not), and the seconds it took."""

    began: float
    who: str
    took: float


def outcomes(load: Running, since: float) -> list[Outcome]:
    """Of the requests that began after SINCE, in that order."""
    lines = [line.split() for line in list(load.lines) if not line.startswith("{")]
    found = (Outcome(float(began), who.partition("@")[0], float(took)) for began, who, took in lines)
    return sorted(one for one in found if one.began >= since)


def back(load: Running, who: str, since: float) -> float | None:
    """Seconds after SINCE from which on WHO answers every request; None while these are few."""
    found = outcomes(load, since)
    others = [one.began for one in found if one.who != who]
    good = [one.began for one in found if not others or one.began > others[-1]]
    return good[0] - since if len(good) >= SOME else None


@dataclass
class Stage:
    """The SESSIONS of ana and bob, with a program each, and three loads: everybody's, ana's and bob's."""

    space: Space
    sessions: tuple[Ktpy, Ktpy]
    servers: tuple[Server, Server]
    unmarked: Running
    marked: tuple[Running, Running]
    strict: Running

    def look(self, what: str, since: float) -> None:
        """Wait until ana's requests are answered by the original for good, and judge all that were asked meanwhile."""
        known = since + KNOWN_SECONDS

        def are_known() -> bool:
            return all(len(outcomes(load, known)) >= SOME for load in (*self.marked, self.strict))

        until(are_known, f"{what}: requests after {KNOWN_SECONDS} s", seconds=30)
        for load in self.marked:
            assert {one.who for one in outcomes(load, known)} == {"shop"}, what
            assert {one.who for one in outcomes(load, since)} <= {"shop", "laptop"}, what
        assert {one.who for one in outcomes(self.strict, known)} <= {"!502", "!503"}, what
        found = [one for load in self.marked for one in outcomes(load, since)]
        slowest = max(one.took for one in found)
        later = [one.took for one in found if one.began >= known]
        print(
            f"{what}: slowest marked {slowest:.3f} s; once known p50 {1000 * statistics.median(later):.1f} ms, "
            f"p99 {1000 * statistics.quantiles(later, n=100)[98]:.1f} ms, slowest {1000 * max(later):.1f} ms"
        )
        assert slowest < LONG_SECONDS, what

    def must_come_back(self, what: str) -> None:
        """Counted from now."""
        since = time.time()
        loads = (*self.marked, self.strict)
        until(lambda: all(back(load, "laptop", since) is not None for load in loads), f"{what}: back", seconds=45)
        seconds = [back(load, "laptop", since) or 0.0 for load in loads]
        print(f"{what}: back on the laptop after {', '.join(f'{s:.2f}' for s in seconds)} s")
        assert max(seconds) < LONG_SECONDS, what

    def others_noticed_nothing(self) -> None:
        result = self.unmarked.stop()
        assert (result.failed, set(result.answers)) == ({}, {"shop"}), result.raw
        print(f"unmarked: {result.total} answered by the original, slowest {result.raw['slowest']:.3f} s")


@pytest.fixture
def stage(space: Space, ana: Person, bob: Person, client: InCluster) -> Iterator[Stage]:
    before = calm(space)
    with ExitStack() as stack:
        enter = stack.enter_context
        servers = enter(serving(ana)), enter(serving(bob))
        sessions = enter(meshing(ana, servers[0])), enter(meshing(bob, servers[1], "--strict"))
        words = ("--until-told", "--each", "--timeout", "10")
        mine = ("--header", "version: ana", *words)
        made = Stage(
            space,
            sessions,
            servers,
            enter(client.loading(URL, "--rate", "50", *words)),
            (enter(client.loading(URL, "--rate", "20", *mine)), enter(client.loading(URL, "--keep", "3", *mine))),
            enter(client.loading(URL, "--rate", "20", "--header", "version: bob", *words)),
        )
        for load in (*made.marked, made.strict):
            load.wait_line("laptop@", count=10)
        made.unmarked.wait_line("shop@", count=10)
        yield made
        made.others_noticed_nothing()
        ended(*(session for session in sessions if session.process.poll() is None))
    assert bob.run("clean", "--older-than", "0").code == 0
    space.wait_same(before)


def test_a_program_that_is_down_and_comes_back(stage: Stage, ana: Person, bob: Person, client: InCluster) -> None:
    since = time.time()
    for server in stage.servers:
        server.process.kill()
        server.process.wait()
    stage.look("program down", since)
    head, _, body = client.run("python3", "-c", WHY).partition("\n\n")  # read as text, lines end with \n
    assert head.split()[1] in ("502", "503")
    assert "of row 'bob'" in body
    with serving(ana, at=stage.servers[0].port), serving(bob, at=stage.servers[1].port):
        stage.must_come_back("program down")


def test_a_laptop_that_sleeps_and_wakes_up(stage: Stage) -> None:
    since = time.time()
    for session in stage.sessions:
        session.signal(signal.SIGSTOP)
    stage.look("asleep", since)
    for session in stage.sessions:
        session.signal(signal.SIGCONT)
    stage.must_come_back("asleep")


@pytest.mark.parametrize("cut", [silent_link, lossy_link])
def test_a_link_that_is_dropped(stage: Stage, cut: Callable[[Space], contextlib.AbstractContextManager[None]]) -> None:
    if not stage.space.node.own:
        pytest.skip("the link of somebody's cluster is not ours to cut")
    since = time.time()
    with cut(stage.space):
        stage.look(cut.__name__, since)
    stage.must_come_back(cut.__name__)


@pytest.mark.parametrize("words", [("--wait=false",), ("--grace-period=0", "--force")], ids=["asked", "forced"])
def test_a_shadow_that_is_deleted(stage: Stage, words: tuple[str, ...]) -> None:
    """Another one takes its place."""
    stage.space.kubectl("delete", "pods", "-l", f"{ROLE}=shadow", *words)
    stage.must_come_back(f"shadow deleted {' '.join(words)}")
    for load in stage.marked:
        assert {one.who for one in outcomes(load, 0)} <= {"shop", "laptop"}


def test_a_ktpy_that_is_killed(stage: Stage) -> None:
    since = time.time()
    for session in stage.sessions:
        session.kill()
    stage.look("ktpy killed", since)


def test_a_program_that_is_started_anew_is_waited_for(space: Space, client: InCluster) -> None:
    eve = space.person("eve")
    before = calm(space)
    with serving(eve) as server, meshing(eve, server, "--hold", "3s") as session:
        words = ("--rate", "50", "--until-told", "--each", "--timeout", "10", "--header", "version: eve")
        with client.loading(URL, *words) as load, client.loading(URL, "--rate", "50", "--until-told") as unmarked:
            load.wait_line("laptop@", count=20)
            server.process.kill()
            server.process.wait()
            asked = time.time()
            until(lambda: time.time() - asked > 1.0, "a second in which it is started", every=0.1)
            with serving(eve, at=server.port):
                load.wait_line("laptop@", after=len(load.lines), count=100)
                held, others = load.stop(), unmarked.stop()
        assert (held.answers.keys(), held.failed) == ({"laptop"}, {}), held.raw
        assert (others.answers.keys(), others.failed) == ({"shop"}, {}), others.raw
        print(f"hold: {held.total} requests, the one that waited longest {held.raw['slowest']:.2f} s")
        ended(session)
    space.wait_same(before)
