"""`ktpy exchange`, from argv to exit code."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import pytest

from ktpy.laptop.child import Child
from ktpy.model.diversion import selector_of
from ktpy.model.events import Ready, Step, from_json
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.left import wreck_of
from tests.fakes.run import essence, person
from tests.unit.cli.conftest import FakeApp


@pytest.fixture(autouse=True)
def _laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Laptop port 5000 listens, and nothing else."""
    for where in ("ktpy.modes.look.listens", "ktpy.cli.holding.listens"):
        monkeypatch.setattr(where, lambda host, port, timeout: port == 5000)


@pytest.fixture
def shop(api: FakeApi) -> FakeApi:
    api.put(things.service())
    return api


class EndsAtReady(FakeApp):
    """Somebody presses Ctrl-C as soon as it is ready."""

    def tell(self, event: Any) -> None:
        super().tell(event)
        if isinstance(event, Ready):
            assert self.user is not None
            self.seen = selector_of(self.user.wire.api.read("Service", "shop") or {})
            self.stop.ask("Ctrl-C")


@pytest.mark.parametrize("mode", ["router", "selector", "direct"])
def test_ready_is_said_and_ctrl_c_gives_back(ktpy, shop: FakeApi, mode: str) -> None:
    before, app = essence(shop), EndsAtReady()

    said = ktpy("exchange", "shop", "--expose", "5000:80", "--mode", mode, user=shop, app=app)

    assert said.code == 0
    assert app.seen != things.SELECTOR
    assert "service/shop is answered by this laptop" in said.err
    assert "(Ctrl-C)" in said.err
    assert said.out == ""
    assert essence(shop) == before


@pytest.mark.parametrize(
    ("mode", "steps"),
    [
        ("direct", ["look", "shadow pod", "tunnel", "switch", "follow"]),
        ("router", ["look", "shadow pod", "tunnel", "router", "routes", "switch", "follow"]),
    ],
)
def test_json_events_end_with_the_end(ktpy, shop: FakeApi, mode: str, steps: list[str]) -> None:
    words = ("exchange", "shop", "-p", "5000", "--output", "json", "--mode", mode)
    said = ktpy(*words, user=shop, app=EndsAtReady())

    events = [from_json(json.loads(line)) for line in said.out.splitlines()]
    assert [event.name for event in events if isinstance(event, Step)] == [*steps, "give back"]
    assert [type(event).__name__ for event in events if not isinstance(event, Step)] == ["Tunnel", "Ready", "Ended"]


def test_a_port_at_which_nothing_listens_is_told_before_anything_is_made(ktpy, shop: FakeApi) -> None:
    before = essence(shop)

    said = ktpy("exchange", "shop", "-p", "5001", user=shop)

    assert said.code == 1
    assert "Nothing listens on 127.0.0.1:5001" in said.err
    assert essence(shop) == before


def test_the_look_at_ports_can_be_left_out(ktpy, shop: FakeApi) -> None:
    assert ktpy("exchange", "shop", "-p", "5001", "--skipPortChecking", user=shop, app=EndsAtReady()).code == 0


def test_a_held_service_is_exit_code_4(ktpy, api: FakeApi) -> None:
    said = ktpy("exchange", "shop", "-p", "5000", user=person(wreck_of(api, after=1), "bob"))

    assert said.code == 4
    assert "held by session ana-" in said.err


@pytest.mark.parametrize(
    ("mode", "router"),
    [("direct", []), ("router", ["create service", "create configmap", "create deployment", "patch configmap"])],
)
def test_a_dry_run_prints_each_deed_with_its_undo(ktpy, shop: FakeApi, mode: str, router: list[str]) -> None:
    before = essence(shop)

    said = ktpy("exchange", "shop", "--dry-run", "--output", "json", "--mode", mode, user=shop)

    deeds = [json.loads(line) for line in said.out.splitlines()]
    assert [deed["do"].split("/")[0] for deed in [d for d in deeds if "do" in d]] == [
        "create lease", "create secret", "create pod", *router, "patch service",
    ]  # fmt: skip
    assert essence(shop) == before


def test_ports_that_make_no_sense_are_told_before_it_goes_to_the_background(ktpy, monkeypatch) -> None:
    monkeypatch.setattr("ktpy.cli.holding.Held.in_background", lambda held: pytest.fail("nobody would read it there"))

    said = ktpy("exchange", "shop", "-p", "nonsense:x:y:z:q", "--background")

    assert said.code == 2
    assert "nonsense:x:y:z:q" in said.err


def test_a_dry_run_is_printed_here_also_with_background(ktpy, shop: FakeApi, monkeypatch) -> None:
    monkeypatch.setattr("ktpy.cli.holding.Held.in_background", lambda held: pytest.fail("it prints nothing there"))

    assert "# undone by" in ktpy("exchange", "shop", "--dry-run", "--background", user=shop).out


@pytest.mark.parametrize("flags", [[], ["--interactive"]])
def test_a_command_shares_our_terminal_only_when_that_is_asked(ktpy, shop: FakeApi, flags: list[str]) -> None:
    group = ["--", sys.executable, "-c", f"import os; raise SystemExit(os.getpgrp() == {os.getpgrp()})"]

    said = ktpy("exchange", "shop", "-p", "5000", *flags, *group, user=shop)

    assert said.code == len(flags), said.err


def test_ctrl_c_gives_back_before_the_command_is_ended(ktpy, shop: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    before, given_back = essence(shop), []
    leave = Child.__exit__
    monkeypatch.setattr(
        Child, "__exit__", lambda child, *error: [given_back.append(essence(shop) == before), leave(child, *error)][1]
    )
    pause = [sys.executable, "-c", "import signal; signal.pause()"]

    said = ktpy("exchange", "shop", "-p", "5000", "--", *pause, user=shop, app=EndsAtReady())

    assert (said.code, given_back) == (128 + signal.SIGTERM, [True])


def test_with_a_command_the_run_ends_with_it_and_has_its_code(ktpy, shop: FakeApi) -> None:
    before = essence(shop)

    said = ktpy("exchange", "shop", "-p", "5000", "--", sys.executable, "-c", "raise SystemExit(9)", user=shop)

    assert said.code == 9, said.err
    assert essence(shop) == before


def test_a_command_that_is_not_there_is_127(ktpy, shop: FakeApi) -> None:
    assert ktpy("exchange", "shop", "-p", "5000", "--", "no-such-command", user=shop).code == 127


def test_a_command_that_does_not_open_its_port_is_125_and_nothing_is_switched(ktpy, shop: FakeApi) -> None:
    pause = [sys.executable, "-c", "import signal; signal.pause()"]
    version = (shop.read("Service", "shop") or {})["metadata"]["resourceVersion"]

    said = ktpy("exchange", "shop", "-p", "5001", "--wait", "0.1s", "--", *pause, user=shop)

    assert said.code == 125
    assert "does not listen on 127.0.0.1:5001" in said.err
    assert (shop.read("Service", "shop") or {})["metadata"]["resourceVersion"] == version


@pytest.mark.parametrize("mode", ["router", "direct", "scale"])
def test_a_service_for_mesh_only_is_refused_in_every_mode_with_the_mesh_to_type(ktpy, shop: FakeApi, mode: str) -> None:
    shop.edit("Service", "shop", lambda now: now["metadata"].update(annotations={"ktpy.io/allow": "mesh"}))
    before = essence(shop)

    said = ktpy("exchange", "shop", "-p", "5000:80", "--mode", mode, user=shop)

    assert (said.code, "ktpy mesh shop --expose 5000:80" in said.err) == (5, True), said.err
    assert essence(shop) == before


def test_who_shares_a_service_reads_how_others_go_on(ktpy, shop: FakeApi) -> None:
    assert (
        "Others go on with: ktpy mesh shop --expose"
        in ktpy("exchange", "shop", "-p", "5000", user=shop, app=EndsAtReady()).err
    )
