"""What is somebody else's and only looks like ours, by a copied label or a stale note, is left as it is."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
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


def essence(place: Space, thing: Manifest) -> Any:
    """An object as its owner sees it: its identity, spec, labels and annotations but for our marks."""
    now = place.read("get", thing["kind"], thing["metadata"]["name"])
    meta = now["metadata"]
    ours = {NOTE, SESSION} if thing["kind"] == "Service" else set()  # a stale note may be taken off a Service
    labels = {key: value for key, value in meta.get("labels", {}).items() if key not in ours}
    notes = {k: v for k, v in meta.get("annotations", {}).items() if k not in ours and "kubernetes.io" not in k}
    return [meta["uid"], meta.get("deletionTimestamp"), labels, notes, now.get("spec"), now.get("endpoints")]


@pytest.mark.parametrize("end", ["Ctrl-C", "recover"])
def test_copies_of_what_a_session_made_outlive_it_unchanged(place: Space, laptop: Server, end: str) -> None:
    bob = place.person("bob")
    calm_service = place.service()["spec"]
    with exchange(place, laptop) as session:
        session.wait_ready()
        theirs = bystanders(place)
        place.deploy(*theirs)
        before = [essence(place, thing) for thing in theirs]
        if end == "Ctrl-C":
            session.interrupt()
            assert session.wait() == 0, session.said()
        else:
            session.kill()
            done = bob.run("recover", "shop", "--force")
            assert done.code == 0, done.said
    try:
        assert [essence(place, thing) for thing in theirs] == before
        done = bob.run(*CLEAN)
        assert done.code == 0, done.said
        assert "pod/shadow-copy wears" in done.err
        assert [essence(place, thing) for thing in theirs] == before
        assert place.service()["spec"] == calm_service
    finally:
        for thing in theirs:
            place.kubectl("delete", thing["kind"], thing["metadata"]["name"], "--wait=false")
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
