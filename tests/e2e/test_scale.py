"""`exchange --mode scale`: the workload goes to 0 and comes back, whoever gives it back; what its owner does stays."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ktpy.model.names import MANAGER, NOTE, ROLE, SESSION
from tests.e2e.harness import manifests
from tests.e2e.harness.laptop import Server, serving
from tests.e2e.harness.manifests import Manifest
from tests.e2e.harness.node import Node
from tests.e2e.harness.people import Person
from tests.e2e.harness.process import Ktpy
from tests.e2e.harness.space import PATIENCE_SECONDS, Space, opened, published_role
from tests.e2e.harness.until import until

REPLICAS = 3
RATE = 100
SOME = 200  # answers of either side before the next step
BACK_SECONDS = 60.0  # pods start late where tests keep the node busy
KINDS = {"shop": "deployment/shop", "db": "statefulset/db"}


def stateful(name: str) -> tuple[Manifest, Manifest]:
    """A StatefulSet with its ports and a Service in front of it."""
    thing = manifests.deployment(name, [("http", 8080)], replicas=REPLICAS)
    thing |= {"kind": "StatefulSet", "spec": {**thing["spec"], "serviceName": name}}
    return thing, manifests.service(name, [(80, "http")])


@pytest.fixture(scope="module")
def place(node: Node, venv: Path) -> Iterator[Space]:
    """A namespace of this module's own: its pods are others after each test."""
    with opened(node, venv, *manifests.SHOP, *stateful("db")) as found:
        found.kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
        yield found


@pytest.fixture(scope="module")
def laptop(place: Space) -> Iterator[Server]:
    with serving(place.person("ana")) as found:
        yield found


@pytest.fixture(autouse=True)
def all_there(place: Space) -> None:
    """Before each test both workloads stand as their owner wrote them, and no session of a failed one is left."""
    if place.kubectl("get", "leases", "-l", f"{ROLE}=session", "-o", "name"):
        place.person("bob").run("recover", "--force")
    if not place.kubectl("get", "deployment/shop", "--ignore-not-found"):
        place.deploy(manifests.SHOP[0])
    for ref in KINDS.values():
        if state(place, ref)["spec"]["replicas"] != REPLICAS:
            place.kubectl("scale", ref, f"--replicas={REPLICAS}")
        place.kubectl("rollout", "status", ref, "--timeout=60s")


def scaling(who: Person, laptop: Server, name: str = "shop", *more: str) -> Ktpy:
    return who.start("exchange", name, "--mode", "scale", "--expose", str(laptop.port), *more)


def state(place: Space, ref: str) -> Any:
    return place.read("get", ref)


def essence(place: Space, ref: str) -> Any:
    """What its owner wrote into it, and whether there is anything of ours."""
    thing = place.read("get", ref, "--show-managed-fields")
    meta = thing["metadata"]
    notes = {key: value for key, value in meta.get("annotations", {}).items() if "kubernetes.io" not in key}
    ours = [entry for entry in meta["managedFields"] if entry["manager"] == MANAGER]
    return meta["uid"], meta.get("labels"), notes, thing["spec"], ours


def are_back(place: Space, ref: str, count: int = REPLICAS) -> None:
    until(lambda: state(place, ref)["status"].get("readyReplicas", 0) == count, f"{ref} is back", seconds=BACK_SECONDS)


def nothing_of_ours(place: Space) -> None:
    def left() -> str:
        return place.kubectl("get", "leases,secrets,pods,configmaps", "-l", SESSION, "-o", "name")

    until(lambda: not left(), f"Lease, Secret and shadow are gone: {left()}", seconds=PATIENCE_SECONDS)


def failures(lines: list[str], since: float, until_: float) -> int:
    """Requests that began between the two and failed."""
    timed = [line.split(" ", 1) for line in lines if "@" in line or "!" in line]
    return sum(who.startswith("!") and since <= float(at) < until_ for at, who in timed)


@pytest.mark.parametrize("name", KINDS)
def test_a_workload_goes_to_0_and_comes_back_while_requests_go_on(
    place: Space, laptop: Server, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    ref, client = KINDS[name], place.client()
    before = essence(place, ref)
    service = place.service(name)["metadata"]["resourceVersion"]
    with client.loading(f"http://{name}/", "--rate", str(RATE), "--until-told", "--each") as load:
        load.wait_line(f"{name}@", count=SOME)
        started = time.time()
        with scaling(place.person("ana"), laptop, name) as session:
            session.wait_ready(60)
            ready = time.time()
            seen = len(load.lines)
            load.wait_line("laptop@", after=seen, count=SOME)
            others = [line for line in load.lines[seen + RATE :] if f"{name}@" in line]
            assert state(place, ref)["spec"]["replicas"] == 0
            (shadow,) = place.read("get", "pods", "-l", f"app={name}")["items"]
            assert shadow["metadata"]["labels"][ROLE] == "shadow"
            assert "pod-template-hash" not in shadow["metadata"]["labels"]
            assert [owner["kind"] for owner in shadow["metadata"]["ownerReferences"]] == ["Lease"]
            told = time.time()
            session.interrupt()
            assert session.wait(BACK_SECONDS) == 0, session.said()
        ended = time.time()
        load.wait_line(f"{name}@", after=len(load.lines), count=SOME)
        are_back(place, ref)
        result = load.stop()

    there = failures(load.lines, started, ready + 1.0)
    held = failures(load.lines, ready + 1.0, told)
    back = failures(load.lines, told, ended + 60.0)
    with capsys.disabled():
        print(
            f"\n{ref}, {RATE} new connections/s: ready after {ready - started:.1f} s, back after {ended - told:.1f} s; "
            f"failed on the way there {there}, held {held}, on the way back {back} of {result.total}"
        )
    assert not others, "after a second the laptop answers alone"
    # The workload's pods end at once, and nodes still send them requests for a second or, where they are busy, more:
    # as in any rollout. So the numbers are told, and only that most requests are answered is asked for.
    assert there + held + back < result.total * 0.25, result.raw
    assert essence(place, ref) == before
    assert place.service(name)["metadata"]["resourceVersion"] == service
    nothing_of_ours(place)


def lease_is_deleted(place: Space) -> None:
    place.kubectl("delete", "leases", "-l", f"{ROLE}=session")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("accident", "words"),
    [
        (lambda place: None, ("recover", "{name}", "--force")),
        (lambda place: None, ("clean", "--older-than", "0")),
        (lease_is_deleted, ("recover", "{name}")),
    ],
    ids=["recover", "clean", "without its Lease"],
)
def test_what_a_killed_session_scaled_is_given_back_by_another_user(
    place: Space, laptop: Server, name: str, accident: Callable[[Space], None], words: tuple[str, ...]
) -> None:
    ref = KINDS[name]
    before = essence(place, ref)
    with scaling(place.person("ana"), laptop, name) as session:
        session.wait_ready(60)
        session.kill()
    accident(place)
    assert state(place, ref)["spec"]["replicas"] == 0

    done = place.person("bob").run(*(word.format(name=name) for word in words))

    assert done.code == 0, done.said
    assert f"{ref} given back" in done.said
    assert essence(place, ref) == before
    nothing_of_ours(place)
    are_back(place, ref)
    again = place.person("bob").run(*(word.format(name=name) for word in words))
    assert again.code == 0, again.said
    assert essence(place, ref) == before


def test_what_its_owner_does_meanwhile_stays(place: Space, laptop: Server) -> None:
    with scaling(place.person("ana"), laptop) as session:
        session.wait_ready(60)
        place.kubectl("label", "deployment/shop", "team=payments")
        place.kubectl("annotate", "deployment/shop", "why=because")
        place.kubectl("scale", "deployment/shop", "--replicas=2")
        session.wait_event("note", lambda event: "deployment/shop was scaled to 2 by kubectl" in event["text"])
        are_back(place, "deployment/shop", 2)
        session.interrupt()
        assert session.wait(BACK_SECONDS) == 0, session.said()
    now = state(place, "deployment/shop")
    try:
        assert now["spec"]["replicas"] == 2
        assert now["metadata"]["labels"]["team"] == "payments"
        assert now["metadata"]["annotations"]["why"] == "because"
        assert SESSION not in now["metadata"]["labels"]
        assert NOTE not in now["metadata"]["annotations"]
    finally:
        place.kubectl("label", "deployment/shop", "team-")
        place.kubectl("annotate", "deployment/shop", "why-")
    nothing_of_ours(place)


def test_an_owners_apply_gives_his_replicas_back_and_the_end_leaves_them(place: Space, laptop: Server) -> None:
    with scaling(place.person("ana"), laptop) as session:
        session.wait_ready(60)
        place.apply(manifests.SHOP[0])
        session.wait_event("note", lambda event: f"deployment/shop was scaled to {REPLICAS}" in event["text"])
        session.interrupt()
        assert session.wait(BACK_SECONDS) == 0, session.said()
    assert state(place, "deployment/shop")["spec"]["replicas"] == REPLICAS
    nothing_of_ours(place)


def test_a_deleted_workload_ends_the_session(place: Space, laptop: Server) -> None:
    shop = state(place, "deployment/shop")
    with scaling(place.person("ana"), laptop) as session:
        session.wait_ready(60)
        place.kubectl("delete", "deployment/shop", "--wait=false")
        assert session.wait() == 3, session.said()
        assert "deployment/shop was deleted" in session.said()
    nothing_of_ours(place)
    place.deploy(manifests.SHOP[0])
    assert state(place, "deployment/shop")["metadata"]["uid"] != shop["metadata"]["uid"]


def test_a_note_that_a_rollback_brings_back_restores_nothing(place: Space, laptop: Server) -> None:
    with scaling(place.person("ana"), laptop) as session:
        session.wait_ready(60)
        session.interrupt()
        assert session.wait(BACK_SECONDS) == 0, session.said()
    place.kubectl("set", "env", "deployment/shop", "ROUND=2")
    place.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
    place.kubectl("rollout", "undo", "deployment/shop")
    place.kubectl("rollout", "status", "deployment/shop", "--timeout=60s")
    assert NOTE in state(place, "deployment/shop")["metadata"]["annotations"]
    place.kubectl("scale", "deployment/shop", "--replicas=0")
    until(lambda: not state(place, "deployment/shop")["status"].get("replicas"), "its owner has scaled it to 0")
    before = essence(place, "deployment/shop")
    try:
        for words in (("clean", "--older-than", "0"), ("recover", "shop", "--force"), ("clean", "--all", "--yes")):
            done = place.person("bob").run(*words)
            assert done.code == 0, done.said
            assert essence(place, "deployment/shop") == before, words
    finally:
        place.kubectl("annotate", "deployment/shop", f"{NOTE}-")


def test_an_autoscaler_is_refused_by_who_may_see_it_and_named_as_unseen_to_who_may_not(
    place: Space, laptop: Server
) -> None:
    place.kubectl("autoscale", "deployment/shop", "--min=2", "--max=5")
    rule = {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list"]}
    role = published_role(place.name)
    seeing = place.newcomer("eve", "eve", {**role, "rules": [*role["rules"], rule]})
    try:
        done = seeing.run("exchange", "shop", "--mode", "scale", "--expose", str(laptop.port), "--dry-run")
        unseen = place.person("bob").run("--output", "json", "exchange", "shop", "--mode", "scale", "--expose",
                                         str(laptop.port), "--dry-run")  # fmt: skip
    finally:
        place.kubectl("delete", "horizontalpodautoscaler/shop")

    assert done.code == 1, done.said
    assert "deployment/shop is scaled by horizontalpodautoscaler/shop" in done.err
    assert unseen.code == 0, unseen.said
    assert "could not be checked" in unseen.said


def test_a_dry_run_names_the_patch_and_its_undo(place: Space, laptop: Server) -> None:
    before = essence(place, "deployment/shop")

    done = place.person("ana").run("--output", "json", "exchange", "shop", "--mode", "scale", "--expose",
                                   str(laptop.port), "--dry-run")  # fmt: skip

    assert done.code == 0, done.said
    deeds = [json.loads(line) for line in done.out.splitlines() if line.startswith('{"do"')]
    assert deeds[-1]["do"] == "patch deployment/shop"
    assert {"op": "replace", "path": "/spec/replicas", "value": 0} in deeds[-1]["object"]["patch"]
    assert {"op": "replace", "path": "/spec/replicas", "value": REPLICAS} in deeds[-1]["undo"]["patch"]
    assert essence(place, "deployment/shop") == before


def test_pods_that_never_come_back_are_waited_for_as_long_as_was_asked(place: Space, laptop: Server) -> None:
    with scaling(place.person("ana"), laptop, "shop", "--recover-wait-time", "3") as session:
        session.wait_ready(60)
        place.kubectl("set", "image", "deployment/shop", "shop=localhost/nowhere:1")
        session.interrupt()
        assert session.wait(BACK_SECONDS) == 0, session.said()
    try:
        assert "a pod of deployment/shop to be Ready" in session.said()
        assert "No pod of deployment/shop is Ready after 3 s" in session.said()
        assert state(place, "deployment/shop")["spec"]["replicas"] == REPLICAS
    finally:
        place.kubectl("set", "image", "deployment/shop", f"shop={manifests.SHOP_IMAGE}")
    nothing_of_ours(place)
