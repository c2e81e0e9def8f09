"""The options that every holding command has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ktpy.cli.types import SECONDS

expose = click.option(
    "-p", "--expose", "exposed", multiple=True, metavar="[HOST:]LAPTOP[:SERVICE]",
    help="Which laptop port answers which Service port; a comma list or repeated.",
)  # fmt: skip

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--check-ports/--no-check-ports", default=True, help="First see that something listens on the laptop."
    ),
    click.option(
        "--wait", type=SECONDS, default="60s", metavar="TIME",
        help="How long the command after -- may take to open its ports.",
    ),
    click.option("--take-over", is_flag=True, help="End the session that is in the way, if its heartbeat stopped."),
    click.option("--dry-run", is_flag=True, help="Print each object and patch and what undoes it; change nothing."),
    click.option("--background", is_flag=True, help="Return at ready; the session goes on. See status, leave, logs."),
    click.option(
        "--interactive", is_flag=True,
        help="The command after -- reads this terminal, and Ctrl-C is its own too. Else what was taken is given back "
        "before the command is ended, and its standard input is /dev/null instead of the terminal.",
    ),
    click.option(
        "--events", type=click.Path(dir_okay=False), help="With --output json and a command: where the events go."
    ),
    click.argument("command", nargs=-1, type=click.UNPROCESSED),
)  # fmt: skip


def holding_options(command: Any) -> Any:
    """How it checks, waits, ends and tells, and the COMMAND after `--`: what `Held.of` reads."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
