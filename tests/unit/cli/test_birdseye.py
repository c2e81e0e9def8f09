"""`ktpy birdseye`."""

from __future__ import annotations

import dataclasses
import json

import pytest

from ktpy.cli.birdseye import _ago, fitted, rows, silences
from ktpy.cli.say import table
from ktpy.model import names
from ktpy.model.names import SESSION
from ktpy.model.overview import Line, RouterSeen, Share
from ktpy.model.traffic import Traffic
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.left import wreck_of

ANA = Share("ana-1", "mesh", "ana", "mbp", "alive", for_seconds=300.0, seen_seconds=3.0, route="row", mark="ana",
            match="version: ana", ports=(8080,), health="up", traffic=Traffic(12, fallbacks=1))  # fmt: skip
SHARED = Line("service/shop", "meshed", (ANA,), RouterSeen("router-1", "0.1", 3, ("r-1", "r-2"), {}), Traffic(1204))


def shown(*lines: Line) -> list[str]:
    return table(fitted([row for line in lines for row in rows(line)]))


def test_a_shared_service_takes_one_line_and_each_row_one() -> None:
    assert shown(SHARED, Line("service/cart", "natural")) == [
        "SERVICE       STATUS   ANSWERS       STATE      FOR  REQUESTS",
        "shop          meshed   all others    2 routers  -    1204",
        "  ana on mbp  mesh     version: ana  alive      5 m  12 (1 fell back)",
        "cart          natural  all requests  -          -    -",
    ]


def test_a_share_link_is_told_with_what_its_owner_has() -> None:
    linked = dataclasses.replace(ANA, link="shop-link-ana")

    assert "version: ana; all of shop-link-ana" in shown(dataclasses.replace(SHARED, shares=(linked,)))[2]


def test_a_screen_of_100_columns_shows_it_whatever_people_call_things() -> None:
    long = dataclasses.replace(ANA, owner="ana" * 20, match="x" * 300, health="down", traffic=Traffic(123456, 99, 9, 9))
    lines = shown(dataclasses.replace(SHARED, target="service/" + "s" * 60, shares=(long,)))

    assert max(map(len, lines[:2])) <= 100
    assert lines[2].count("…") == 2


@pytest.mark.parametrize(
    ("change", "answers", "state"),
    [
        ({"health": "down"}, "version: ana", "alive, down"),
        ({"state": "silent", "seen_seconds": 130.0}, "version: ana", "silent 2 m"),
        ({"mirror": True}, "copies of version: ana", "alive"),
        ({"route": "", "match": ""}, "nothing yet", "alive"),
        ({"route": "", "match": "", "state": "ended"}, "nothing", "ended"),
        ({"route": "pod", "match": "", "mode": names.MODE_MANUAL}, "a share of all", "alive"),
        ({"route": "direct", "match": "all requests", "traffic": None}, "all requests", "alive"),
    ],
)
def test_what_somebody_answers_and_how_he_is(change: dict[str, object], answers: str, state: str) -> None:
    share = dataclasses.replace(ANA, **change)  # type: ignore[arg-type]
    _, row = rows(dataclasses.replace(SHARED, shares=(share,)))

    assert (row["answers"], row["state"]) == (answers, state)


def test_a_router_that_is_being_ended_says_so_and_one_is_no_plural() -> None:
    def said(**change: object) -> str:
        router = dataclasses.replace(SHARED.router, **change)  # type: ignore[arg-type, type-var]
        return str(next(rows(dataclasses.replace(SHARED, router=router)))["state"])

    assert said(closing="ana-1") == "router ends"
    assert said(pods=("r-1",)) == "1 router"


def test_somebody_whom_no_lease_names_is_somebody() -> None:
    line = Line("", "abandoned", (dataclasses.replace(ANA, owner="", host=""),))

    assert [row["service"] for row in rows(line)] == ["(unknown)", "  somebody"]


def test_what_routers_do_not_say_is_told_beside_the_table() -> None:
    router = RouterSeen("router-1", "0.1", 3, ("r-1", "r-2"), {"r-2": "no answer within 3 s"}, why="no table")

    assert list(silences([Line("service/cart", "natural"), dataclasses.replace(SHARED, router=router)])) == [
        "service/shop: no table",
        "service/shop: router pod/r-2 does not say what it carries: no answer within 3 s",
    ]


def test_the_table_comes_from_the_cluster(ktpy, api: FakeApi) -> None:
    header, service, holder = ktpy("birdseye", user=wreck_of(api, after=12)).out.splitlines()

    assert header.split() == ["SERVICE", "STATUS", "ANSWERS", "STATE", "FOR", "REQUESTS"]
    assert service.split()[:2] == ["shop", "exchanged"]
    assert holder.split() == ["ana", "on", "ana-laptop", "exchange", "all", "requests", "alive", "12", "s", "-"]


def test_json_has_everything(ktpy, api: FakeApi) -> None:
    (line,) = json.loads(ktpy("birdseye", "--output", "json", user=wreck_of(api, after=12)).out)

    assert (line["target"], line["status"]) == ("service/shop", "exchanged")
    assert line.keys() == {field.name for field in dataclasses.fields(Line)}
    (share,) = line["shares"]
    assert share.keys() == {field.name for field in dataclasses.fields(Share)}
    assert share["seen_seconds"] == 12.0


def test_lines_can_be_sorted_and_natural_ones_left_out(ktpy, api: FakeApi) -> None:
    wreck = wreck_of(api)
    wreck.put(things.service("a"))

    def said(*words: str) -> list[str]:
        return [line["target"] for line in json.loads(ktpy("birdseye", *words, "--output", "json", user=wreck).out)]

    assert said() == ["service/shop", "service/a"]
    assert said("--sort-by", "name") == ["service/a", "service/shop"]
    assert said("--only-taken") == said("--hide-natural-service") == said("--hideNaturalService") == ["service/shop"]


def test_sessions_without_a_service_are_shown_when_asked_for(ktpy, api: FakeApi) -> None:
    wreck = wreck_of(api, after=1)
    (lease,) = wreck.names("Lease")
    notes = {names.TARGET: "namespace/team", names.MODE: "connect"}
    wreck.edit("Lease", lease, lambda now: now["metadata"]["annotations"].update(notes))
    wreck.edit("Service", "shop", lambda now: now["spec"].update(selector=dict(things.SELECTOR)))

    assert "connect" not in ktpy("birdseye", user=wreck).out
    assert "namespace/team       connected  -" in (said := ktpy("birdseye", "--show-connector", user=wreck).out)
    assert said == ktpy("birdseye", "--showConnector", user=wreck).out


def test_an_empty_listing_says_so(ktpy, api: FakeApi) -> None:
    assert "There are no Services in namespace team." in ktpy("birdseye", user=FakeApi()).err
    assert ktpy("birdseye", "--output", "json", user=FakeApi()).out == "[]\n"


def test_what_only_wears_our_label_is_named_beside_the_rows_and_is_no_row_of_its_own(ktpy, api: FakeApi) -> None:
    wreck = wreck_of(api)
    wreck.put({**things.service(), "metadata": {"name": "copy", "labels": {SESSION: "old-1"}}})

    said = ktpy("birdseye", user=wreck)

    assert "service/copy wears ktpy.io/session but is not ktpy's: left alone" in said.err
    assert [line.split()[:2] for line in said.out.splitlines()[1:]] == [
        ["shop", "exchanged"], ["ana", "on"], ["copy", "natural"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "said"), [(None, ""), (5, "5 s"), (119, "119 s"), (120, "2 m"), (7200, "2 h"), (200000, "2 d")]
)
def test_ages_are_rounded(seconds: float | None, said: str) -> None:
    assert _ago(seconds) == said
