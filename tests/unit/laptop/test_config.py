"""The config file is one map; what is not one is told."""

from __future__ import annotations

import pytest

from ktpy.errors import KtError
from ktpy.laptop import config


def write(text: str) -> None:
    config.path().parent.mkdir(parents=True, exist_ok=True)
    config.path().write_text(text)


def test_no_file_and_an_empty_one_are_no_settings() -> None:
    assert config.read() == {}
    write("")
    assert config.read() == {}


def test_settings_are_read() -> None:
    write("prefix: registry.example/team\ntimeout: 90\n")

    assert config.read() == {"prefix": "registry.example/team", "timeout": 90}


@pytest.mark.parametrize("text", ["- a\n", "just words\n", "a: [\n"])
def test_what_is_no_map_is_told_with_the_file(text: str) -> None:
    write(text)

    with pytest.raises(KtError, match=r"config\.yaml"):
        config.read()


def test_one_value_is_stored_and_the_rest_kept() -> None:
    write("timeout: 90\n")

    assert config.store("prefix", "x") == config.path()
    assert config.read() == {"prefix": "x", "timeout": 90}


def test_the_first_value_makes_the_file() -> None:
    config.store("prefix", "x")

    assert config.read() == {"prefix": "x"}
