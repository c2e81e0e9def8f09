"""`ktpy preview`, from argv to exit code."""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

import pytest

from ktpy.cli.preview import ready_text
from ktpy.laptop.child import Child
from ktpy.model import preview
from ktpy.model.events import Ready, from_json
from ktpy.model.preview import Wanted
from ktpy.model.ref import Object
from ktpy.model.rights import INGRESS
from ktpy.modes.preview import Plan
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.run import Person, essence, person
from tests.unit.cli.conftest import FakeApp


@pytest.fixture(autouse=True)
def _laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Laptop port 5000 listens, and nothing else."""
    for where in ("ktpy.modes.look.listens", "ktpy.cli.holding.listens"):
        monkeypatch.setattr(where, lambda host, port, timeout: port == 5000)


class EndsAtReady(FakeApp):
    """Somebody presses Ctrl-C as soon as it is ready."""

    seen: Object | None = None

    def tell(self, event: Any) -> None:
        super().tell(event)
        if isinstance(event, Ready):
            assert self.user is not None
            self.seen = self.user.wire.api.read("Service", "web")
            self.stop.ask("Ctrl-C")


def with_ingresses(api: FakeApi) -> Person:
    user = person(api)
    user.wire.rights |= {str(right) for right in INGRESS}
    return user


def test_ready_is_said_and_ctrl_c_takes_the_service_away(ktpy, api: FakeApi) -> None:
    before, app = essence(api), EndsAtReady()

    said = ktpy("preview", "web", "--expose", "5000:80/http", "--app-protocol", "http", user=api, app=app)

    assert said.code == 0, said.err
    assert app.seen is not None
    (port,) = app.seen["spec"]["ports"]
    assert (port["port"], port["name"], port["appProtocol"]) == (80, "http", "http")
    assert "service/web is answered by this laptop" in said.err
    assert "ktpy leave web" in said.err
    assert said.out == ""
    assert essence(api) == before


def test_json_events_tell_what_is_published(ktpy, api: FakeApi) -> None:
    said = ktpy("preview", "web", "-p", "5000", "--output", "json", user=api, app=EndsAtReady())

    events = [from_json(json.loads(line)) for line in said.out.splitlines()]
    (ready,) = [event for event in events if isinstance(event, Ready)]
    assert (ready.mode, ready.target, ready.taken) == (
        "preview", "service/web", ("nothing of anybody's: service/web is new", "port 5000 → 127.0.0.1:5000"),
    )  # fmt: skip


def test_external_and_host_say_what_is_pending(ktpy, api: FakeApi) -> None:
    app = EndsAtReady()

    said = ktpy(
        "preview", "web", "-p", "5000:80", "--external", "--host", "web.example.com", user=with_ingresses(api), app=app
    )

    assert said.code == 0, said.err
    assert app.seen is not None
    assert app.seen["spec"]["type"] == "LoadBalancer"
    for part in ("get service web --watch", "ingress/web names no class", "and web.example.com gets this laptop"):
        assert part in said.err
    assert (api.names("Service"), api.names("Ingress")) == ([], [])


def test_a_service_that_exists_is_exit_code_4_and_nothing_is_made(ktpy, api: FakeApi) -> None:
    api.put(things.service("web"))
    before = essence(api)

    said = ktpy("preview", "web", "-p", "5000", user=api)

    assert said.code == 4
    assert "service/web exists already" in said.err
    assert essence(api) == before


def test_a_host_without_the_rights_for_it_is_exit_code_5(ktpy, api: FakeApi) -> None:
    said = ktpy("preview", "web", "-p", "5000", "--host", "web.example.com", user=api)

    assert said.code == 5
    assert "create ingresses.networking.k8s.io" in said.err


@pytest.mark.parametrize(
    "words",
    [
        ["Web", "-p", "80"], ["x" * 64, "-p", "80"], ["deploy/web", "-p", "80"], ["web"], ["web", "-p", "8080:http"],
        ["web", "-p", "80", "--host", "http://x"], ["web", "-p", "80", "--ingress-class", "nginx"],
        ["web", "-p", "80", "--app-protocol", "81=http"], ["web", "-p", "80/udp", "--background"],
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_usage_before_anything_else(ktpy, words: list[str]) -> None:
    said = ktpy("preview", *words)

    assert said.code == 2
    assert said.err.startswith("Error: ")


def test_a_port_at_which_nothing_listens_is_told_before_anything_is_made(ktpy, api: FakeApi) -> None:
    before = essence(api)

    said = ktpy("preview", "web", "-p", "5001", user=api)

    assert said.code == 1
    assert "Nothing listens on 127.0.0.1:5001" in said.err
    assert essence(api) == before


def test_a_dry_run_prints_each_deed_with_its_undo_also_with_background(ktpy, api: FakeApi, monkeypatch) -> None:
    monkeypatch.setattr("ktpy.cli.holding.Held.in_background", lambda held: pytest.fail("it prints nothing there"))
    before = essence(api)

    said = ktpy("preview", "web", "-p", "5000", "--dry-run", "--background", "--output", "json", user=api)

    deeds = [deed for deed in map(json.loads, said.out.splitlines()) if "do" in deed]
    assert [deed["do"].split("/")[0] for deed in deeds] == [
        "create lease", "create secret", "create pod", "create service",
    ]  # fmt: skip
    assert essence(api) == before


def test_in_the_background_it_is_left_to_another_process(ktpy, monkeypatch) -> None:
    monkeypatch.setattr("ktpy.cli.holding.Held.in_background", lambda held: 0)

    assert ktpy("preview", "web", "-p", "5000", "--background").code == 0


def test_with_a_command_the_run_ends_with_it_and_has_its_code(ktpy, api: FakeApi) -> None:
    said = ktpy("preview", "web", "-p", "5000", "--", sys.executable, "-c", "raise SystemExit(9)", user=api)

    assert said.code == 9, said.err
    assert api.names("Service") == []


def test_ctrl_c_takes_the_service_away_before_the_command_is_ended(ktpy, api: FakeApi, monkeypatch) -> None:
    gone = []
    leave = Child.__exit__
    monkeypatch.setattr(
        Child, "__exit__", lambda child, *error: [gone.append(api.names("Service") == []), leave(child, *error)][1]
    )
    pause = [sys.executable, "-c", "import signal; signal.pause()"]

    said = ktpy("preview", "web", "-p", "5000", "--", *pause, user=api, app=EndsAtReady())

    assert (said.code, gone) == (128 + signal.SIGTERM, [True])


def test_the_line_to_try_can_be_typed_as_it_is() -> None:
    def tried(text: str) -> str:
        return ready_text(Plan(Wanted("web", preview.routes([text])), "team")).try_

    assert tried("5000:80").startswith("curl http://web.team/ inside a pod")
    assert tried("5000").startswith("curl http://web.team:5000/ inside a pod")
    assert "kubectl -n team port-forward service/web 8000:5000" in tried("5000")
