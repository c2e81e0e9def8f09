"""`ktpy logs`."""

from __future__ import annotations

from pathlib import Path

import click

from ktpy.cli.base import Command
from ktpy.cli.signals import signals_ask
from ktpy.errors import NotFound
from ktpy.laptop.state import logs

LOOK_SECONDS = 0.2


@click.command("logs", cls=Command)
@click.argument("name", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on showing what is added.")
@click.pass_context
def command(ctx: click.Context, /, name: str | None, follow: bool) -> None:
    """The log of a run, at debug level; NAME as in `status`, else the newest. Ten runs are kept."""
    found = [log for log in logs() if name is None or log.stem == name]
    if not found:
        raise NotFound(f"There is no log{f' of {name}' if name else ''}.", "ktpy status")
    with found[-1].open(encoding="utf-8", errors="replace") as lines:
        ctx.obj.say.data(f"{_header(found[-1])}{lines.read().rstrip()}")
        if not follow:
            return
        with signals_ask(ctx.obj.stop):
            while not ctx.obj.stop.wait(LOOK_SECONDS):
                if text := lines.read().rstrip():
                    ctx.obj.say.data(text)


def _header(log: Path) -> str:
    return f"# {log}\n"
