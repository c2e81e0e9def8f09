"""`ktpy recover`."""

from __future__ import annotations

import sys

import click

from ktpy.cli.base import Command
from ktpy.cli.results import show
from ktpy.cli.say import harmless
from ktpy.errors import Taken


@click.command("recover", cls=Command)
@click.argument("service", required=False)
@click.option("--force", is_flag=True, help="End living sessions of others too.")
@click.option("-y", "--yes", is_flag=True, help="Answer yes for your own living sessions.")
@click.pass_context
def command(ctx: click.Context, /, service: str | None, force: bool, yes: bool) -> None:
    """Give back what dead sessions hold: of SERVICE, or of the whole namespace.

    Dead is a session whose heartbeat stopped more than 30 seconds ago. Your own living ones are ended after a
    question, those of others only with --force.
    """
    from ktpy.upkeep.recover import recover

    def ask(question: str) -> bool:
        if yes:
            return True
        if not sys.stdin.isatty():
            raise Taken(question, "ktpy recover --yes")
        return click.confirm(harmless(question), err=True)

    kt = ctx.obj.kt("recover")
    name = service.partition("/")[2] if service and service.startswith(("service/", "svc/")) else service
    results = recover(kt, name, force=force, ask=ask)
    where = f"service/{name}" if name else f"namespace {kt.cluster.namespace}"
    show(ctx.obj.say, results, nothing=f"Nothing to recover: no dead session holds anything of {where}.")
