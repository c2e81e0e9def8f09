"""`ktpy birdseye`."""

from __future__ import annotations

import json

import pytest

from ktpy.cli.birdseye import _ago
from ktpy.model.names import SESSION
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.left import wreck_of


def test_holders_are_a_table(ktpy, api: FakeApi) -> None:
    said = ktpy("birdseye", user=wreck_of(api, after=12))

    header, row = said.out.splitlines()
    assert header.split() == ["SERVICE", "HELD", "OWNER", "HOST", "SESSION", "STATE", "FOR", "SEEN"]
    assert row.split()[:4] == ["service/shop", "exchange", "ana", "ana-laptop"]
    assert row.endswith("alive  12 s  12 s")


def test_json_has_seconds(ktpy, api: FakeApi) -> None:
    (row,) = json.loads(ktpy("birdseye", "--output", "json", user=wreck_of(api, after=12)).out)

    assert (row["service"], row["seen_seconds"]) == ("service/shop", 12.0)


def test_rows_can_be_sorted_by_name(ktpy, api: FakeApi) -> None:
    wreck = wreck_of(api)
    wreck.put(things.service("a"))

    def names(*words: str) -> list[str]:
        return [row["service"] for row in json.loads(ktpy("birdseye", *words, "--output", "json", user=wreck).out)]

    assert names() == ["service/shop", "service/a"]
    assert names("--sort-by", "name") == ["service/a", "service/shop"]
    assert names("--only-taken") == ["service/shop"]


def test_what_only_wears_our_label_is_named_beside_the_rows_and_is_no_row_of_its_own(ktpy, api: FakeApi) -> None:
    wreck = wreck_of(api)
    wreck.put({**things.service(), "metadata": {"name": "copy", "labels": {SESSION: "old-1"}}})

    said = ktpy("birdseye", user=wreck)

    assert "service/copy wears ktpy.io/session but is not ktpy's: left alone" in said.err
    assert [line.split()[:2] for line in said.out.splitlines()[1:]] == [
        ["service/shop", "exchange"], ["service/copy", "free"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "said"), [(None, ""), (5, "5 s"), (119, "119 s"), (120, "2 m"), (7200, "2 h"), (200000, "2 d")]
)
def test_ages_are_rounded(seconds: float | None, said: str) -> None:
    assert _ago(seconds) == said
