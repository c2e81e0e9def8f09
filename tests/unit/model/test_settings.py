"""Defaults, file, environment, flags: the later wins, and each value knows where it came from."""

from __future__ import annotations

import pytest

from ktpy.errors import Usage
from ktpy.model.settings import NAMES, Settings, from_environment, layered, pairs, pull_policy, seconds


def test_later_layers_win_and_sources_are_kept() -> None:
    found = layered([("file", {"timeout": "2m", "prefix": "a"}), ("environment", {"prefix": "b"}), ("flag", {})])

    assert (found.timeout, found.prefix) == (120.0, "b")
    assert found.sources == {"timeout": "file", "prefix": "environment"}


def test_no_layers_are_the_defaults() -> None:
    assert layered([]) == Settings()


def test_a_value_that_is_not_given_hides_nothing() -> None:
    assert (
        layered([("file", {"prefix": "a", "label": {"a": "b"}}), ("flag", {"prefix": None, "label": {}})]).prefix == "a"
    )


def test_names_may_have_dashes_as_on_the_command_line() -> None:
    assert layered([("file", {"pull-secret": "x"})]).pull_secret == "x"


def test_yaml_values_are_taken_as_they_are() -> None:
    found = layered([("file", {"timeout": 5, "linger": 0.5, "label": {"team": 1}})])

    assert (found.timeout, found.linger, found.label) == (5.0, 0.5, {"team": "1"})


@pytest.mark.parametrize(
    "values",
    [{"tiemout": "5s"}, {"timeout": ["5"]}, {"prefix": 5}, {"label": 5}, {"sources": "x"}, {"timeout": "soon"}],
)
def test_what_is_no_setting_is_refused(values) -> None:
    with pytest.raises(Usage):
        layered([("file", values)])


@pytest.mark.parametrize(
    ("text", "meant"), [("60", 60), ("60s", 60), ("2m", 120), ("500ms", 0.5), ("1h", 3600), ("0", 0), ("1.5s", 1.5)]
)
def test_times_are_read(text: str, meant: float) -> None:
    assert seconds(text) == meant


@pytest.mark.parametrize("text", ["", "s", "-1", "soon", "1d", "inf", "nan", "1e9"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Usage):
        seconds(text)


def test_pairs_are_read() -> None:
    assert pairs("a=1, b=x=y,") == {"a": "1", "b": "x=y"}
    for text in ("a", "=1", "a=1,b"):
        with pytest.raises(Usage):
            pairs(text)


def test_pull_policies_are_read_in_any_case() -> None:
    assert pull_policy("ALWAYS") == "Always"
    with pytest.raises(Usage):
        pull_policy("sometimes")


def test_the_environment_names_each_setting_and_the_kubeconfig() -> None:
    found = from_environment({"KTPY_PULL_SECRET": "x", "KTPY_OTHER": "y", "KUBECONFIG": "/a:/b", "KTPY_PREFIX": ""})

    assert found == {"pull_secret": "x", "kubeconfig": "/a:/b"}
    assert from_environment({"KTPY_KUBECONFIG": "/c", "KUBECONFIG": "/a"}) == {"kubeconfig": "/c"}


def test_every_setting_has_a_name() -> None:
    assert "timeout" in NAMES
    assert "sources" not in NAMES
