"""`ktpy birdseye`."""

from __future__ import annotations

from dataclasses import asdict

import click

from ktpy.cli.base import Command


@click.command("birdseye", cls=Command)
@click.option("--only-taken", is_flag=True, help="Leave out the Services that nobody holds.")
@click.option("--sort-by", type=click.Choice(["status", "name"]), default="status", help="Order of the rows.")
@click.pass_context
def command(ctx: click.Context, /, only_taken: bool, sort_by: str) -> None:
    """Who holds what in this namespace, since when, alive or not."""
    from ktpy.upkeep import clean
    from ktpy.upkeep.birdseye import birdseye

    kt = ctx.obj.kt("birdseye")
    rows = birdseye(kt, only_taken=only_taken)
    if sort_by == "name":
        rows = sorted(rows, key=lambda row: row.service)
    shown = [asdict(row) for row in rows]
    if not ctx.obj.say.as_json:
        for row in shown:
            row["for"], row["seen"] = _ago(row.pop("for_seconds")), _ago(row.pop("seen_seconds"))
    for line in clean.strangers(kt):
        ctx.obj.say.words(line)
    ctx.obj.say.rows(shown, empty=f"Namespace {kt.cluster.namespace} has no Services.")


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
