"""The command line's entry: parse, call, and turn what comes back into words and an exit code."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import click

from ktpy import __version__
from ktpy.cli.app import App
from ktpy.cli.base import COMMON, Commands, take_shared
from ktpy.errors import Exit, KtError, Usage

TABLE = {
    "exchange": ("ktpy.cli.exchange", "All of a Service's traffic is answered by this laptop."),
    "mesh": ("ktpy.cli.mesh", "Only requests that carry a mark are answered by this laptop."),
    "preview": ("ktpy.cli.preview", "A process of this laptop becomes a new Service."),
    "recover": ("ktpy.cli.recover", "Give a Service back that a dead session still holds."),
    "clean": ("ktpy.cli.clean", "Give back everything that dead sessions left in a namespace."),
    "birdseye": ("ktpy.cli.birdseye", "Who holds what in this namespace, since when, alive or not."),
    "status": ("ktpy.cli.status", "The sessions of this laptop."),
    "leave": ("ktpy.cli.leave", "End a session of this laptop from any terminal."),
    "logs": ("ktpy.cli.logs", "The log of a session."),
    "doctor": ("ktpy.cli.doctor", "What could stand in the way here, and what to do about it."),
    "images": ("ktpy.cli.images", "Build the images and bring them into a cluster."),
    "completion": ("ktpy.cli.completion", "Tab completion for bash, zsh or fish."),
}
ALIASES = {"list": "birdseye"}


@click.group(
    "ktpy",
    cls=Commands,
    table=TABLE,
    aliases=ALIASES,
    params=list(COMMON),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 refused or failed, 2 usage, 3 not found, 4 held by another, 5 forbidden, "
    "6 tunnel lost, 7 something left behind, 130 interrupted; after `--` the command's own, ktpy's failures 125.",
)
@click.version_option(__version__, "-v", "--version", message="ktpy %(version)s")
@click.pass_context
def cli(ctx: click.Context, /, **shared: object) -> None:
    """One laptop process inside a shared Kubernetes cluster, with no privilege at either end."""
    take_shared(ctx.ensure_object(App), dict(shared))


def run(arguments: Sequence[str], app: App | None = None) -> int:
    """One invocation; returns its exit code. The only place that knows all errors."""
    app = app or App()
    with app.files:
        return _run(arguments, app)


def _run(arguments: Sequence[str], app: App) -> int:
    try:
        code = cli.main(list(arguments), prog_name="ktpy", standalone_mode=False, obj=app)
        return int(code) if isinstance(code, int) else int(Exit.DONE)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "ktpy"
        app.say.error(Usage(error.format_message(), f"{where} --help"), Exit.USAGE, "")
        return int(Exit.USAGE)
    except click.Abort:
        return int(Exit.INTERRUPTED)
    except KtError as error:
        logging.getLogger("ktpy").debug("ended by %s", type(error).__name__, exc_info=True)
        app.say.error(error, error.code, str(app.log or ""))
        return int(error.code)
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)
    except Exception:
        if app.log is None or app.debug:
            raise
        logging.getLogger("ktpy").exception("a bug in ktpy")
        app.say.error(
            KtError("This is a bug in ktpy; the log has its traceback.", "ktpy logs"), Exit.FAILED, str(app.log)
        )
        return int(Exit.FAILED)
