"""KT-Connect's spellings mean what they meant, or say what replaces them."""

from __future__ import annotations

import pytest

from ktpy.cli.legacy import TABLE, pod_quota, translated

NONE: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("shop --expose 8080", "shop --expose 8080"),
        ("--podQuota 0.5c shop", "--pod-quota 0.5c shop"),
        ("--podQuota=0.5c", "--pod-quota=0.5c"),
        ("--skipPortChecking", "--no-check-ports"),
        ("--skipPortChecking=true", "--no-check-ports"),
        ("--skipPortChecking=false", ""),
        ("-f", "--pull-policy=Always"),
        ("-- -f --podQuota x", "-- -f --podQuota x"),
        ("--withLabel a=b", "--label a=b"),
        ("--thresholdInMinus 5", "--older-than-minutes 5"),
    ],
)
def test_a_spelling_is_translated(typed: str, meant: str) -> None:
    assert translated(typed.split(), NONE) == (meant.split(), [])


def test_what_has_no_meaning_goes_with_its_value_and_is_noted() -> None:
    words, notes = translated(["--ipVersion", "4", "shop", "--ipVersion=6", "--localOnly"], NONE)

    assert words == ["shop"]
    assert len(notes) == 3
    assert "address families" in notes[0]


def test_a_commands_own_flag_wins() -> None:
    assert translated(["-f"], frozenset({"-f"})) == (["-f"], [])


def test_every_entry_says_something() -> None:
    assert all(entry.new or entry.note for entry in TABLE.values())


@pytest.mark.parametrize(
    ("text", "meant"),
    [("0.5c,512m", {"cpu": "0.5", "memory": "512Mi"}), ("2c", {"cpu": "2"}), ("1G", {"memory": "1Gi"}), ("", {})],
)
def test_a_quota_is_read(text: str, meant: dict[str, str]) -> None:
    assert pod_quota(text) == meant


@pytest.mark.parametrize("text", ["x", "5", "c", "1c;2m", "-1c"])
def test_what_is_no_quota_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        pod_quota(text)
