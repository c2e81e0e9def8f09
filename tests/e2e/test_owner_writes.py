"""What the Service's owner writes during an exchange: an apply of the old gives it back, edits survive by value."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ktpy.model.names import MANAGER, NOTE, SESSION
from tests.e2e.harness import manifests
from tests.e2e.harness.calm import calm
from tests.e2e.harness.client import InCluster
from tests.e2e.harness.laptop import Server
from tests.e2e.harness.manifests import Manifest
from tests.e2e.harness.node import KubectlFailed
from tests.e2e.harness.people import Person
from tests.e2e.harness.process import Ktpy
from tests.e2e.harness.space import Space

URL = "http://shop/"
TAKEN, NOT_FOUND, DONE = 4, 3, 0
SERVICE = manifests.SHOP[1]


@contextlib.contextmanager
def exchanging(person: Person, server: Server, *words: str, service: str = "shop") -> Iterator[Ktpy]:
    with person.start("exchange", service, "--expose", f"{server.port}", *words) as session:
        session.wait_ready()
        yield session


def changed(service: Manifest, *, labels: dict[str, str] | None = None, **spec: Any) -> Manifest:
    """SERVICE with more LABELS and other fields of its SPEC."""
    meta = {**service["metadata"], "labels": {**service["metadata"]["labels"], **(labels or {})}}
    return {**service, "metadata": meta, "spec": {**service["spec"], **spec}}


def ports(*numbers: int) -> list[Manifest]:
    return [{"name": f"p{number}", "port": number, "targetPort": "http"} for number in numbers]


def must_be_the_owners(space: Space, *, labels: dict[str, str], selector: dict[str, str], listed: list[int]) -> None:
    """Value by value, and nothing of ours on it."""
    now = space.read("get", "service", "shop", "--show-managed-fields")
    assert now["metadata"]["labels"] == labels
    assert now["spec"]["selector"] == selector
    assert [port["port"] for port in now["spec"]["ports"]] == listed
    assert NOTE not in now["metadata"].get("annotations", {})
    assert not [e for e in now["metadata"]["managedFields"] if e["manager"] == MANAGER]
    assert space.kubectl("get", "leases,secrets", "-o", "name") == ""


@pytest.fixture
def shop(space: Space) -> Iterator[Manifest]:
    """The Service as it was, also after the test."""
    calm(space)
    yield SERVICE
    space.kubectl("delete", "service", "shop", "--ignore-not-found")
    space.apply(SERVICE)


def test_an_apply_of_the_unchanged_manifest_gives_the_service_back_without_a_failed_request(
    space: Space, ana: Person, server: Server, client: InCluster
) -> None:
    before = calm(space)
    with client.loading(URL, "--rate", "200", "--until-told", "--each") as load, exchanging(ana, server) as session:
        load.wait_line("laptop@")
        applied = time.monotonic()
        space.apply(SERVICE)
        said = session.wait_event("note", lambda note: "taken back by" in note["text"])["at"] - applied
        assert session.wait() == TAKEN, session.said()
        result = load.stop()
    print(f"said so {said:.2f} s after the apply began; {result.answers} {result.failed}")
    assert "taken back by kubectl-client-side-apply" in session.out
    assert result.failed == {}, result.raw
    assert said < 2, session.said()
    space.wait_same(before)


def test_asked_to_it_diverts_again_and_stops_fighting_after_two_flips(
    space: Space, ana: Person, server: Server, client: InCluster
) -> None:
    before = calm(space)
    with exchanging(ana, server, "--mode", "direct", "--if-taken-back", "again") as session:
        for flip in (1, 2):
            space.apply(SERVICE)
            wait_notes(session, flip)
            assert client.ask(URL) == "laptop"
        space.apply(SERVICE)
        assert session.wait() == TAKEN, session.said()
        assert "does not fight" in session.out
    space.wait_same(before)


def wait_notes(session: Ktpy, number: int) -> None:
    """Until it said so many times that it diverts again."""
    seen: list[float] = []
    while len(seen) < number:
        seen.append(session.wait_event("note", lambda e: "diverted again" in e["text"] and e["at"] not in seen)["at"])


def edit(space: Space, script: str) -> None:
    """`kubectl edit`, with sed for an editor."""
    words = [*space.node.kubectl_words, "-n", space.name, "edit", "service", "shop"]
    environment = {**os.environ, "KUBE_EDITOR": f"sed -i -e '{script}'"}
    subprocess.run(words, env=environment, check=True, capture_output=True)


def replace(space: Space, thing: Manifest) -> None:
    """`kubectl replace` of a manifest that knows nothing of us."""
    space.kubectl("replace", "-f", "-", text=json.dumps(thing))


LABELS = {"app": "shop", "team": "shop"}
NEW = {"tier": "front"}
EDITS: dict[str, tuple[Callable[[Space], None], int, dict[str, Any]]] = {
    "edit of a label": (lambda s: edit(s, "s/team: shop/team: cart/"), DONE, {"labels": {**LABELS, "team": "cart"}}),
    "edit of a port": (lambda s: edit(s, "s/port: 80$/port: 81/"), DONE, {"listed": [81]}),
    "edit of the selector": (
        lambda s: edit(s, "s/^    app: kt-.*/    app: cart/"), TAKEN, {"selector": {"app": "cart"}}),
    "edit that adds to the selector": (
        lambda s: s.kubectl("patch", "service", "shop", "-p", '{"spec":{"selector":{"tier":"front"}}}'),
        TAKEN, {"selector": {"app": "shop", **NEW}}),
    "apply of labels and ports": (
        lambda s: s.apply(changed(SERVICE, labels=NEW, ports=ports(80, 81))),
        TAKEN, {"labels": {**LABELS, **NEW}, "listed": [80, 81]}),
    "apply of a selector": (
        lambda s: s.apply(changed(SERVICE, selector={"app": "shop", **NEW})),
        TAKEN, {"selector": {"app": "shop", **NEW}}),
    "apply --server-side --force-conflicts": (
        lambda s: s.apply(changed(SERVICE, labels=NEW, selector=NEW), words=["--server-side", "--force-conflicts"]),
        TAKEN, {"labels": {**LABELS, **NEW}, "selector": NEW}),
    "replace": (
        lambda s: replace(s, changed(SERVICE, labels=NEW, selector={"app": "shop", **NEW}, ports=ports(81))),
        TAKEN, {"labels": {**LABELS, **NEW}, "selector": {"app": "shop", **NEW}, "listed": [81]}),
}  # fmt: skip


@pytest.mark.parametrize("how", EDITS)
@pytest.mark.usefixtures("shop")
def test_what_the_owner_writes_survives_the_give_back(space: Space, ana: Person, server: Server, how: str) -> None:
    write, code, expected = EDITS[how]
    with exchanging(ana, server) as session:
        write(space)
        if code == DONE:  # the diversion is still whole
            assert space.service()["metadata"]["labels"][SESSION]
            session.interrupt()
        assert session.wait() == code, session.said()
    must_be_the_owners(space, **{"labels": LABELS, "selector": {"app": "shop"}, "listed": [80], **expected})


@pytest.mark.usefixtures("shop")
def test_a_server_side_apply_is_refused_as_a_whole_and_passes_without_force_afterwards(
    space: Space, ana: Person, server: Server
) -> None:
    space.kubectl("delete", "service", "shop")
    space.apply(SERVICE, words=["--server-side"])
    wanted = changed(SERVICE, labels=NEW, selector=NEW, ports=ports(81))
    with exchanging(ana, server) as session:
        held = space.service()
        with pytest.raises(KubectlFailed, match=r"conflict with \"ktpy\"(?s:.*)\.spec\.selector"):
            space.apply(wanted, words=["--server-side"])
        assert space.service() == held
        session.interrupt()
        assert session.wait() == DONE, session.said()
    space.apply(wanted, words=["--server-side"])
    must_be_the_owners(space, labels={**LABELS, **NEW}, selector=NEW, listed=[81])


@pytest.mark.usefixtures("shop")
def test_a_service_that_is_deleted_ends_the_session_with_a_clear_sentence(
    space: Space, ana: Person, server: Server
) -> None:
    with exchanging(ana, server) as session:
        space.kubectl("delete", "service", "shop")
        assert session.wait() == NOT_FOUND, session.said()
    assert session.wait_event("failed")["what"] == "service/shop was deleted while this laptop answered for it."
    calm(space)
    assert space.kubectl("get", "leases,secrets", "-o", "name") == ""


@pytest.mark.usefixtures("shop")
def test_a_service_that_is_replaced_by_force_is_left_as_it_is(space: Space, ana: Person, server: Server) -> None:
    with exchanging(ana, server) as session:
        space.kubectl("replace", "--force", "-f", "-", text=json.dumps(changed(SERVICE, labels=NEW)))
        assert session.wait() in (TAKEN, NOT_FOUND), session.said()
    must_be_the_owners(space, labels={**LABELS, **NEW}, selector={"app": "shop"}, listed=[80])
