"""The command line becomes values, with every limit of Config as a flag."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ktpy_router.config import Config
from ktpy_router.settings import Settings, parse
from ktpy_router.store import Store

TABLE = ("--table", "/etc/routes.json")


def test_a_table_is_all_that_is_needed():
    run = Path("/run/ktpy-router")

    assert parse(TABLE) == Settings(Store(Path("/etc/routes.json"), run / "routes.json"), Config(), run)


def test_every_limit_is_a_flag():
    words = [f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(Config) if field.type != "bool"]

    config = parse([*TABLE, *(word for flag in words for word in (flag, "7")), "--forwarded"]).config

    assert {getattr(config, field.name) for field in dataclasses.fields(Config)} == {7, True}


def test_everything_after_two_dashes_is_mitmproxys():
    settings = parse([*TABLE, "--workers", "2", "--drain-seconds", "1.5", "--", "-s", "addon.py", "--workers", "9"])

    assert (settings.workers, settings.config.drain_seconds) == (2, 1.5)
    assert settings.options == ("-s", "addon.py", "--workers", "9")


def test_paths_follow_the_run_directory():
    settings = parse([*TABLE, "--run-dir", "/r"])

    assert (settings.channel, settings.token, settings.store.state) == (
        "/r/channel.sock",
        Path("/r/inspect.token"),
        Path("/r/routes.json"),
    )
    assert parse([*TABLE, "--inspect-token", "/secret/t"]).token == Path("/secret/t")
    assert parse([*TABLE, "--state", "/s.json"]).store.state == Path("/s.json")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "required: --table"),
        ([*TABLE, "--workers", "0"], "0 is not from 1 to 64"),
        ([*TABLE, "--workers", "x"], "invalid"),
        ([*TABLE, "--drain-seconds", "-1"], "-1 is no number of seconds"),
        ([*TABLE, "--head-seconds", "nan"], "nan is no number of seconds"),
        ([*TABLE, "--control-port", "65536"], "65536 is not from 1 to 65535"),
        ([*TABLE, "--bogus"], "unrecognized arguments: --bogus"),
    ],
)
def test_nonsense_is_refused(words, said, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(words)

    assert ended.value.code == 2
    assert said in capsys.readouterr().err
