"""kill -9 after every single API call, and before every writing one: another user's clean or recover gives all back.

Several sessions run at once, each with a Service and a proxy of its own; they die at different calls.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.harness import manifests
from tests.e2e.harness.apiproxy import Call, nth
from tests.e2e.harness.calm import calm
from tests.e2e.harness.laptop import Server, serving
from tests.e2e.harness.manifests import Manifest
from tests.e2e.harness.node import Node
from tests.e2e.harness.process import Ktpy
from tests.e2e.harness.proxied import Proxied, proxied
from tests.e2e.harness.space import Space, opened

PARTS = 4
AT_ONCE = 18
SERVICES = [f"s{number}" for number in range(AT_ONCE)]
ROOMY: Manifest = {
    "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"},
    "spec": {"hard": {"requests.cpu": "2", "requests.memory": "2Gi", "limits.cpu": "40", "limits.memory": "10Gi",
                      "pods": "40"}},
}  # fmt: skip


class Death(NamedTuple):
    """Killed before or after the API call with that NUMBER."""

    when: str
    number: int


@pytest.fixture(scope="module")
def crowd(node: Node, venv: Path) -> Iterator[Space]:
    """A namespace with a Service for each session."""
    services = [manifests.service(name, [(80, "http")], app="shop") for name in SERVICES]
    with opened(node, venv, ROOMY, *manifests.SHOP, *services) as found:
        yield found


@pytest.fixture(scope="module")
def laptop(crowd: Space) -> Iterator[Server]:
    with serving(crowd.person("ana")) as found:
        yield found


@pytest.fixture(scope="module")
def calls(crowd: Space, laptop: Server) -> Sequence[Call]:
    """Every API call of one undisturbed run."""
    before = calm(crowd)
    with proxied(crowd.person("ana")) as (ana,), started(ana, "s0", laptop) as session:
        session.wait_ready()
        session.interrupt()
        assert session.wait() == 0, session.said()
        found = list(ana.proxy.calls)
    crowd.wait_same(before)
    print("the calls of a run:", *found, sep="\n")
    return found


@contextlib.contextmanager
def started(who: Proxied, service: str, laptop: Server) -> Iterator[Ktpy]:
    with who.person.start("exchange", service, "--expose", str(laptop.port), "--timeout", "120") as session:
        who.proxy.victim(session.pid)
        yield session


def deaths(calls: Sequence[Call], part: int) -> list[Death]:
    """Part PART of all the ways to die."""
    every = [Death("after", call.number) for call in calls]
    every += [Death("before", call.number) for call in calls if call.is_write]
    return every[part::PARTS]


def die(who: Proxied, service: str, laptop: Server, death: Death) -> str:
    """A session from its start through its give-back, killed on the way."""
    kill = who.proxy.kill_after if death.when == "after" else who.proxy.kill_before
    kill(nth(death.number))
    with started(who, service, laptop) as session:
        with contextlib.suppress(AssertionError):  # most die before
            session.wait_ready(60)
            session.interrupt()
        code = session.wait(60)
        if code == 0 and len(who.proxy.calls) < death.number:
            return "nothing: this run had fewer calls"
        assert code == -signal.SIGKILL, f"{service}, {death}: not killed\n{session.said()}"
        return str(who.proxy.killed.result(10))  # told after the deed


def versions(space: Space) -> dict[str, str]:
    found = space.read("get", "services,leases,secrets,configmaps,endpointslices,deployments")
    return {f"{o['kind']}/{o['metadata']['name']}": o["metadata"]["resourceVersion"] for o in found["items"]}


@pytest.mark.parametrize("part", range(PARTS))
def test_a_session_killed_at_any_api_call_is_given_back_by_another_user(
    crowd: Space, laptop: Server, calls: Sequence[Call], part: int
) -> None:
    before = calm(crowd)
    mine = deaths(calls, part)
    assert len(mine) <= AT_ONCE
    bob = crowd.person("bob")
    with proxied(crowd.person("ana"), len(mine)) as anas, ThreadPoolExecutor(len(mine)) as threads:
        ends = [
            threads.submit(die, who, service, laptop, death)
            for who, service, death in zip(anas, SERVICES, mine, strict=False)
        ]
        killed = [f"{death.when} {end.result()}" for death, end in zip(mine, ends, strict=True)]
    print("killed:", *killed, sep="\n")

    words = ("clean", "--older-than", "0") if part % 2 == 0 else ("recover", "--force")
    done = bob.run(*words)
    assert done.code == 0, done.said
    print(f"as before after {crowd.wait_same(before, seconds=15):.1f} s: {done.err}")

    once = versions(crowd)
    again = bob.run(*words)
    assert again.code == 0, again.said
    assert versions(crowd) == once
