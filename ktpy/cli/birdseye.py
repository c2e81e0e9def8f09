"""`ktpy birdseye`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import click

from ktpy.cli.base import Command
from ktpy.model import names, overview
from ktpy.model.overview import Line, Share

SCREEN = 100  # columns
NAME, ANSWERS = 28, 20  # at most of a name, and at least of what it answers
MODES = {names.MODE_MANUAL: "mesh manual"}


@click.command(
    "birdseye",
    cls=Command,
    epilog="""\b
STATUS   natural: its own pods answer · meshed: marked requests go elsewhere · exchanged: all of them do ·
         previewed: it is a laptop's · ktctl: KT-Connect has it · abandoned: ktpy clean gives it back
STATE    alive · silent: no heartbeat, since when · ended: somebody has ended it · down: the routers do not reach
         the laptop, and the cluster answers instead (strict rows: nobody)
REQUESTS since each router pod has started; what is open now, fell back to the cluster, or failed
""",
)
@click.option("--only-taken", "--hide-natural-service", is_flag=True, help="Leave out the Services that nobody has.")
@click.option("--sort-by", type=click.Choice(["status", "name"]), default="status", help="Order of the Services.")
@click.option("--show-connector", is_flag=True, help="Sessions too that have no Service of their own.")
@click.pass_context
def command(ctx: click.Context, /, only_taken: bool, sort_by: str, show_connector: bool) -> None:
    """Who has what in this namespace, since when, alive or not, and what flows there."""
    from ktpy.upkeep import clean
    from ktpy.upkeep.birdseye import birdseye

    kt = ctx.obj.kt("birdseye")
    lines = [
        line
        for line in overview.in_order(birdseye(kt), by_name=sort_by == "name")
        if (line.is_taken or not only_taken) and (show_connector or line.status != overview.CONNECTED)
    ]
    for word in [*clean.strangers(kt), *silences(lines)]:
        ctx.obj.say.words(word)
    empty = "Nobody has anything" if only_taken else "There are no Services"
    ctx.obj.say.rows(
        [asdict(line) for line in lines]
        if ctx.obj.say.as_json or not lines
        else fitted([row for line in lines for row in rows(line)]),
        empty=f"{empty} in namespace {kt.cluster.namespace}.",
    )


def silences(lines: Sequence[Line]) -> Iterator[str]:
    """What the routers do not say, and why."""
    for line in lines:
        if line.router and line.router.why:
            yield f"{line.target}: {line.router.why}"
        for pod, why in line.router.silent.items() if line.router else ():
            yield f"{line.target}: router pod/{pod} does not say what it carries: {why}"


def rows(line: Line) -> Iterator[dict[str, str]]:
    """The Service, and under it each that has a share of it."""
    name = line.target.removeprefix("service/") or "(unknown)"
    yield _row(name, line.status, _rest(line), _routers(line), None, "" if line.rest is None else str(line.rest))
    for share in line.shares:
        who = f"{share.owner} on {share.host}" if share.owner else "somebody"
        carried = "" if share.traffic is None else str(share.traffic)
        yield _row(
            f"  {who}",
            MODES.get(share.mode, share.mode),
            _match(share, line.status),
            _state(share),
            share.for_seconds,
            carried,
        )


def _row(service: str, status: str, answers: str, state: str, seconds: float | None, requests: str) -> dict[str, str]:
    return {
        "service": _cut(service, NAME), "status": status, "answers": answers, "state": state, "for": _ago(seconds),
        "requests": requests,
    }  # fmt: skip


def fitted(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """ROWS so that a screen shows them: what is answered is cut where it is too long. JSON has it all."""
    others = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0] if name != "answers"}
    left = SCREEN - sum(others.values()) - 2 * len(others)
    return [{**row, "answers": _cut(row["answers"], max(ANSWERS, left))} for row in rows]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _rest(line: Line) -> str:
    """What the Service's own pods have."""
    if line.status == overview.NATURAL:
        return "all requests"
    if line.status != overview.MESHED:
        return ""
    return "all others" if line.router else "a share of all"


def _routers(line: Line) -> str:
    if line.router is None:
        return ""
    number = len(line.router.pods)
    if line.router.closing:
        return "router ends"
    return f"{number} router{'' if number == 1 else 's'}"


def _match(share: Share, status: str) -> str:
    if status == overview.CONNECTED:
        return ""
    if share.route == "pod":
        return "a share of all"
    if not share.route:
        return "nothing yet" if share.state == "alive" else "nothing"
    said = share.match or "all requests"
    said = f"{said}; all of {share.link}" if share.link else said
    return f"copies of {said}" if share.mirror else said


def _state(share: Share) -> str:
    state = share.state
    if state == "silent" and share.seen_seconds is not None:
        state = f"silent {_ago(share.seen_seconds)}"
    return f"{state}, down" if share.health == "down" else state


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
