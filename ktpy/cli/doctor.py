"""`ktpy doctor`."""

from __future__ import annotations

from dataclasses import asdict

import click

from ktpy.cli.base import Command
from ktpy.errors import Exit
from ktpy.model.rights import role_text


@click.command("doctor", cls=Command, pods=True)
@click.option("--print-role", is_flag=True, help="Print the Role that ktpy needs, ready for kubectl apply.")
@click.pass_context
def command(ctx: click.Context, /, print_role: bool) -> int:
    """What could stand in the way here, each Ok, Warn or Bad with what to do about it."""
    if print_role:
        ctx.obj.say.data(role_text(ctx.obj.settings().namespace or "default").rstrip())
        return int(Exit.DONE)
    from ktpy.upkeep.doctor import doctor

    findings = doctor(ctx.obj.kt("doctor"))
    ctx.obj.say.rows([asdict(finding) for finding in findings], empty="")
    return int(Exit.FAILED if any(finding.verdict == "bad" for finding in findings) else Exit.DONE)
