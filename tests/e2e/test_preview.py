"""`ktpy preview` on the real node: a laptop process under a name that was not there, and that goes without a trace."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from ktpy.model.names import PREVIEW, ROLE, SELF, SESSION
from tests.e2e.harness import manifests
from tests.e2e.harness.calm import calm
from tests.e2e.harness.client import InCluster
from tests.e2e.harness.laptop import Server, serving
from tests.e2e.harness.manifests import Manifest
from tests.e2e.harness.people import Person
from tests.e2e.harness.process import Ktpy
from tests.e2e.harness.space import Space, published_role
from tests.e2e.harness.until import until

USAGE, HELD, FORBIDDEN = 2, 4, 5
CLEAN = ("clean", "--older-than", "0")
OF_ONE_OBJECT = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "ownerReferences")


def ended(session: Ktpy) -> None:
    session.interrupt()
    assert session.wait() == 0, session.said()


def notes(session: Ktpy) -> str:
    return "\n".join(event["text"] for event in session.events() if event["event"] == "note")


def exists(space: Space, kind: str, name: str) -> bool:
    return bool(space.kubectl("get", kind, name, "--ignore-not-found", "-o", "name"))


@pytest.fixture(scope="module")
def admitted(space: Space) -> Person:
    """ana, with the rights for --host as well."""
    role = published_role(space.name)
    more = {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses"], "verbs": ["create", "delete"]}
    return space.newcomer("ana", "ana-ingress", {**role, "rules": [*role["rules"], more]})


# there and gone again


def test_pods_reach_two_laptop_ports_by_a_new_name_and_at_the_end_it_is_gone(
    space: Space, ana: Person, client: InCluster
) -> None:
    before = calm(space)
    with serving(ana, ports=2) as server:
        exposed = f"{server.ports[0]}:80/http,{server.ports[1]}:90"
        with ana.start("preview", "web", "--expose", exposed, "--app-protocol", "90=kubernetes.io/h2c") as session:
            ready = session.wait_ready()
            results = [client.load(f"http://web:{port}/", "--count", "200") for port in (80, 90)]
            made = space.service("web")
            ended(session)

    assert [(result.answers, result.failed) for result in results] == [({"laptop": 200}, {})] * 2
    assert [(p["name"], p.get("appProtocol")) for p in made["spec"]["ports"]] == [
        ("http", None), ("port-90", "kubernetes.io/h2c"),
    ]  # fmt: skip
    assert ready["target"] == "service/web"
    assert ready["affected"].startswith("Nobody else.")
    space.wait_same(before)


def test_a_shadow_that_goes_is_replaced_behind_the_same_service(
    space: Space, ana: Person, client: InCluster, server: Server
) -> None:
    before = calm(space)
    with ana.start("preview", "lasting", "--expose", f"{server.port}:80") as session:
        session.wait_ready()
        (shadow,) = space.read("get", "pods", "-l", PREVIEW)["items"]
        space.kubectl("delete", "pod", shadow["metadata"]["name"], "--wait=false")
        session.wait_event("note", lambda event: "takes its place" in event["text"])
        until(lambda: client.load("http://lasting/", "--count", "20").failed == {}, "the new one answers", seconds=20)
        ended(session)
    space.wait_same(before)


def test_leave_and_status_know_it(space: Space, ana: Person, server: Server) -> None:
    before = calm(space)
    done = ana.run("preview", "aside", "--expose", f"{server.port}:80", "--background")
    assert done.code == 0, done.said
    (run,) = ana.run("status", "--output", "json").json()
    left = ana.run("leave", "aside")

    assert (run["mode"], run["target"], run["state"]) == ("preview", "service/aside", "ready")
    assert left.code == 0, left.said
    space.wait_same(before)


def test_a_command_opens_its_port_first_and_its_end_is_the_end(space: Space, ana: Person) -> None:
    before = calm(space)
    with serving(ana) as server:
        words = ["--", "sh", "-c", "exit 7"]
        done = ana.run("preview", "brief", "--expose", f"{server.port}:80", *words)

    assert done.code == 7, done.said
    space.wait_same(before)


# refused, and nothing made


def test_a_name_that_is_taken_is_refused_with_whose_it_is_and_nothing_is_made(
    space: Space, ana: Person, bob: Person, server: Server
) -> None:
    exposed = ("--expose", f"{server.port}:80")
    calm(space)
    with ana.start("preview", "mine", *exposed) as session:
        name = session.wait_ready()["session"]
        before = space.snapshot()
        theirs = bob.run("preview", "mine", *exposed)
        taking = bob.run("preview", "mine", *exposed, "--take-over")
        owners = bob.run("preview", "shop", *exposed)
        after = space.snapshot()
        ended(session)

    assert [done.code for done in (theirs, taking, owners)] == [HELD] * 3, theirs.said
    for part in ("service/mine", name, "ana", "s ago"):
        assert part in theirs.err, theirs.said
    assert "service/shop exists already and is no preview; kubectl" in owners.err, owners.said
    for key in before:
        assert key.startswith("Lease/") or after[key] == before[key], key
    assert after.keys() == before.keys()


@pytest.mark.parametrize("name", ["Web", "a.b", "-web", "x" * 64])
def test_what_is_no_name_for_a_service_is_usage(ana: Person, name: str) -> None:
    done = ana.run("preview", "--expose", "8080", "--", name)

    assert done.code == USAGE, done.said


def test_a_host_without_the_right_is_refused_naming_it(space: Space, ana: Person, server: Server) -> None:
    before = calm(space)

    done = ana.run("preview", "web", "--expose", f"{server.port}:80", "--host", "web.example.com")

    assert done.code == FORBIDDEN, done.said
    assert "create ingresses.networking.k8s.io" in done.err
    space.wait_same(before, seconds=0)


# from outside


def test_an_external_address_is_told_as_pending_and_once_it_is_there(space: Space, ana: Person, server: Server) -> None:
    before = calm(space)
    with ana.start("preview", "outside", "--expose", f"{server.port}:80", "--external") as session:
        session.wait_ready()
        assert f"kubectl -n {space.name} get service outside --watch" in notes(session)
        assert space.service("outside")["spec"]["type"] == "LoadBalancer"
        given = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}}
        space.kubectl("patch", "service", "outside", "--subresource=status", "--type=merge", "-p", json.dumps(given))
        session.wait_event("note", lambda event: "192.0.2.7" in event["text"])
        ended(session)
    space.wait_same(before)


def test_a_host_has_an_ingress_for_as_long_as_the_preview(space: Space, admitted: Person, server: Server) -> None:
    before = calm(space)
    words = ("preview", "hosted", "--expose", f"{server.port}:80", "--host", "web.example.com")
    with admitted.start(*words, "--ingress-class", "some") as session:
        session.wait_ready()
        spec = space.read("get", "ingress", "hosted")["spec"]
        again = admitted.run(*words)
        ended(session)

    (rule,) = spec["rules"]
    assert (spec["ingressClassName"], rule["host"]) == ("some", "web.example.com")
    assert rule["http"]["paths"][0]["backend"]["service"] == {"name": "hosted", "port": {"number": 80}}
    assert again.code == HELD, again.said
    space.wait_same(before)


def test_an_ingress_of_somebodys_own_is_refused(space: Space, admitted: Person, server: Server) -> None:
    backend = {"service": {"name": "shop", "port": {"number": 80}}}
    mine: Manifest = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "owned"},
                      "spec": {"defaultBackend": backend}}  # fmt: skip
    calm(space)
    space.apply(mine)
    before = space.snapshot()

    done = admitted.run("preview", "owned", "--expose", f"{server.port}:80", "--host", "web.example.com")

    space.wait_same(before, seconds=0)
    space.kubectl("delete", "ingress", "owned")
    assert done.code == HELD, done.said
    assert "ingress/owned exists already" in done.err


# killed


def test_after_kill_9_another_users_clean_leaves_nothing(
    space: Space, admitted: Person, bob: Person, server: Server
) -> None:
    before = calm(space)
    words = ("--expose", f"{server.port}:80", "--host", "web.example.com", "--external")
    with admitted.start("preview", "killed", *words) as session:
        session.wait_ready()
        session.kill()

    done = bob.run(*CLEAN)

    assert done.code == 0, done.said
    assert "service/killed taken away" in done.said
    space.wait_same(before, seconds=15)  # the Ingress is the garbage collector's


# what is somebody else's


def cleaned(thing: Any, name: str = "") -> Manifest:
    """What `kubectl get -o yaml` showed, made fit to be applied, under another NAME."""
    new = copy.deepcopy(thing)
    new.pop("status", None)
    new["metadata"] = {key: value for key, value in new["metadata"].items() if key not in OF_ONE_OBJECT}
    new["metadata"]["name"] = name or new["metadata"]["name"]
    for field in ("clusterIP", "clusterIPs"):
        new["spec"].pop(field, None)
    return new


def essence(thing: Any) -> Any:
    """Not a single write has gone to it."""
    meta = thing["metadata"]
    return [meta["uid"], meta["resourceVersion"], meta.get("deletionTimestamp"), thing["spec"]]


@pytest.mark.parametrize("end", ["Ctrl-C", "clean"])
def test_copies_of_a_preview_outlive_it_unchanged_also_under_its_own_name(
    space: Space, ana: Person, bob: Person, server: Server, end: str
) -> None:
    before = calm(space)
    with ana.start("preview", "copied", "--expose", f"{server.port}:80") as session:
        session.wait_ready()
        saved = space.service("copied")
        assert saved["metadata"]["labels"].keys() >= {ROLE, SESSION}
        assert SELF in saved["metadata"]["annotations"]
        space.apply(cleaned(saved, "copied-2"))
        twin = essence(space.service("copied-2"))
        if end == "Ctrl-C":
            ended(session)
        else:
            session.kill()
            space.kubectl("delete", "service", "copied")
            space.apply(cleaned(saved))
            done = bob.run(*CLEAN)
            assert done.code == 0, done.said
    if end == "Ctrl-C":
        space.apply(cleaned(saved))
    mine = essence(space.service("copied"))
    try:
        for words in (CLEAN, ("clean", "--all", "--yes"), ("recover", "--force"), ("recover", "copied", "--force")):
            done = bob.run(*words)
            assert done.code == 0, done.said
            assert "taken away" not in done.said
            assert essence(space.service("copied")) == mine, words
            assert essence(space.service("copied-2")) == twin, words
        refused = bob.run("preview", "copied", "--expose", f"{server.port}:80")
        assert refused.code == HELD, refused.said
        assert "is no preview" in refused.err
    finally:
        space.kubectl("delete", "service", "copied", "copied-2", "--ignore-not-found")
    space.wait_same(before)


@pytest.mark.parametrize("is_alive", [True, False])
def test_a_service_that_is_applied_over_a_preview_is_its_owners_from_then_on(
    space: Space, ana: Person, bob: Person, client: InCluster, server: Server, is_alive: bool
) -> None:
    before = calm(space)
    name = f"real-{is_alive}".lower()
    real = manifests.service(name, [(80, 8080)], app="shop")
    with ana.start("preview", name, "--expose", f"{server.port}:80") as session:
        session.wait_ready()
        if not is_alive:
            session.kill()
        space.apply(real)
        if is_alive:
            assert session.wait() == HELD, session.said()
            assert "wrote another selector over" in session.said()
    if not is_alive:
        done = bob.run(*CLEAN)
        assert done.code == 0, done.said
    now = space.service(name)

    assert now["spec"]["selector"] == {"app": "shop"}
    assert "ktpy" not in json.dumps({**now["metadata"], "name": ""})
    until(lambda: client.ask(f"http://{name}/") == "shop", f"{name} is answered by the owner's pods")
    space.kubectl("delete", "service", name)
    space.wait_same(before)


def test_a_service_deleted_under_it_ends_the_session(space: Space, ana: Person, server: Server) -> None:
    before = calm(space)
    with ana.start("preview", "deleted", "--expose", f"{server.port}:80") as session:
        session.wait_ready()
        space.kubectl("delete", "service", "deleted")
        assert session.wait() == 3, session.said()
    assert "was deleted while" in session.said()
    assert not exists(space, "service", "deleted")
    space.wait_same(before)
