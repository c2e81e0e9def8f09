"""What KT-Connect's ktctl left: a dead one's is shown and given back, a living one's is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.harness import manifests
from tests.e2e.harness.laptop import Server
from tests.e2e.harness.manifests import Manifest
from tests.e2e.harness.people import Person
from tests.e2e.harness.space import Space
from tests.e2e.harness.until import until

TAKEN = 4
KT = {"control-by": "kt"}
DEAD, ALIVE = 600, 5  # seconds since the last heartbeat


def pod(name: str, role: str, config: str, age: float) -> Manifest:
    """A pod as ktctl makes it, AGE seconds after its last heartbeat."""
    notes = {
        "kt-config": config,
        "kt-last-heart-beat": str(int(time.time() - age)),
        "kt-ref-count": "1",
        "kt-user": "eve",
    }
    labels = {**KT, "kt-role": role, "kt-target": "abcdefghijklmnopqrst"}
    spec = manifests.pod_spec("infinity", command=["sleep"])
    spec["containers"][0]["name"] = "standalone"
    meta = {"name": name, "labels": labels, "annotations": notes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def divert(space: Space, role: str) -> None:
    """Point the Service at ktctl's pods, with its note and lock, as ktctl's full update does."""
    now = space.service()
    now["metadata"].setdefault("annotations", {})["kt-selector"] = json.dumps(now["spec"]["selector"])
    now["spec"]["selector"] = {"kt-role": role, "kt-target": "abcdefghijklmnopqrst"}
    space.kubectl("replace", "-f", "-", text=json.dumps(now))


def selects(space: Space) -> Any:
    return space.service()["spec"]["selector"]


def kt_objects(space: Space) -> str:
    return space.kubectl("get", "pods,services", "-l", "control-by=kt", "-o", "name")


@pytest.fixture
def shop(space: Space) -> Iterator[Any]:
    """The Service as it was; after the test nothing of ktctl's is left."""
    before = space.service()
    yield before["spec"]
    space.kubectl("delete", "pods,services,configmaps", "-l", "control-by=kt", "--now")
    space.kubectl("replace", "-f", "-", text=json.dumps({**before, "metadata": fit(before["metadata"])}))
    space.kubectl("scale", "deployment/shop", "--replicas=3")


def fit(meta: Any) -> Any:
    return {key: value for key, value in meta.items() if key != "resourceVersion"}


def exchanged(space: Space, age: float) -> None:
    space.apply(pod("shop-kt-exchange-abcde", "shadow-exchange", "service=shop", age))
    divert(space, "shadow-exchange")


@pytest.mark.parametrize("words", [("recover", "shop"), ("recover",), ("clean",)], ids=" ".join)
def test_a_dead_exchange_is_given_back(space: Space, bob: Person, shop: Any, words: tuple[str, ...]) -> None:
    exchanged(space, DEAD)
    done = bob.run(*words)
    assert done.code == 0, done.said
    now = space.service()
    assert now["spec"] == shop
    assert "kt-selector" not in now["metadata"]["annotations"]
    until(lambda: kt_objects(space) == "", "ktctl's pod is gone")
    again = bob.run(*words)
    assert (again.code, "Nothing to" in again.err) == (0, True), again.said


def test_a_living_exchange_is_refused_to_everybody(space: Space, bob: Person, shop: Any, server: Server) -> None:
    exchanged(space, ALIVE)
    diverted = selects(space)
    for words in (("recover", "shop"), ("recover", "shop", "--force"), ("exchange", "shop", "-p", f"{server.port}"),
                  ("exchange", "shop", "-p", f"{server.port}", "--take-over")):  # fmt: skip
        done = bob.run(*words)
        assert done.code == TAKEN, done.said
        assert "running ktctl, seen" in done.err
    for words in (("recover",), ("recover", "--force"), ("clean", "--older-than", "0"), ("clean", "--all", "--yes")):
        done = bob.run(*words)
        assert done.code == 0, done.said
    assert selects(space) == diverted
    assert kt_objects(space) == "pod/shop-kt-exchange-abcde\n"


@pytest.mark.parametrize(("age", "state"), [(DEAD, "silent"), (ALIVE, "alive")])
@pytest.mark.usefixtures("shop")
def test_birdseye_shows_it(space: Space, bob: Person, age: float, state: str) -> None:
    exchanged(space, age)
    (row,) = [row for row in bob.run("birdseye", "--output", "json").json() if row["target"] == "service/shop"]
    assert (row["status"], row["shares"][0]["state"]) == ("ktctl", state)
    assert abs(row["seen_seconds"] - age) < 10


@pytest.mark.usefixtures("shop")
def test_an_exchange_on_top_of_a_dead_one_says_what_to_type(space: Space, bob: Person, server: Server) -> None:
    exchanged(space, DEAD)
    done = bob.run("exchange", "shop", "-p", f"{server.port}")
    assert (done.code, "ktpy recover shop" in done.err) == (TAKEN, True), done.said


def test_a_dead_mesh_is_given_back_with_its_router_and_its_stuntman(space: Space, bob: Person, shop: Any) -> None:
    stuntman = manifests.service("shop-kt-stuntman", [(80, "http")], app="shop")
    stuntman["metadata"]["labels"] = KT
    space.apply(pod("shop-kt-router", "router", "service=shop", DEAD), stuntman)
    divert(space, "router")
    done = bob.run("recover", "shop")
    assert done.code == 0, done.said
    assert space.service()["spec"] == shop
    until(lambda: kt_objects(space) == "", "the router is gone")


@pytest.mark.parametrize(("age", "code"), [(400, 0), (5, TAKEN)])
def test_a_lock_alone_is_taken_off_once_it_is_old(space: Space, bob: Person, shop: Any, age: int, code: int) -> None:
    space.kubectl("annotate", "service", "shop", f"kt-lock={int(time.time() - age)}")
    done = bob.run("recover", "shop")
    assert done.code == code, done.said
    now = space.service()
    assert ("kt-lock" in now["metadata"]["annotations"]) == (code == TAKEN)
    assert now["spec"] == shop
    space.kubectl("annotate", "service", "shop", "kt-lock-")


@pytest.mark.usefixtures("shop")
def test_a_deployment_that_a_dead_one_scaled_to_zero_is_named_with_the_line_that_mends_it(
    space: Space, bob: Person
) -> None:
    space.apply(pod("shop-kt-exchange-abcde", "shadow-exchange", "app=shop,replicas=3", DEAD))
    space.kubectl("scale", "deployment/shop", "--replicas=0")
    done = bob.run("clean")
    assert done.code == 0, done.said
    assert "kubectl scale deployment/shop --replicas=3" in done.err
    assert kt_objects(space) == "pod/shop-kt-exchange-abcde\n"  # it holds the only record of the count
