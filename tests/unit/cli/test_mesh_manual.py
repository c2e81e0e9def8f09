"""`ktpy mesh --mode manual`: what it says, refuses, and prints to paste."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ktpy.cli.mesh import manual_text
from ktpy.model.events import Ready
from ktpy.model.istio import Mark
from ktpy.model.ports import Route, exposes, ports_of, resolve
from ktpy.modes.manual import Plan
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.unit.cli.conftest import FakeApp

SERVICE = things.service()
PORTS = ports_of(SERVICE, [])
ROUTES: tuple[Route, ...] = resolve(exposes(["8080:80"]), "shop", PORTS)
PLAN = Plan(SERVICE, [things.pod("shop-1"), things.pod("shop-2")], ROUTES, Mark("version", "ana", "ana"), {}, {})


class EndsAtReady(FakeApp):
    """Ctrl-C as soon as it says ready."""

    def tell(self, event: Any) -> None:
        super().tell(event)
        if isinstance(event, Ready):
            self.stop.ask("Ctrl-C")


@pytest.fixture
def shop(api: FakeApi) -> FakeApi:
    for thing in (things.service(), things.pod("shop-1")):
        if thing["metadata"]["name"] not in api.names(thing["kind"]):
            api.put(thing)
    return api


def test_ready_says_that_everybody_is_affected_and_which_pod_it_is() -> None:
    said = manual_text("team", PLAN)

    assert said.what == "one of 3 pods of service/shop, the one with version=ana, is"
    assert "share of ALL requests until your mesh's rules say otherwise" in said.affected
    assert "version: ana" in said.try_
    assert "rules away first" in said.stop


@pytest.mark.parametrize("flag", [("--header", "x=y"), ("--strict",), ("--hold", "3s"), ("--mirror",), ("--inspect",)])
def test_what_only_a_router_can_do_is_refused(ktpy, shop: FakeApi, flag: tuple[str, ...]) -> None:
    said = ktpy("mesh", "shop", "--mode", "manual", *flag, user=shop)

    assert said.code == 2
    assert f"{flag[0]} is a router's" in said.err


def test_a_mark_that_cannot_be_a_label_is_refused(ktpy, shop: FakeApi) -> None:
    said = ktpy("mesh", "shop", "--mode", "manual", "--version-mark", "x!y:ana", user=shop)

    assert said.code == 2
    assert "cannot be the key of a label" in said.err


def test_rules_to_paste_come_before_ready_and_a_hashed_value_is_said(ktpy, shop: FakeApi) -> None:
    said = ktpy(
        "mesh", "shop", "--mode", "manual", "-m", "feature/ana", "--no-check-ports", user=shop, app=EndsAtReady()
    )

    assert said.code == 0, said.err
    assert "'feature/ana' cannot be the value of a label: the pod wears version=feature-ana-" in said.err
    lines = said.err.splitlines()
    ready = next(number for number, line in enumerate(lines) if line.startswith("Ready after"))
    assert "kind: VirtualService" in lines[:ready]
    assert "kind: HTTPRoute" in lines[:ready]


def test_as_json_the_rules_are_an_event(ktpy, shop: FakeApi) -> None:
    words = ("mesh", "shop", "--mode", "manual", "-m", "ana", "--no-check-ports", "--output", "json")
    said = ktpy(*words, user=shop, app=EndsAtReady())

    (rules,) = [event for line in said.out.splitlines() if (event := json.loads(line))["event"] == "rules"]
    assert "kind: DestinationRule" in rules["lines"]
