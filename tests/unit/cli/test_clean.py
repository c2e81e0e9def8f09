"""`ktpy clean`."""

from __future__ import annotations

import json

import pytest

from ktpy.model.diversion import selector_of
from tests.fakes import things
from tests.fakes.api import FakeApi
from tests.fakes.left import ktctl_on, wreck_of
from tests.fakes.run import essence


def selector(api: FakeApi) -> dict[str, str]:
    return selector_of(api.read("Service", "shop") or {})


def test_the_dead_are_given_back_and_it_is_said(ktpy, api: FakeApi) -> None:
    wreck = wreck_of(api)

    said = ktpy("clean", user=wreck)

    assert said.code == 0
    assert "service/shop given back" in said.err
    assert selector(wreck) == things.SELECTOR
    assert "Nothing to clean in namespace team" in ktpy("clean", user=wreck).err


@pytest.mark.parametrize("words", [["--dry-run"], ["--all"], ["--dryRun"], ["--all", "--dry-run", "--yes"]])
def test_a_list_changes_nothing(ktpy, api: FakeApi, words) -> None:
    wreck = wreck_of(api)
    before = essence(wreck)

    said = ktpy("clean", *words, "--output", "json", user=wreck)

    assert "session ana-" in json.loads(said.out)[0]["would_end"]
    assert essence(wreck) == before


@pytest.mark.parametrize("words", [["--older-than", "40s"], ["--thresholdInMinus", "0.6"]])
def test_how_old_is_dead_can_be_said(ktpy, api: FakeApi, words) -> None:
    wreck = wreck_of(api, after=50)

    assert "Nothing to clean" in ktpy("clean", user=wreck).err
    ktpy("clean", *words, user=wreck)

    assert selector(wreck) == things.SELECTOR


def test_all_with_yes_ends_the_living_too(ktpy, api: FakeApi) -> None:
    wreck = wreck_of(api, after=1)

    ktpy("clean", "--all", "--yes", user=wreck)

    assert selector(wreck) == things.SELECTOR


def test_a_dead_ktctl_is_cleaned_and_its_scaled_deployments_named(ktpy, api: FakeApi) -> None:
    ktctl_on(api, beat=api.time - 600)
    ktctl_on(api, beat=api.time - 600, service="old", config="app=old,replicas=2")

    said = ktpy("clean", user=api)

    assert "kubectl scale deployment/old --replicas=2" in said.err
    assert selector(api) == things.SELECTOR
