"""What is somebody else's and only looks like ours, by a copied label or a stale note, is left as it is."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ktpy.model.names import NOTE, ROLE, SESSION
from tests.e2e.harness import manifests
from tests.e2e.harness.calm import calm
from tests.e2e.harness.laptop import Server, serving
from tests.e2e.harness.manifests import Manifest
from tests.e2e.harness.node import Node
from tests.e2e.harness.process import Ktpy
from tests.e2e.harness.space import Space, opened
from tests.e2e.harness.until import until

OF_ONE_OBJECT = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "ownerReferences")
CLEAN = ("clean", "--older-than", "0")


@pytest.fixture(scope="module")
def place(node: Node, venv: Path) -> Iterator[Space]:
    """A namespace of this module's own: it is not left as it was."""
    with opened(node, venv, *manifests.SHOP, client=False) as found:
        yield found


@pytest.fixture(scope="module")
def laptop(place: Space) -> Iterator[Server]:
    with serving(place.person("ana")) as found:
        yield found


def exchange(place: Space, laptop: Server) -> Ktpy:
    return place.person("ana").start("exchange", "shop", "--expose", str(laptop.port))


def cleaned(thing: Any, name: str = "") -> Manifest:
    """What `kubectl get -o yaml` showed, made fit to be applied, under another NAME."""
    new = copy.deepcopy(thing)
    new.pop("status", None)
    new["metadata"] = {key: value for key, value in new["metadata"].items() if key not in OF_ONE_OBJECT}
    for field in ("clusterIP", "clusterIPs", "nodeName") if name else ():
        new["spec"].pop(field, None)
    new["metadata"]["name"] = name or new["metadata"]["name"]
    return new


def bystanders(place: Space) -> list[Manifest]:
    """Copies of what a session changed or made, as their owners might apply them."""
    service = place.service()
    (shadow,) = place.read("get", "pods", "-l", f"{ROLE}=shadow")["items"]
    marks = {ROLE: "shadow", SESSION: service["metadata"]["labels"][SESSION]}
    notes = {NOTE: service["metadata"]["annotations"][NOTE]}
    deployment = manifests.deployment("mine", [("http", 8080)], replicas=1)
    deployment["metadata"] |= {"labels": {"app": "mine", **marks}, "annotations": notes}
    deployment["spec"]["template"]["metadata"] = {"labels": {"app": "mine", **marks}, "annotations": notes}
    plain = manifests.service("labelled", [(80, "http")], app="mine")
    plain["metadata"]["labels"] |= marks
    slice_: Manifest = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": [],
        "metadata": {"name": "mine", "labels": {**marks, "kubernetes.io/service-name": "shop-copy"}}, "ports": [],
    }  # fmt: skip
    return [cleaned(service, "shop-copy"), cleaned(shadow, "shadow-copy"), plain, deployment, slice_]


def essences(place: Space, things: Sequence[Manifest]) -> list[Any]:
    """Each object as its owner sees it."""
    names = [f"{thing['kind']}/{thing['metadata']['name']}" for thing in things]
    return [_essence(now) for now in place.read("get", *names)["items"]]


def _essence(thing: Any) -> Any:
    """Where no controller writes, not a single write has gone to it."""
    meta = thing["metadata"]
    notes = {key: value for key, value in meta.get("annotations", {}).items() if "kubernetes.io" not in key}
    version = meta["resourceVersion"] if thing["kind"] in ("Service", "EndpointSlice") else None
    return [meta["uid"], version, meta.get("deletionTimestamp"), meta.get("labels"), notes, thing.get("spec"),
            thing.get("endpoints")]  # fmt: skip


@pytest.mark.parametrize("end", ["Ctrl-C", "recover"])
def test_copies_of_what_a_session_made_outlive_it_unchanged(place: Space, laptop: Server, end: str) -> None:
    bob = place.person("bob")
    calm_service = place.service()["spec"]
    with exchange(place, laptop) as session:
        session.wait_ready()
        theirs = bystanders(place)
        place.deploy(*theirs)
        before = essences(place, theirs)
        if end == "Ctrl-C":
            session.interrupt()
            assert session.wait() == 0, session.said()
        else:
            session.kill()
            done = bob.run("recover", "shop", "--force")
            assert done.code == 0, done.said
    try:
        assert essences(place, theirs) == before
        for words in (CLEAN, ("clean", "--all", "--yes"), ("recover", "--force"), ("recover", "shop-copy", "--force")):
            done = bob.run(*words)
            assert done.code == 0, done.said
            assert "given back" not in done.said.lower()
            assert essences(place, theirs) == before, words
        seen = bob.run("birdseye", "--output", "json")
        assert {row["status"] for row in json.loads(seen.out)} == {"natural"}
        for copied in ("pod/shadow-copy", "service/shop-copy", "service/labelled"):
            assert seen.err.count(f"{copied} wears") == 1, seen.err
        assert place.service()["spec"] == calm_service
    finally:
        place.kubectl("delete", "--wait=false", *(f"{thing['kind']}/{thing['metadata']['name']}" for thing in theirs))
    calm(place)


def test_a_diverted_manifest_that_is_applied_again_after_the_give_back_is_restored(
    place: Space, laptop: Server
) -> None:
    calm(place)
    before = place.service()["spec"]
    with exchange(place, laptop) as session:
        session.wait_ready()
        saved = cleaned(place.service())
        session.interrupt()
        assert session.wait() == 0, session.said()
    place.kubectl("apply", "-f", "-", text=json.dumps(saved))
    assert place.service()["spec"] != before

    done = place.person("bob").run("clean")
    assert done.code == 0, done.said
    now = place.service()
    assert now["spec"] == before
    assert NOTE not in now["metadata"]["annotations"]
    assert SESSION not in now["metadata"]["labels"]


def test_a_note_that_a_rollback_brings_back_is_left_alone(place: Space, laptop: Server) -> None:
    with exchange(place, laptop) as session:
        session.wait_ready()
        mine = bystanders(place)[3]
        session.interrupt()
        assert session.wait() == 0, session.said()
    bare = manifests.deployment("mine", [("http", 8080)], replicas=1)
    place.deploy(mine)
    place.kubectl("replace", "-f", "-", text=json.dumps(bare))
    place.kubectl("rollout", "status", "deployment/mine")
    place.kubectl("rollout", "undo", "deployment/mine")
    place.kubectl("rollout", "status", "deployment/mine")
    template = place.read("get", "deployment", "mine")["spec"]["template"]
    assert NOTE in template["metadata"]["annotations"]

    def pods() -> list[str]:
        found = place.read("get", "pods", "-l", "app=mine")["items"]
        return [pod["metadata"]["uid"] for pod in found if "deletionTimestamp" not in pod["metadata"]]

    until(lambda: len(pods()) == 1, "the rollback is through")
    before = pods()
    for words in (CLEAN, ("recover", "--force")):
        done = place.person("bob").run(*words)
        assert done.code == 0, done.said
    assert place.read("get", "deployment", "mine")["spec"]["template"] == template
    assert pods() == before
