"""The options that every holding command has, as `Held.of` reads them."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from ktpy.cli.app import App
from ktpy.cli.holding import Held
from ktpy.cli.main import cli
from ktpy.cli.options import holding_options

HOLDING = ("exchange", "mesh", "preview")


def typed(*words: str) -> Held:
    found: list[Held] = []

    @click.command()
    @holding_options
    def command(**how: object) -> None:
        found.append(Held.of(App(), "mesh", how))

    assert CliRunner().invoke(command, words, catch_exceptions=False).exit_code == 0
    return found[0]


def test_what_was_typed_is_how_it_is_held() -> None:
    held = typed("--wait", "2m", "--no-check-ports", "--interactive", "--events", "told", "--", "serve", "--port", "1")

    assert (held.name, held.command, held.events) == ("mesh", ("serve", "--port", "1"), "told")
    assert (held._wait, held._check, held._interactive) == (120.0, False, True)


def test_nothing_typed() -> None:
    held = typed()

    assert (held.command, held.events, held._wait, held._check, held._interactive) == ((), None, 60.0, True, False)


@pytest.mark.parametrize("name", HOLDING)
def test_each_holding_command_has_them_in_one_order(name: str) -> None:
    expected = ["check_ports", "wait", "take_over", "dry_run", "background", "interactive", "events", "command"]
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert [option.name for option in command.params if option.name in expected] == expected
