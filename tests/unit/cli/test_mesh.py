"""`ktpy mesh`, from argv to exit code."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from ktpy.cli import mesh as cli
from ktpy.model import marks
from ktpy.model.events import Ready, from_json
from ktpy_router.match import Condition
from ktpy_router.table import Row
from tests.fakes.api import FakeApi
from tests.fakes.meshes import a_team, left_by, meshed, table
from tests.fakes.run import essence, person
from tests.unit.cli.conftest import FakeApp


@pytest.fixture(autouse=True)
def _laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Laptop port 5000 listens, and nothing else; the user is ana at her own terminal."""
    for where in ("ktpy.modes.look.listens", "ktpy.cli.holding.listens"):
        monkeypatch.setattr(where, lambda host, port, timeout: port == 5000)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr("ktpy.cli.app.user_name", lambda environ: "ana")


@pytest.fixture
def api() -> FakeApi:
    return a_team()


class EndsAtReady(FakeApp):
    """Somebody presses Ctrl-C as soon as it is ready."""

    rows: tuple[Row, ...] = ()

    def tell(self, event: Any) -> None:
        super().tell(event)
        if isinstance(event, Ready):
            assert self.user is not None
            self.rows = table(self.user.wire.api).table.rows
            self.stop.ask("Ctrl-C")


def test_ready_is_said_and_ctrl_c_gives_back(ktpy, api: FakeApi) -> None:
    before, app = essence(api), EndsAtReady()

    said = ktpy("mesh", "shop", "--expose", "5000:80", user=api, app=app)

    assert (said.code, said.out) == (0, ""), said.err
    assert [row.conditions for row in app.rows] == [(Condition("header", "version", "exact", "ana"),)]
    assert "version: ana" in said.err
    assert "curl -H 'version: ana'" in said.err
    assert "ktpy leave shop" in said.err
    assert essence(api) == before


@pytest.mark.parametrize(("words", "conditions"), [
    (["-m", "blue"], [("header", "version", "exact", "blue")]),
    (["--version-mark", "x-dev:"], [("header", "x-dev", "exact", "ana")]),
    (["--path", "/a", "--cookie", "c=d"], [("cookie", "c", "exact", "d"), ("path", "", "prefix", "/a")]),
    (["-m", "", "--query", "q=1"], [("header", "version", "exact", "ana"), ("query", "q", "exact", "1")]),
    (["--header", "A=1", "--header", "b=2"], [("header", "a", "exact", "1"), ("header", "b", "exact", "2")]),
    (["--header-regex", "a=x.*"], [("header", "a", "regex", "x.*")]),
    (["--path-regex", "/a.*"], [("path", "", "regex", "/a.*")]),
    (["--host", "Shop"], [("host", "", "exact", "shop")]),
    (["--baggage", "u=ana"], [("baggage", "u", "exact", "ana")]),
])  # fmt: skip
def test_every_way_to_say_which_requests(ktpy, api: FakeApi, words: list[str], conditions: list[Any]) -> None:
    app = EndsAtReady()

    said = ktpy("mesh", "shop", "-p", "5000", *words, user=api, app=app)

    assert said.code == 0, said.err
    (row,) = app.rows
    assert [(c.place, c.name, c.way, c.value) for c in row.conditions] == conditions


def test_the_manners_of_a_row(ktpy, api: FakeApi) -> None:
    app = EndsAtReady()

    said = ktpy("mesh", "shop", "-p", "5000", "--strict", "--hold", "3s", "--mirror", "--inspect", user=api, app=app)

    assert said.code == 0, said.err
    (row,) = app.rows
    assert (row.strict, row.hold, row.mirror, row.inspect) == (True, 3.0, True, True)


def test_a_share_link_is_said_with_the_line_that_a_colleague_types(ktpy, api: FakeApi) -> None:
    before, app = essence(api), EndsAtReady()

    said = ktpy("mesh", "shop", "-p", "5000", "--link", user=api, app=app)

    assert said.code == 0, said.err
    assert [row.add for row in app.rows] == [(), ((b"version", b"ana"),)]
    assert "kubectl -n team port-forward service/shop-link-ana 8000:80, then http://127.0.0.1:8000/" in said.err
    assert essence(api) == before


def test_with_a_link_the_host_is_an_ingress_and_no_condition(ktpy, api: FakeApi) -> None:
    before = essence(api)

    said = ktpy("mesh", "shop", "-p", "5000", "--link", "--host", "web.example.com", user=api)
    dry = ktpy("mesh", "shop", "-p", "5000", "--link", "--dry-run", user=api)

    assert (said.code, "which --host needs" in said.err) == (5, True), said.err
    assert "# create service/shop-link-ana" in dry.out
    assert essence(api) == before


@pytest.mark.parametrize("words", [
    ["--ingress-class", "some"], ["--link", "--ingress-class", "some"], ["--link", "--host", "Not A Host"],
    ["--link", "--host", "a.example.com", "--host", "b.example.com"], ["--mode", "manual", "--link"],
])  # fmt: skip
def test_what_makes_no_share_link_is_usage(ktpy, api: FakeApi, words: list[str]) -> None:
    assert ktpy("mesh", "shop", "-p", "5000", *words, user=api).code == 2


@pytest.mark.parametrize("words", [
    ["-m", "a b:c"], ["--header", "x"], ["--path-regex", "("], ["--hold", "soon"], ["-p", "nonsense:x:y:z:q"],
])  # fmt: skip
def test_words_that_make_no_sense_are_told_before_anything_is_made_or_goes_to_the_background(
    ktpy, api: FakeApi, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setattr("ktpy.cli.holding.Held.in_background", lambda held: pytest.fail("nobody would read it there"))
    before = essence(api)

    assert ktpy("mesh", "shop", *words, "--background", user=api).code == 2
    assert essence(api) == before


def test_a_mistyped_name_is_answered_with_what_to_type_for_a_mesh(ktpy, api: FakeApi) -> None:
    """An exchange would take everybody's requests."""
    for words in (("shp", "-p", "5000"), ("pod/shop", "-p", "5000"), ("shop", "-p", "5000:99")):
        said = ktpy("mesh", *words, user=api)

        assert "ktpy mesh" in said.err, said.err
        assert "ktpy exchange" not in said.err


def test_a_port_at_which_nothing_listens_is_told_before_anything_is_made(ktpy, api: FakeApi) -> None:
    before = essence(api)

    said = ktpy("mesh", "shop", "-p", "5001", user=api)

    assert said.code == 1
    assert "Nothing listens on 127.0.0.1:5001" in said.err
    assert essence(api) == before
    assert ktpy("mesh", "shop", "-p", "5001", "--no-check-ports", user=api, app=EndsAtReady()).code == 0


def test_a_mark_of_a_living_colleague_is_exit_code_4(ktpy) -> None:
    said = ktpy("mesh", "shop", "-p", "5000", user=person(left_by("ana"), "bob"))

    assert said.code == 4
    assert "ana on ana-laptop" in said.err
    assert "--version-mark ANOTHER" in said.err


def test_colleagues_on_the_same_service_are_named(ktpy, api: FakeApi) -> None:
    with meshed(person(api, "eve"), "blue"):
        said = ktpy("mesh", "shop", "-p", "5000", user=api, app=EndsAtReady())

    assert said.code == 0, said.err
    assert "eve (blue)" in said.err


def test_json_events_end_with_the_end(ktpy, api: FakeApi) -> None:
    said = ktpy("mesh", "shop", "-p", "5000", "--output", "json", user=api, app=EndsAtReady())

    events = [from_json(json.loads(line)) for line in said.out.splitlines()]
    assert [type(event).__name__ for event in events][-3:] == ["Ready", "Step", "Ended"]


def test_a_dry_run_prints_each_deed_with_its_undo_and_changes_nothing(ktpy, api: FakeApi) -> None:
    before = essence(api)

    said = ktpy("mesh", "shop", "--versionMark", "blue", "--dry-run", "--output", "json", user=api)

    deeds = [json.loads(line) for line in said.out.splitlines() if line.startswith('{"do"')]
    assert [deed["do"].partition("/")[0] for deed in deeds] == [
        "create lease", "create secret", "create pod", "create service", "create configmap", "create deployment",
        "patch configmap", "patch service",
    ]  # fmt: skip
    assert deeds[-2]["object"]["add row"]["match"] == [{"in": "header", "name": "version", "exact": "blue"}]
    assert all(deed["undo"] for deed in deeds)
    assert essence(api) == before


def test_with_a_command_the_run_ends_with_it_and_has_its_code(ktpy, api: FakeApi) -> None:
    before = essence(api)

    said = ktpy("mesh", "shop", "-p", "5000", "--", sys.executable, "-c", "raise SystemExit(9)", user=api)

    assert said.code == 9, said.err
    assert essence(api) == before


def test_background_returns_what_the_holder_says(ktpy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ktpy.cli.holding.Held.in_background", lambda held: 77)

    assert ktpy("mesh", "shop", "--background").code == 77


def test_the_default_value_is_the_login_name_and_chance_where_that_tells_nobody_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert cli.default_value() == "ana"
    monkeypatch.setenv("CI", "true")
    assert cli.default_value() != cli.default_value()
    monkeypatch.delenv("CI")
    monkeypatch.setattr("ktpy.cli.app.user_name", lambda environ: "root")
    value = cli.default_value()
    assert len(value) == 5
    assert value.isalpha()
    assert marks.mark(value, cli.default_value).value == value
