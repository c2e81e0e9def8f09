"""`ktpy clean`."""

from __future__ import annotations

import click

from ktpy.cli.base import Command
from ktpy.cli.results import show
from ktpy.cli.types import SECONDS
from ktpy.model.names import CLEAN_SECONDS


@click.command("clean", cls=Command)
@click.option("--dry-run", is_flag=True, help="Only list what would be given back.")
@click.option("--older-than", type=SECONDS, metavar="TIME", help="No heartbeat for so long; default 300 s.")
@click.option("--older-than-minutes", type=float, hidden=True)
@click.option("--all", "everything", is_flag=True, help="Everything of ktpy's in the namespace, living sessions too.")
@click.option("-y", "--yes", is_flag=True, help="With --all: do it, not only list it.")
@click.pass_context
def command(ctx: click.Context, /, dry_run: bool, older_than: float | None, older_than_minutes: float | None,
            everything: bool, yes: bool) -> None:  # fmt: skip
    """Give back everything that dead sessions left in the namespace."""
    from ktpy import undo
    from ktpy.upkeep import clean, ktctl_left

    kt = ctx.obj.kt("clean")
    say = ctx.obj.say
    if older_than is None:
        older_than = CLEAN_SECONDS if older_than_minutes is None else older_than_minutes * 60
    sessions = undo.sessions(kt.cluster) if everything else clean.dead(kt, older_than)
    services = clean.dead_of_ktctl(kt)
    for line in clean.strangers(kt):
        say.words(line)
    for line in ktctl_left.scaled_to_zero(kt.cluster):
        say.words(f"A dead ktctl left a Deployment at zero; it comes back with: {line}")
    if dry_run or (everything and not yes):
        rows = [{"would_end": str(holder)} for holder in sessions]
        rows += [{"would_end": f"ktctl's hold on service/{service['metadata']['name']}"} for service in services]
        say.rows(rows, empty="Nothing to clean.")
        if rows and everything and not dry_run:
            say.words("To do it: ktpy clean --all --yes")
        return
    results = clean.clean(kt, sessions, older_than=older_than, force=everything)
    results += clean.sweep(kt, older_than=older_than)
    show(
        say, results + clean.clean_ktctl(kt, services), nothing=f"Nothing to clean in namespace {kt.cluster.namespace}."
    )
