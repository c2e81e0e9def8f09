"""What every command has in common: the shared flags, KT-Connect's spellings, lazy loading of the heavy ones."""

from __future__ import annotations

import importlib
from typing import Any

import click

from ktpy.cli import legacy
from ktpy.cli.app import App
from ktpy.errors import Usage
from ktpy.model import settings

COMMON: tuple[click.Option, ...] = (
    click.Option(["--context"], help="The kubeconfig's context."),
    click.Option(["-c", "--kubeconfig"], help="The kubeconfig file."),
    click.Option(["-n", "--namespace"], help="The namespace; else the one of the context."),
    click.Option(["--timeout"], metavar="TIME", help="How long to wait for a pod, e.g. 60s, 2m."),
    click.Option(["-d", "--debug"], is_flag=True, help="The log on the screen as well."),
    click.Option(["-q", "--quiet"], is_flag=True, help="No progress, only results and errors."),
    click.Option(["--output"], type=click.Choice(["text", "json"]), default=None, help="text, or JSON on stdout."),
)
PODS: tuple[click.Option, ...] = (
    click.Option(["-i", "--image"], help="The shadow's image."),
    click.Option(["--prefix"], help="Where the images are, e.g. registry.example/team."),
    click.Option(["--router-image"], help="The router's image."),
    click.Option(["--pull-policy"], help="Always, IfNotPresent or Never."),
    click.Option(["--pull-secret"], help="The image pull secret that pods are to name."),
    click.Option(["--service-account"], help="The service account that pods are to have."),
    click.Option(["--node-selector"], metavar="K=V,…", help="The nodes that pods may run on."),
    click.Option(["-l", "--label"], metavar="K=V,…", help="More labels for pods."),
    click.Option(["--annotation"], metavar="K=V,…", help="More annotations for pods."),
    click.Option(["--requests"], metavar="K=V,…", help="The shadow's requests, e.g. cpu=20m,memory=32Mi."),
    click.Option(["--limits"], metavar="K=V,…", help="The shadow's limits."),
    click.Option(["--pod-quota"], hidden=True),
    click.Option(["--linger"], metavar="TIME", help="How long all stays up after the Service was given back."),
)
_NOT_SETTINGS = {"debug", "quiet", "output", "pod_quota"}


class Command(click.Command):
    """A command with the shared flags; PODS: also those that say how pods are to look."""

    def __init__(self, *args: Any, pods: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shared = {option.name for option in (*COMMON, *(PODS if pods else ()))}
        own = {name for parameter in self.params for name in parameter.opts}
        self.params += [option for option in (*COMMON, *(PODS if pods else ())) if not own & set(option.opts)]
        self._shared -= {parameter.name for parameter in self.params if parameter not in (*COMMON, *PODS)}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = frozenset(flag for parameter in self.params for flag in (*parameter.opts, *parameter.secondary_opts))
        words, notes = legacy.translated(args, known)
        ctx.ensure_object(App)
        for note in notes:
            ctx.obj.say.words(note)
        return super().parse_args(ctx, words)

    def invoke(self, ctx: click.Context) -> Any:
        shared = {name: ctx.params.pop(name) for name in list(ctx.params) if name in self._shared}
        take_shared(ctx.ensure_object(App), shared)
        return super().invoke(ctx)


def take_shared(app: App, shared: dict[str, Any]) -> None:
    """Shared flags into the App; what was given later wins. Raises Usage."""
    app.say.as_json = app.say.as_json if shared.get("output") is None else shared["output"] == "json"
    app.say.quiet = app.say.quiet or bool(shared.get("quiet"))
    app.debug = app.debug or bool(shared.get("debug"))
    app.flags.update({name: value for name, value in shared.items() if name not in _NOT_SETTINGS and value is not None})
    if shared.get("pod_quota"):
        try:
            quota = legacy.pod_quota(shared["pod_quota"])
        except ValueError as error:
            raise Usage(f"'{error}' is not a quota such as 0.5c or 512m.") from error
        app.flags |= {"requests": quota, "limits": quota}
    for name, parse in settings.PARSERS.items():  # a wrong word is told before anything is done
        if isinstance(app.flags.get(name), str):
            parse(app.flags[name])


class Commands(click.Group):
    """Commands that are imported only when they are called: `--help` reads their one line from TABLE.

    TABLE: name → (module, one line of help). ALIASES: other names.
    """

    def __init__(self, *args: Any, table: dict[str, tuple[str, str]], aliases: dict[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._table, self._aliases = table, aliases

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = self._aliases.get(cmd_name, cmd_name)
        if name not in self._table:
            return None
        command: click.Command = importlib.import_module(self._table[name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self._table.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            import difflib

            near = difflib.get_close_matches(args[0], [*self._table, *self._aliases], 2)
            raise Usage(f"There is no command '{args[0]}'.", [f"ktpy {name}" for name in near] or "ktpy --help")
        return super().resolve_command(ctx, args)
