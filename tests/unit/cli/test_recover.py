"""`ktpy recover`."""

from __future__ import annotations

import pytest

from ktpy.model.diversion import selector_of
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.left import wreck_of
from tests.fakes.run import person


def selector(api: FakeApi) -> dict[str, str]:
    return selector_of(api.read("Service", "shop") or {})


@pytest.mark.parametrize("words", [[], ["shop"], ["svc/shop"], ["service/shop"]])
def test_a_dead_holder_is_ended(ktpy, api: FakeApi, words) -> None:
    wreck = wreck_of(api, after=40)

    said = ktpy("recover", *words, user=person(wreck, "bob"))

    assert said.code == 0
    assert selector(wreck) == things.SELECTOR


def test_anothers_living_session_is_held(ktpy, api: FakeApi) -> None:
    said = ktpy("recover", "shop", user=person(wreck_of(api, after=1), "bob"))

    assert said.code == 4
    assert "ktpy recover shop --force" in said.err


def test_ones_own_is_not_ended_where_nobody_can_be_asked(ktpy, api: FakeApi, monkeypatch) -> None:
    wreck = wreck_of(api, after=1)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)

    said = ktpy("recover", "shop", user=person(wreck, "ana"))

    assert said.code == 4
    assert "ktpy recover --yes" in said.err
    assert ktpy("recover", "shop", "--yes", user=person(wreck, "ana")).code == 0
    assert selector(wreck) == things.SELECTOR


def test_nothing_to_recover_is_said(ktpy, api: FakeApi) -> None:
    api.put(things.service())

    assert "no dead session holds anything of service/shop" in ktpy("recover", "shop", user=api).err
    assert ktpy("recover", "none", user=api).code == 3
