"""`ktpy leave`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ktpy.cli.base import Command
from ktpy.cli.say import Say
from ktpy.errors import KtError, LeftBehind, NotFound, Usage
from ktpy.laptop.state import Record, ask_to_end, is_running, runs, take_outcome
from ktpy.stop import Stop

WAIT_SECONDS = 30.0
LOOK_SECONDS = 0.05


def chosen(found: Sequence[Record], name: str | None, *, everything: bool) -> list[Record]:
    """The sessions that NAME means: a run, a session, a Service. Raises NotFound, Usage."""
    if everything:
        return list(found)
    if name is None and len(found) > 1:
        raise Usage(
            "Several sessions run on this laptop: say which, or --all.", [f"ktpy leave {run.name}" for run in found]
        )
    plain = name.rpartition("/")[2] if name else None
    picked = [run for run in found if plain is None or plain in (run.name, run.session, run.target.partition("/")[2])]
    if not picked:
        raise NotFound(f"No session{f' called {name}' if name else ''} runs on this laptop.", "ktpy status")
    return picked


@click.command("leave", cls=Command)
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="All sessions of this laptop.")
@click.pass_context
def command(ctx: click.Context, /, name: str | None, everything: bool) -> None:
    """End a session of this laptop from any terminal; NAME is a run, a session or a Service."""
    picked = chosen(runs(), name, everything=everything)
    for run in picked:
        ask_to_end(run)
    _wait_for(ctx.obj.say, picked)


def _wait_for(say: Say, picked: Sequence[Record]) -> None:
    """A process that is not our child announces its end to nobody: look until all have ended."""
    waited, clock = 0.0, Stop()
    while any(is_running(run) for run in picked) and waited < WAIT_SECONDS:
        clock.wait(LOOK_SECONDS)
        waited += LOOK_SECONDS
    _tell(say, [(run.target or run.name, _failure(run)) for run in picked])


def _failure(run: Record) -> KtError | None:
    if is_running(run):
        return LeftBehind(f"{run.name} (pid {run.pid}) does not end.", f"ktpy logs {run.name}")
    return take_outcome(run)


def _tell(say: Say, ends: Sequence[tuple[str, KtError | None]]) -> None:
    """What became of each. Raises the last failure, after the others were told."""
    failures = []
    for name, error in ends:
        if error is None:
            say.words(f"{name} was given back.")
        else:
            failures.append(error)
    for error in failures[:-1]:
        say.error(error, error.code, "")
    if failures:
        raise failures[-1]
