"""`ktpy completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from ktpy.cli.base import Command


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, /, shell: str) -> None:
    """Print the script that gives SHELL tab completion.

    \b
    bash:  eval "$(ktpy completion bash)"          in ~/.bashrc
    zsh:   eval "$(ktpy completion zsh)"           in ~/.zshrc
    fish:  ktpy completion fish | source           in config.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None  # click.Choice has let only known ones pass
    ctx.obj.say.data(kind(ctx.find_root().command, {}, "ktpy", "_KTPY_COMPLETE").source().rstrip())
