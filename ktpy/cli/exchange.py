"""`ktpy exchange`: parse, look, hold, and say what happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ktpy.cli.base import Command
from ktpy.cli.holding import Held, holding
from ktpy.cli.options import expose, holding_options
from ktpy.cli.types import SECONDS, TARGET
from ktpy.model import ports
from ktpy.model.events import Ready
from ktpy.model.marks import EVERYTHING
from ktpy.model.target import Target

if TYPE_CHECKING:
    from ktpy.kt import Kt


@click.command(
    "exchange",
    cls=Command,
    pods=True,
    epilog="""\b
Examples:
  ktpy exchange shop --expose 8080              the Service's only port is answered by laptop port 8080
  ktpy exchange shop -p 8080:80 -p 9090:grpc    a Service port, a port name or a targetPort on the right
  ktpy exchange deploy/shop -- ./serve --port 8080
""",
)
@click.argument("target", type=TARGET)
@expose
@click.option(
    "--mode",
    type=click.Choice(["router", "selector", "direct", "scale"]),
    default="router",
    help="Through a router that falls back to the cluster while this laptop is away (selector is KT-Connect's name "
    "for it); straight to this laptop's pod; or with the workload scaled to 0 meanwhile.",
)
@click.option(
    "--recover-wait-time",
    type=SECONDS,
    default="120s",
    metavar="TIME",
    help="With --mode scale: how long the end waits for the workload's first pod.",
)
@click.option(
    "--if-taken-back",
    type=click.Choice(["end", "again"]),
    default="end",
    help="When the owner's apply gives the Service back: end, or divert it again.",
)
@holding_options
@click.pass_context
def command(ctx: click.Context, /, target: Target, exposed: tuple[str, ...], **how: Any) -> int:
    """Send ALL of a Service's traffic to this laptop until you press Ctrl-C.

    TARGET is shop, service/shop, deployment/shop or statefulset/shop. With a command after --, that is started first,
    the Service is switched when its ports listen, and the exchange ends with it. Ctrl-C gives the Service back first,
    then ends the command and all that it started; a command that reads the terminal needs --interactive.
    """
    held = Held.of(ctx.obj, "exchange", how)
    wanted = ports.exposes(exposed)  # first: in the background nobody would read that they make no sense
    if how["background"] and not how["dry_run"]:
        return held.in_background()
    with holding(held) as kt:
        plan, steps, run = _way(kt, target, wanted, how)
        if how["dry_run"]:
            held.print_plan(steps())
            return 0
        held.through(kt, plan.routes, run, ready_text(kt.cluster.namespace, plan, how["mode"]))
    return held.exit_code(kt)


def _way(kt: Kt, target: Target, wanted: Any, how: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The plan of the chosen mode, how to tell its steps, and how to run it behind a gate."""
    from ktpy.modes import exchange as direct
    from ktpy.modes import mesh, scale

    seen = {"take_over": how["take_over"], "dry_run": how["dry_run"]}
    again = how["if_taken_back"] == "again"
    plan: Any
    if how["mode"] == "direct":
        plan = direct.looked(kt, target, wanted, **seen)
        return plan, lambda: direct.steps(kt, plan), lambda gate: direct.exchange(kt, plan, gate=gate, again=again)
    if how["mode"] == "scale":
        plan, wait = scale.looked(kt, target, wanted, **seen), how["recover_wait_time"]
        return plan, lambda: scale.steps(kt, plan), lambda gate: scale.exchange(kt, plan, gate=gate, recover_wait=wait)
    plan = mesh.looked(kt, target, wanted, EVERYTHING, **seen)
    return plan, lambda: mesh.steps(kt, plan), lambda gate: mesh.mesh(kt, plan, gate=gate, again=again, mode="exchange")


def ready_text(namespace: str, plan: Any, mode: str) -> Ready:
    """The four facts."""
    name, first = plan.ref.name, plan.routes[0].service.port
    pods = len(plan.pods)
    wait = f"{pods} pod{'s' if pods != 1 else ''} of the cluster get{'s' if pods == 1 else ''} nothing new"
    return Ready(
        mode="exchange",
        session="",
        namespace=namespace,
        target=str(plan.ref),
        taken=(*(f"port {route}" for route in plan.routes), wait, *plan.due.ready),
        affected=_affected(plan, mode),
        try_=f"kubectl -n {namespace} port-forward service/{name} 8000:{first}, then: curl http://127.0.0.1:8000/",
        stop=f"Ctrl-C, or from anywhere: ktpy leave {name}",
        others=tuple(f"{other.owner} ({other.mode} of {other.target})" for other in plan.others),
    )


def _affected(plan: Any, mode: str) -> str:
    """Who notices, and how others go on with the same Service."""
    rest = "older connections stay with the old pods until their clients reconnect."
    if mode in ("direct", "scale"):
        return f"ALL requests, everyone's; {rest}"
    marks = ", ".join(row.mark for row, _ in plan.here)
    others = f" but those marked {marks}" if marks else ""
    return f"ALL requests, everyone's{others}; {rest} Others go on with: ktpy mesh {plan.ref.name} --expose PORT"
