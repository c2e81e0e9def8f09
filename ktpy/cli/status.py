"""`ktpy status`."""

from __future__ import annotations

import time

import click

from ktpy.cli.base import Command
from ktpy.laptop.state import runs


@click.command("status", cls=Command)
@click.pass_context
def command(ctx: click.Context, /) -> None:
    """The sessions of this laptop."""
    rows = [
        {
            "name": run.name,
            "mode": run.mode,
            "target": run.target,
            "namespace": run.namespace,
            "session": run.session,
            "state": run.state,
            "ports": list(run.ports),
            "pid": run.pid,
            "seconds": round(time.time() - run.since),
        }
        for run in runs()
    ]
    ctx.obj.say.rows(rows, empty="No session runs on this laptop.")
