"""Shared flags count wherever they are typed, and wrong ones are told before anything is done."""

from __future__ import annotations

import pytest

from tests.fakes.api import FakeApi
from tests.unit.cli.conftest import FakeApp


@pytest.mark.parametrize(
    "words", [["-n", "other", "birdseye"], ["birdseye", "-n", "other"], ["-n", "x", "birdseye", "-n", "other"]]
)
def test_a_shared_flag_counts_before_and_after_the_command(ktpy, api: FakeApi, words) -> None:
    app = FakeApp()

    assert ktpy(*words, user=api, app=app).code == 0
    assert app.settings().namespace == "other"
    assert app.settings().sources["namespace"] == "flag"


@pytest.mark.parametrize(
    "words", [["--timeout", "soon"], ["--label", "x"], ["--pull-policy", "maybe"], ["--pod-quota", "9x"]]
)
def test_a_wrong_value_is_told_before_anything_is_done(ktpy, words) -> None:
    said = ktpy("exchange", "shop", *words)

    assert said.code == 2
    assert said.err.startswith("Error: ")


def test_flags_of_pods_become_settings(ktpy, api: FakeApi) -> None:
    app = FakeApp()

    ktpy("doctor", "--pod-quota", "0.5c,512m", "--node-selector", "a=b", "--forceUpdate", user=api, app=app)

    settings = app.settings()
    assert settings.limits == settings.requests == {"cpu": "0.5", "memory": "512Mi"}
    assert settings.node_selector == {"a": "b"}
    assert settings.pull_policy == "Always"


def test_a_flag_without_meaning_is_noted_and_the_command_goes_on(ktpy, api: FakeApi) -> None:
    said = ktpy("birdseye", "--useLocalTime", user=api)

    assert said.code == 0
    assert "--useLocalTime has no meaning here" in said.err


def test_list_is_birdseye(ktpy, api: FakeApi) -> None:
    assert ktpy("list", user=api).err == "There are no Services in namespace team.\n"


def test_quiet_and_json_are_remembered(ktpy, api: FakeApi) -> None:
    app = FakeApp()

    ktpy("-q", "birdseye", "--output", "json", user=api, app=app)

    assert (app.say.quiet, app.say.as_json) == (True, True)
